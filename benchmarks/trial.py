"""`python -m benchmarks.trial`: the trial that fixed the settings of `gpu`, `paper` and `laptop` scale; about 12 minutes on two H100s.

Trains small families under each combination of settings, side by side on one GPU, and writes their errors as
benchmarks/results/trial.json, which the book's page `setup` shows. `--part` makes only some of the networks, so that several
GPUs can share the work; the rows of a part replace those of the same networks.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smooth_interpolation import config, files, locations
from smooth_interpolation.book import trial
from smooth_interpolation.data import inputs, preparation
from smooth_interpolation.errors import UserError
from smooth_interpolation.runs import provenance
from smooth_interpolation.train import evaluation, loop, models
from smooth_interpolation.train.step import Recipe

AUTHORS = (0.2023, 0.1994, 0.2010)  # what the authors' public code divides by
EPOCHS, MOMENTS = 400, (25, 50, 100, 150, 200, 250, 300, 400)
EXPERIMENTS = {"symmetric": "convnet-noise20", "none": "convnet-cifar100", "asymmetric": "convnet-asymmetric"}


def full(width: int, precision: str, input_std: str, rate: float) -> dict[str, Any]:
    return {"scale": "gpu", "noise": "symmetric", "n_train": 50_000, "width": width, "precision": precision,
            "input_std": input_std, "learning_rate": rate}  # fmt: skip


def subset(width: int, noise: str, n_train: int) -> dict[str, Any]:
    return {"scale": "laptop", "noise": noise, "n_train": n_train, "width": width, "precision": "bf16",
            "input_std": "own", "learning_rate": 0.01}  # fmt: skip


PARTS = {
    "bf16": [full(w, "bf16", std, rate) for std in ("authors", "own") for rate in (0.004, 0.005) for w in (24, 20, 16)],
    "float32": [
        full(16, "fp32", "authors", 0.004),
        *(full(w, "tf32", "own", 0.005) for w in (24, 20, 16)),
        full(16, "tf32", "authors", 0.004),
    ],
    "cifar100": [
        subset(w, noise, n) for noise in ("none", "asymmetric") for n in (2000, 4000) for w in (24, 16, 12, 8, 6, 4, 2)
    ],
}


@cache
def _data(
    noise: str, n_train: int, input_std: str, precision: str, device: torch.device
) -> tuple[preparation.Prepared, inputs.TrainingData]:
    """What networks share, so that they can be trained as one."""
    few = {"n_clean_points": 10} | ({"n_noisy_points": 10} if noise != "none" else {})
    std = AUTHORS if input_std == "authors" else None
    experiment = config.find("gpu", EXPERIMENTS[noise], {"n_train": n_train, **few})
    data = preparation.prepare(experiment.model_copy(update={"input_std": std, "input_mean": None}))
    images, labels = data.train.images, data.train.labels
    return data, inputs.TrainingData.of(images, labels, data.normalize, precision, device)


class Network:
    """One network of the trial, in training."""

    def __init__(self, plan: dict[str, Any], device: torch.device):
        changed = {name: plan[name] for name in ("precision", "learning_rate")}
        experiment = config.find("gpu", EXPERIMENTS[plan["noise"]], {**changed, "epochs": EPOCHS})
        self.plan, self.dataset = plan, experiment.dataset
        self.data, inputs = _data(plan["noise"], plan["n_train"], plan["input_std"], plan["precision"], device)
        model = models.create("convnet", plan["width"], experiment.n_classes, 0).to(device)
        self.trainer = loop.Trainer(model, inputs, Recipe.of(experiment), 0)
        self.by_epoch: dict[int, float] = {}
        self.at_end: list[float] = []

    def evaluate(self, epoch: int) -> None:
        if epoch in MOMENTS or epoch in LAST_TENTH:
            error = _error(self.trainer.model, self.data.train, self.data.normalize)
            if epoch in MOMENTS:
                self.by_epoch[epoch] = round(error, 4)
            if epoch in LAST_TENTH:
                self.at_end.append(error)

    def row(self, origin: dict[str, Any]) -> trial.Row:
        test = _error(self.trainer.model, self.data.test, self.data.normalize)
        found = {"mean": sum(self.at_end) / len(self.at_end), "min": min(self.at_end), "max": max(self.at_end)}
        return trial.Row(
            **self.plan,
            dataset=self.dataset,
            epochs=EPOCHS,
            seed=0,
            train_error_by_epoch=self.by_epoch,
            train_error_last_tenth=trial.Range(**{name: round(value, 4) for name, value in found.items()}),
            test_error=round(test, 4),
            commit=origin["commit"],
            device_name=origin["device_name"],
        )


LAST_TENTH = set(loop.evaluation_epochs(EPOCHS, 1, 10))


def _error(model: nn.Module, split: Any, normalize: inputs.Normalization) -> float:
    wrong: Tensor = evaluation.predict(model, split.images, normalize).argmax(1).cpu() != split.labels
    return 100 * wrong.double().mean().item()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; can be repeated")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, default=locations.repository() / "benchmarks" / "results" / "trial.json")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    torch.set_num_threads(1)
    origin = provenance.code() | provenance.machine(device)
    networks = [Network(plan, device) for part in given.part or PARTS for plan in PARTS[part]]
    while active := [network for network in networks if not network.trainer.done]:
        loop.launch([network.trainer for network in active])
        for network in active:
            network.evaluate(network.trainer.finish().epoch)
    new = [network.row(origin) for network in networks]
    made = {_key(row) for row in new}
    rows = sorted([*new, *(row for row in trial.read(given.output) if _key(row) not in made)], key=_key)
    lines = ",\n".join(" " + json.dumps(row.model_dump(mode="json")) for row in rows)
    files.write_atomically(given.output, lambda file: file.write(f"[\n{lines}\n]\n".encode()))


def _key(row: trial.Row) -> tuple[Any, ...]:
    return (row.scale, row.dataset, row.noise, row.n_train, row.precision, row.input_std, row.learning_rate, row.width)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")
