"""What every scale costs, predicted from the benchmarks, beside what was paid."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd

from .. import config, figures
from ..config import Experiment
from ..runs import cost, store
from ..train import loop
from . import facts
from .performance import AFTER, Benchmarks, as_used

EXPERIMENTS = ("convnet-noise20", "convnet-asymmetric", "convnet-cifar100", "resnet18-noise20")
DRAWN_FROM = {
    "fig1d": EXPERIMENTS[2],
    "fig4": EXPERIMENTS[2],
    "fig6": EXPERIMENTS[3],
    "appendix": EXPERIMENTS[3],
    "fig7": EXPERIMENTS[1],
}
Rates = dict[int, float]


def predicted_hours(experiment: Experiment, benchmarks: Benchmarks) -> dict[str, float]:
    """Hours of training, and of evaluating and measuring, that an experiment takes from the benchmarked rates.

    Rates are interpolated in the logarithm of the width; beyond the widest they fall with its square, as the operations
    grow. A forward pass counts as half a gradient.

    Returns:
        "training", "measuring", and "longest": that of the run that takes longest, trained beside no other. NaN for what
        was not measured of this family of networks, in this precision.
    """
    train, alone, gradient = _rates(benchmarks, experiment)
    n_train, n_test = experiment.n_train or 50_000, experiment.n_test or 10_000
    points = experiment.n_clean_points + experiment.n_noisy_points
    evaluated = loop.evaluation_epochs(experiment.epochs, experiment.n_evaluations, experiment.n_last_evaluations)
    directions = 1 + experiment.n_tangents
    at_epoch = (n_train + n_test) / 2 + points * directions
    at_end = points * directions * (1 + experiment.n_paths * len(experiment.strengths))
    hours = {"training": 0.0, "measuring": 0.0, "longest": 0.0}
    for run in experiment.runs():
        learning, measuring = n_train * run.epochs / 3600, (len(evaluated) * at_epoch + at_end) / 3600
        hours["training"] += learning / _at(train, run.width)
        hours["measuring"] += measuring / _at(gradient, run.width)
        longest = learning / _at(alone, run.width) + measuring / _at(gradient, run.width)
        hours["longest"] = float(np.maximum(hours["longest"], longest))  # NaN stays
    return hours


def cost_table(name: str, cpu: Benchmarks) -> pd.DataFrame:
    """Predicted and measured hours of an experiment at every scale, on one thread of the benchmarked CPU."""
    rows = {}
    for scale in config.SCALES:
        experiment = config.find(scale, name)
        costs, hours = _predicted(experiment, cpu)
        paid = {
            "together": _duration(hours["training"] + hours["measuring"]),
            "measured": _paid(experiment, "cpu", cpu.hardware),
        }
        rows[scale] = {"runs": len(experiment.runs()), **costs, **paid}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scale")


def gpu_cost_table(gpu: Benchmarks, scales: tuple[str, ...] = ("gpu", "paper")) -> pd.DataFrame:
    """Predicted hours of the experiments on 1, 2 and 8 GPUs: an even share each, but no less than the longest run; and paid."""
    rows = {}
    for scale, name in itertools.product(scales, EXPERIMENTS):
        experiment = config.find(scale, name)
        costs, hours = _predicted(experiment, gpu)
        whole = hours["training"] + hours["measuring"]
        rows[scale, name] = {
            "runs": len(experiment.runs()),
            "precision": experiment.precision,
            **costs,
            "1 GPU": _duration(whole),
            **{f"{n} GPUs": _duration(max(whole / n, hours["longest"])) for n in (2, 8)},
            "paid": _paid(experiment, "cuda", gpu.hardware),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["scale", "experiment"])


def _predicted(experiment: Experiment, benchmarks: Benchmarks) -> tuple[dict[str, str], dict[str, float]]:
    """The columns that tables of costs share, and `predicted_hours`."""
    hours = predicted_hours(experiment, benchmarks)
    costs = {"training": hours["training"], "evaluating and measuring": hours["measuring"]}
    return {name: _duration(cost) for name, cost in costs.items()}, hours


def figure_table(cpu: Benchmarks, gpu: Benchmarks) -> pd.DataFrame:
    """A row per figure: its file and data, and what its runs took by the records there are, or would by the benchmarks."""
    machines: dict[str, tuple[str, str, Benchmarks, int]] = {
        "`laptop`, one CPU thread": ("laptop", "cpu", cpu, 1),
        "`gpu`, one GPU": ("gpu", "cuda", gpu, 1),
        "`paper`, cluster of 8 GPUs": ("paper", "cuda", gpu, 8),
    }
    found = {
        name: {"file": f"`{name}.yaml`", "data": config.find("paper", name).dataset}
        | {t: _cost(config.find(scale, name), kind, found, n) for t, (scale, kind, found, n) in machines.items()}
        for name in EXPERIMENTS
    }
    rows = {"`fig1ab`": {"file": "none", "data": "drawn", **dict.fromkeys(machines, "seconds")}}
    for figure in figures.FIGURES:
        name = next((e for start, e in DRAWN_FROM.items() if figure.startswith(start)), EXPERIMENTS[0])
        rows[f"`{figure}`"] = found[name]
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("figure")


def _cost(experiment: Experiment, kind: str, benchmarks: Benchmarks, n: int) -> str:
    """What was paid and, unless that was for all runs, what n such devices would take; or that it is unknown."""
    paid = _paid(experiment, kind, benchmarks.hardware)
    if f"({len(experiment.runs())} of" in paid:
        return paid
    said = [] if paid == "-" else [paid]
    hours = predicted_hours(experiment, benchmarks)
    whole = max((hours["training"] + hours["measuring"]) / n, hours["longest"] if n > 1 else 0.0)
    if not math.isnan(whole):
        said.append(f"predicted for all: {_duration(whole)}")
    return "; ".join(said) or "unknown"


def _paid(experiment: Experiment, kind: str, hardware: str) -> str:
    """What a machine spent on the runs that have records, and how many of them were not on the benchmarks' device."""
    runs = experiment.runs()
    here = [record for record in store.read_all(runs) if record["provenance"]["device"] == kind]
    if not here:
        return "-"
    devices = Counter(record["provenance"]["device_name"] for record in here)
    elsewhere = {name: n for name, n in sorted(devices.items()) if name not in hardware.split("; ")}
    where = "".join(f", {n} of them on {name}" if n < len(here) else f" on {name}" for name, n in elsewhere.items())
    return f"{_duration(cost.machine_seconds(here) / 3600)} ({len(here)} of {len(runs)} runs{where})"


def _rates(benchmarks: Benchmarks, experiment: Experiment) -> tuple[Rates, Rates, Rates]:
    """Images trained on with networks side by side, and with one alone, and gradients measured, per second, by width."""
    train: Rates = {}
    alone: Rates = {}
    if benchmarks.name == "cpu":
        train = {row["width"]: row["library"]["median"] for row in benchmarks["training"]}  # in bf16
        if experiment.precision != "bf16":  # a CPU has no TensorFloat-32
            slower = {int(w): ratio["median"] for w, ratio in benchmarks["float32"].items()}
            train = {width: rate / _at(slower, width) for width, rate in train.items()}
        alone, points = train, {row["width"]: row["library"]["median"] for row in benchmarks["measuring"]}
    else:
        for row in [*benchmarks["step"], *benchmarks["precisions"]]:
            kind = row["family"], row["precision"], row["variant"]
            if kind == (experiment.model, experiment.precision, AFTER):
                width, rate = row["width"], row["images_per_s"]["median"]
                train[width] = max(train.get(width, 0.0), rate)
                if row["networks"] == 1 or width not in alone:
                    alone[width] = rate / row["networks"]
        used = as_used(benchmarks) if experiment.model == "convnet" else []
        points = {row["width"]: row["points_per_s"]["median"] for row in used}
    return train, alone, {width: 125 * rate for width, rate in points.items()}  # 25 anchors, 1 + 4 gradients at each


def _at(rates: Rates, width: int) -> float:
    if not rates:
        return math.nan
    widths = sorted(rates)
    found = float(np.exp(np.interp(np.log(width), np.log(widths), np.log([rates[w] for w in widths]))))
    return found / max(1.0, width / widths[-1]) ** 2


def _duration(hours: float) -> str:
    return "not measured" if math.isnan(hours) else facts.duration(3600 * hours)
