"""The tables of the trial: a row per combination of the settings that vary, a column per width; errors in percent."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pandas as pd

from .trial import Row

SETTINGS = ["n_train", "epochs", "precision", "input_std", "learning_rate"]
NAMES = {"n_train": "images", "input_std": "normalisation", "learning_rate": "rate", "width": "w"}
NAMES |= {name: name for name in ("epochs", "precision", "seed")}


def groups(rows: list[Row]) -> dict[str, pd.DataFrame]:
    """A table per scale and dataset, under a caption of what all its networks share: a row per network.

    Columns: the fields of `Row`, `mean`, `min`, `max` of the last tenth, and `last`, the error at the last epoch told.
    """
    if not rows:
        return {}
    table = pd.DataFrame([row.model_dump(exclude={"train_error_last_tenth"}) for row in rows])
    table = table.join(pd.DataFrame([row.train_error_last_tenth.model_dump() for row in rows]))
    table["last"] = [errors[max(errors)] for errors in table.train_error_by_epoch]
    return {_shared(part): part for _, part in table.groupby(["dataset", "scale"])}


def varied(rows: list[Row]) -> set[str]:
    """The settings that the trial varied."""
    return {name for name in SETTINGS if len({getattr(row, name) for row in rows}) > 1}


def by_width(part: pd.DataFrame) -> pd.DataFrame:
    """Mean training error over the last tenth of the epochs, with its range if at most four widths were trained.

    `threshold`: the smallest width from which on no label is missed at the last epoch in any seed; '-' if there is none.
    """
    rows, ranges = [], part.width.nunique() <= 4
    for settings, same in part.groupby(keys := _varying(part)):
        found = same.groupby("width").agg({"mean": "mean", "min": "min", "max": "max", "last": "max"})
        cells = {f"w = {row.Index}": _cell(row, "{:.2f}", "-", ranges) for row in found.itertuples()}
        fitted = found.index[(found["last"][::-1] == 0).cummin()[::-1]]
        rows.append(_named(keys, settings) | cells | {"threshold": str(min(fitted, default="-"))})
    return pd.DataFrame(rows).fillna("-")


def effects(part: pd.DataFrame) -> pd.DataFrame:
    """What one setting moves: mean difference (and its range) between networks that differ in it alone, by width."""
    rows, keys = [], _varying(part)
    for name in keys:
        fixed = ["width", "seed", *(key for key in keys if key != name)]
        wide = part.pivot_table(index=fixed, columns=name, values="mean")
        for before, after in itertools.combinations(wide.columns, 2):
            found = (wide[after] - wide[before]).dropna().groupby("width").agg(["mean", "min", "max"])
            cells = {f"w = {row.Index}": _cell(row, "{:+.2f}", " to ") for row in found.itertuples()}
            rows += [{"from": _said(name, before), "to": _said(name, after)} | cells] if cells else []
    return pd.DataFrame(rows).fillna("-")


def by_epoch(part: pd.DataFrame) -> pd.DataFrame:
    """Training error of every network after so many epochs, and its test error at the end."""
    keys, rows = [*_varying(part), "width", *(["seed"] if part.seed.nunique() > 1 else [])], []
    for network in part.sort_values(keys).to_dict("records"):
        errors = {str(epoch): f"{error:.2f}" for epoch, error in sorted(network["train_error_by_epoch"].items())}
        rows.append(_named(keys, [network[key] for key in keys]) | errors | {"test": f"{network['test_error']:.1f}"})
    return pd.DataFrame(rows).fillna("-")


def _varying(part: pd.DataFrame) -> list[str]:
    return [name for name in SETTINGS if part[name].nunique() > 1] or ["epochs"]


def _shared(part: pd.DataFrame) -> str:
    shared = [f"{NAMES[name]} {_said(name, part[name].iloc[0])}" for name in SETTINGS if part[name].nunique() == 1]
    commits = sorted({commit[:7] for commit in part.commit})
    where = f"{', '.join(sorted(set(part.device_name)))}, commit {', '.join(commits)}"
    return "; ".join(
        [f"{part.dataset.iloc[0]}, {part.scale.iloc[0]} scale", *shared, f"{len(part)} networks on {where}"]
    )


def _named(keys: list[str], values: Iterable[Any]) -> dict[str, str]:
    return {NAMES[key]: _said(key, value) for key, value in zip(keys, values, strict=True)}


def _said(name: str, value: Any) -> str:
    return f"{int(value):,}" if name in ("n_train", "epochs") else f"{value}"


def _cell(row: Any, form: str, dash: str, ranges: bool = True) -> str:
    return form.format(row.mean) + (f" ({form.format(row.min)}{dash}{form.format(row.max)})" if ranges else "")
