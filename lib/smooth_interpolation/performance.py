"""What the benchmarks found: their files, as tables, and what they say of the cost of every scale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from . import config, cost, display, locations, store, training
from .config import Experiment
from .errors import RecordError

HARDWARE = {"cpu": "one CPU thread", "gpu": "one GPU"}


class Benchmarks:
    """One file of `benchmarks/results`: its sections, each with its origin.

    Args:
        name: "cpu", "gpu" or "reliability".

    Raises:
        RecordError: if the file is missing or damaged.
    """

    def __init__(self, name: str):
        path = locations.repository() / "benchmarks" / "results" / f"{name}.json"
        module = {"cpu": "benchmarks", "reliability": "benchmarks reliability"}.get(name, f"benchmarks.{name}")
        try:
            self._sections = json.loads(path.read_text())
            self.origins = {section: content["origin"] for section, content in self._sections.items()}
        except (OSError, ValueError, TypeError, KeyError):
            raise RecordError(f"{path} is missing or damaged: python -m {module} makes it.") from None
        self.name = name

    def __getitem__(self, section: str) -> Any:
        return self._sections[section]["result"]

    @property
    def hardware(self) -> str:
        return "; ".join(sorted({origin["device_name"] for origin in self.origins.values()}))

    def origin(self) -> str:
        """Where the numbers come from, in a sentence."""
        commits = sorted({origin["commit"][:7] for origin in self.origins.values()})
        versions = sorted({f"PyTorch {origin['torch']}" for origin in self.origins.values()})
        dates = sorted({origin["measured"] for origin in self.origins.values()})
        used = f", {HARDWARE[self.name]}" if self.name in HARDWARE else ""
        return f"Measured on {self.hardware}{used}, {', '.join(dates)}; {', '.join(versions)}; commit {', '.join(commits)}."


def ratios(cpu: Benchmarks) -> pd.DataFrame:
    """Library against baseline: median and range of the ratios, and the share of the machine's multipliers in use."""
    rows = []
    for section, unit, precision in (("training", "images/s", "bf16"), ("measuring", "points/s", "float32")):
        ceiling = cpu["ceilings"][f"matrix product, {precision}, FLOP/s"]
        for row in cpu[section]:
            ratio, speed = row["ratio"], row["library"]["median"]
            rows.append(
                {
                    "": f"{section}, {unit}",
                    "width": row["width"],
                    "baseline": _number(row["baseline"]["median"]),
                    "library": _number(speed),
                    "ratio": f"{ratio['median']:.1f} ({ratio['min']:.1f}-{ratio['max']:.1f})",
                    "of the matrix-product rate": f"{row['flop'] * speed / ceiling:.0%}",
                }
            )
    return pd.DataFrame(rows).set_index(["", "width"])


def profile(cpu: Benchmarks) -> pd.DataFrame:
    """The share of the time that each kind of operation takes."""
    rows = {(what, f"w = {w}"): shares for what, widths in cpu["profile"].items() for w, shares in widths.items()}
    return pd.DataFrame(rows).T.map(lambda share: f"{share:.0%}")


def gpu_rates(gpu: Benchmarks) -> pd.DataFrame:
    """What a graph gains for one network, and the share of the device's matrix-product rate that training reaches."""
    ceiling = gpu["ceilings"]["matrix product, bf16, FLOP/s"]
    found = {(row["family"], row["width"], row["mode"]): row for row in gpu["training"]}
    rows = []
    for family, width, mode in found:
        if mode == "graph, bf16":
            eager, graph = (found[family, width, m] for m in ("eager, bf16", mode))
            speeds = [row["images_per_s"]["median"] for row in (eager, graph)]
            rows.append(
                {
                    "network": family,
                    "width": width,
                    "eager, images/s": f"{speeds[0]:,.0f}",
                    "graph, images/s": f"{speeds[1]:,.0f}",
                    "ratio": f"{speeds[1] / speeds[0]:.1f}",
                    "of the bf16 rate": _percent(graph["flop_per_s"] / ceiling),
                }
            )
    return pd.DataFrame(rows).set_index(["network", "width"])


def gpu_measuring(gpu: Benchmarks) -> pd.DataFrame:
    """Points measured per second, and the share of the device's float32 rate."""
    ceiling = gpu["ceilings"]["matrix product, float32, FLOP/s"]
    rows = {
        row["width"]: {
            "points/s": _number(row["points_per_s"]["median"]),
            "of the float32 rate": _percent(row["flop_per_s"] / ceiling),
        }
        for row in _as_used(gpu)
    }
    return pd.DataFrame(rows).T.rename_axis("width")


def explorations(cpu: Benchmarks) -> pd.DataFrame:
    """What was tried: time relative to what is kept, by width; above 1 it lost."""
    table = pd.DataFrame(
        {
            name: {f"w = {width}": value["median"] for width, value in row.items()}
            for name, row in cpu["explorations"].items()
        }
    ).T
    return table.map(lambda value: f"{value:.2f}")


def many(cpu: Benchmarks) -> pd.DataFrame:
    """What the store takes for many runs: seconds by the clock and of the processor, medians, beside what they may take."""
    words = {
        "load": "read, verify and tabulate {:,} records",
        "status": "`smooth-interpolation status` of {:,} planned runs, from its start",
    }
    rows = {
        words[row["case"]].format(row["runs"]): {
            "processor, s": f"{row['cpu_s']:.1f}",
            "clock, s": f"{row['wall_s']:.1f}",
            "bound, s": f"{row['bound_s']:.0f}",
            "load": f"{row['load']:.0f} on {row['cores']} cores",
        }
        for row in cpu["many"]
    }
    return pd.DataFrame(rows).T


def exponent(amounts: list[float], seconds: list[float]) -> float:
    """Slope of the logarithms by least squares: cost grows with amount to this power."""
    return float(np.polyfit(np.log(amounts), np.log(seconds), 1)[0])


def predicted_hours(experiment: Experiment, benchmarks: Benchmarks) -> dict[str, float]:
    """Hours of training, and of evaluating and measuring, that an experiment takes from the benchmarked rates.

    Rates are interpolated in the logarithm of the width; beyond the widest they fall with its square, as the operations
    grow. A forward pass counts as half a gradient.
    """
    train, gradient = _rates(benchmarks, experiment.precision)
    n_train, n_test = _size(experiment.n_train, 50_000), _size(experiment.n_test, 10_000)
    points = experiment.n_clean_points + experiment.n_noisy_points
    n_evaluations = len(
        training.evaluation_epochs(experiment.epochs, experiment.n_evaluations, experiment.n_last_evaluations)
    )
    directions = 1 + experiment.n_tangents
    at_epoch = (n_train + n_test) / 2 + points * directions
    at_end = points * directions * (1 + experiment.n_paths * len(experiment.strengths))
    hours = {"training": 0.0, "measuring": 0.0}
    for run in experiment.runs():
        for what, amount, rates in (
            ("training", n_train * run.epochs, train),
            ("measuring", n_evaluations * at_epoch + at_end, gradient),
        ):
            beyond = max(1.0, run.width / max(rates)) ** 2
            hours[what] += beyond * amount / _at(rates, run.width) / 3600
    return hours


def cost_table(name: str, benchmarks: Mapping[str, Benchmarks]) -> pd.DataFrame:
    """Predicted and measured hours of an experiment at every scale and on every benchmarked machine."""
    rows = []
    for scale in config.SCALES:
        experiment = config.find(scale, name)
        records = store.read_all(experiment.runs())
        for kind, found in benchmarks.items():
            hours = predicted_hours(experiment, found)
            here = [r for r in records if r["provenance"]["device"] == {"cpu": "cpu", "gpu": "cuda"}[kind]]
            measured = cost.machine_seconds(here) / 3600
            others = sorted({r["provenance"]["device_name"] for r in here} - {found.hardware})
            where = f" on {', '.join(others)}" if others else ""
            n_runs = len(experiment.runs())
            rows.append(
                {
                    "scale": scale,
                    "on": f"{HARDWARE[kind]} ({found.hardware})",
                    "runs": n_runs,
                    "training": _duration(hours["training"]),
                    "evaluating and measuring": _duration(hours["measuring"]),
                    "together": _duration(sum(hours.values())),
                    "measured": f"{_duration(measured)} ({len(here)} of {n_runs} runs{where})" if here else "-",
                }
            )
    return pd.DataFrame(rows).set_index(["scale", "on"])


def _rates(benchmarks: Benchmarks, precision: str) -> tuple[dict[int, float], dict[int, float]]:
    """Images trained on in this precision, and gradients measured, per second, by width."""
    if benchmarks.name == "cpu":
        train = {row["width"]: row["library"]["median"] for row in benchmarks["training"]}  # in bf16
        if precision != "bf16":  # a CPU has no TensorFloat-32
            slower = {int(w): ratio["median"] for w, ratio in benchmarks["explorations"]["training: float32"].items()}
            train = {width: rate / _at(slower, width) for width, rate in train.items()}
        points = {row["width"]: row["library"]["median"] for row in benchmarks["measuring"]}
    else:
        # Float32 was measured without graphs and one network at a time: a cautious rate, of TensorFloat-32 too.
        mode = "graph, bf16" if precision == "bf16" else "eager, float32"
        rows = [row for row in benchmarks["training"] if row["family"] == "convnet" and row["mode"] == mode]
        train = {}
        for row in rows + (benchmarks["side by side"] if precision == "bf16" else []):
            train[row["width"]] = max(train.get(row["width"], 0.0), row["images_per_s"]["median"])
        points = {row["width"]: row["points_per_s"]["median"] for row in _as_used(benchmarks)}
    return train, {width: 125 * rate for width, rate in points.items()}  # 25 anchors, 1 + 4 gradients at each


def _as_used(gpu: Benchmarks) -> list[dict[str, Any]]:
    """The rates of measuring in the layout and the chunk that runs use."""
    return [row for row in gpu["measuring"] if row["layout"] == "channels last" and row["chunk"] is None]


def _at(rates: Mapping[int, float], width: int) -> float:
    widths = sorted(rates)
    return float(np.exp(np.interp(np.log(width), np.log(widths), np.log([rates[w] for w in widths]))))


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{100 * share:.2f}%"


def _duration(hours: float) -> str:
    return f"{hours / 24:,.1f} days" if hours >= 48 else display.duration(3600 * hours)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _size(asked: int | None, whole: int) -> int:
    return whole if asked is None else asked
