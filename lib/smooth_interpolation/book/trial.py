"""The tables of the trial that fixed the settings, `benchmarks/results/trial.json`; errors in percent."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .. import locations

NO_BREAK = "\u2011"  # a hyphen that keeps a range on one line
COMPARED = ["precision", "input_std", "learning_rate", "batch_size", "schedule"]
SETTINGS = ["noise", "n_train", "epochs", *COMPARED]
NAMES = {
    "n_train": "images",
    "input_std": "normalisation",
    "learning_rate": "rate",
    "batch_size": "batch",
    "width": "w",
}
FAMILIES = {"convnet": "ConvNets", "resnet18": "ResNet18s"}
NAMES |= {name: name for name in ("noise", "epochs", "precision", "schedule", "seed")}
UNSAID = {"model": "convnet", "batch_size": 128, "schedule": "constant"}  # what a row has that does not name it


def read(path: Path | None = None) -> pd.DataFrame:
    """A row per network of the trial: its settings, `mean`, `min`, `max` of the training error over the last tenth of the epochs,
    `last`, that at the last epoch told, and the test error."""
    path = path or locations.repository() / "benchmarks" / "results" / "trial.json"
    table = pd.DataFrame([UNSAID | row for row in json.loads(path.read_text())])
    table = table.join(pd.DataFrame(table.pop("train_error_last_tenth").tolist()))
    table["last"] = [errors[max(errors, key=int)] for errors in table.train_error_by_epoch]
    return table


def groups(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The networks by family, scale and dataset, under a caption of what all of a group share."""
    return {_shared(part): part for _, part in table.groupby(["model", "dataset", "scale"])}


def varied(table: pd.DataFrame) -> set[str]:
    """The settings of which the trial tells what they move."""
    return {name for part in groups(table).values() for name in COMPARED if part[name].nunique() > 1}


def by_width(part: pd.DataFrame) -> pd.DataFrame:
    """Mean training error over the last tenth of the epochs, with its range if at most three widths were trained.

    A row per combination of the settings that vary and a column per width; the other way round if there are many widths.
    `threshold`: the smallest width from which on no label is missed at the last epoch in any seed; '-' if there is none.
    """
    rows, ranges = [], part.width.nunique() <= 3
    for settings, same in part.groupby(keys := _varying(part)):
        found = same.groupby("width").agg({"mean": "mean", "min": "min", "max": "max"})
        cells = {f"w = {row.Index}": _cell(row, "", NO_BREAK, ranges) for row in found.itertuples()}
        rows.append(_named(keys, settings) | cells | {"threshold": _threshold(same)})
    table = pd.DataFrame(rows).fillna("-")
    if ranges:
        return table
    first, *others = table.columns
    turned = table[others].T.set_axis(table[first], axis=1)
    return turned.rename_axis(columns=None, index=first).reset_index()


def _threshold(same: pd.DataFrame) -> str:
    worst = same.groupby("width")["last"].max()
    fitted = worst.index[(worst[::-1] == 0).cummin()[::-1]]
    return str(min(fitted, default="-"))


def effects(part: pd.DataFrame) -> pd.DataFrame:
    """What one setting moves: mean difference (and its range) between networks that differ in it alone, by width."""
    rows = []
    for name, before, after, found in _changes(part):
        cells = {f"w = {row.Index}": _cell(row, "+", " to ") for row in found.itertuples()}
        rows.append({"setting": NAMES[name], "from": _said(name, before), "to": _said(name, after)} | cells)
    return pd.DataFrame(rows).fillna("-")


def conclusion(part: pd.DataFrame) -> str:
    """Whether any setting moves the threshold, and how far each moves the error, as a sentence."""
    moved: dict[str, float] = {}
    for name, _, _, found in _changes(part):
        moved[name] = max(moved.get(name, 0.0), found["mean"].abs().max())
    thresholds = {_threshold(same) for _, same in part.groupby(_varying(part))}
    low, high = part.width.min(), part.width.max()
    widths = f"w = {low} to {high}" if low < high else f"w = {low}"
    found = (
        f"{'No setting moves the threshold: at' if low < high else 'At'} {widths} none of them fits all labels within {part.epochs.max():,} epochs"
        if thresholds == {"-"}
        else f"Thresholds among {widths}: {', '.join(sorted(thresholds))}"
    )
    changes = ", ".join(f"{NAMES[name]} {_error(change)}" for name, change in moved.items())
    jumps = (part["max"] - part["min"]).max()
    return (
        f"{found}, and the error is {_error(part['mean'].min())}% or more. The settings move its mean by at most so many "
        f"percentage points: {changes}. In one network it jumps by up to {_error(jumps)} within the last tenth."
    )


def _changes(part: pd.DataFrame) -> Iterator[tuple[str, Any, Any, pd.DataFrame]]:
    """A setting, two values of it, and the change from one to the other by width: mean, min, max over pairs of networks."""
    keys = _varying(part)
    for name in (key for key in keys if key in COMPARED):
        fixed = ["width", "seed", *(key for key in keys if key != name)]
        wide = part.pivot_table(index=fixed, columns=name, values="mean")
        for before, after in itertools.combinations(wide.columns, 2):
            found = (wide[after] - wide[before]).dropna().groupby("width").agg(["mean", "min", "max"])
            if len(found):
                yield name, before, after, found


def by_epoch(part: pd.DataFrame) -> pd.DataFrame:
    """Training error of every network after so many epochs, and its test error at the end."""
    keys, rows = [*_varying(part), "width", *(["seed"] if part.seed.nunique() > 1 else [])], []
    for network in part.sort_values(keys).to_dict("records"):
        told = sorted(network["train_error_by_epoch"].items(), key=lambda item: int(item[0]))
        errors = {epoch: _error(error) for epoch, error in told}
        rows.append(_named(keys, [network[key] for key in keys]) | errors | {"test": f"{network['test_error']:.1f}"})
    return pd.DataFrame(rows).fillna("-")


def _varying(part: pd.DataFrame) -> list[str]:
    return [name for name in SETTINGS if part[name].nunique() > 1] or ["epochs"]


def _shared(part: pd.DataFrame) -> str:
    shared = [f"{NAMES[name]} {_said(name, part[name].iloc[0])}" for name in SETTINGS if part[name].nunique() == 1]
    commits = sorted({commit[:7] for commit in part.commit})
    where = f"{', '.join(sorted(set(part.device_name)))}, commit {', '.join(commits)}"
    return "; ".join(
        [
            f"{FAMILIES[part.model.iloc[0]]}, {part.dataset.iloc[0]}, {part.scale.iloc[0]} scale",
            *shared,
            f"{len(part)} networks on {where}",
        ]
    )


def _named(keys: list[str], values: Iterable[Any]) -> dict[str, str]:
    return {NAMES[key]: _said(key, value) for key, value in zip(keys, values, strict=True)}


def _said(name: str, value: Any) -> str:
    return f"{int(value):,}" if name in ("n_train", "epochs") else f"{value}"


def _cell(row: Any, sign: str, dash: str, ranges: bool = True) -> str:
    return _error(row.mean, sign) + (f" ({_error(row.min, sign)}{dash}{_error(row.max, sign)})" if ranges else "")


def _error(percent: float, sign: str = "") -> str:
    digits = 1 if abs(percent) >= 1 else 2 if percent == 0 or abs(percent) >= 0.005 else 3
    return f"{percent:{sign}.{digits}f}"
