"""Tables made of records, in one pass over them: a record need not stay in memory. And tables as Markdown."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from .record_format import VOLUME_METRICS, Record

UNITS = {  # of the tables' columns and metrics
    "accuracy": "share of points",
    "crossentropy": "nats",
    "jacobian_norm": "nats per unit of the network's input",
    "tangent_hessian_norm": "Equation 5: depends on M and delta",
    "tangent_hessian_rms": "nats per unit of the network's input, per unit of delta",
    "residual_norm": "probability",
    "sensitivity": "per unit of the network's input",
    "exact_fit": "share of anchors",
    "strength": "singular values, or pixels",
    "train_error": "percent",
    "test_error": "percent",
}
METRICS = {  # as tables and the terminal name them
    "accuracy": "accuracy",
    "crossentropy": "crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
    "residual_norm": "residual norm",
    "sensitivity": "sensitivity",
}


def rms_factor(n_tangents: int, delta: float) -> float:
    """What Equation 5 as printed, 1 / (M^2 delta^2) sqrt(sum_m d_m^2), is multiplied by to be sqrt(mean_m d_m^2) / delta.

    The root mean square does not depend on M; the factor is M^1.5 delta.

    Example:
        >>> rms_factor(4, 0.1)
        0.8
    """
    return n_tangents**1.5 * delta


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which would look at all records again and again: there are no cycles in them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def volumes_table(records: Iterable[Record]) -> pd.DataFrame:
    """A row per run, volume size, subset and metric.

    Columns: width, seed, size (augmentations per path, 0 for the point itself), strength, subset, metric, mean and std
    over points. Beside the records' metrics there is `tangent_hessian_rms`, see `rms_factor`; `UNITS` has the units.
    Diverged runs have no rows.

    Example:
        >>> from smooth_interpolation import config
        >>> from smooth_interpolation.runs import store
        >>> table = volumes_table(store.read_all(config.find("demo", "convnet-noise20").runs()))
        >>> sorted(table.width.unique().tolist()), sorted(table.subset.unique())
        ([1, 2, 4, 8, 16], ['all', 'clean', 'noisy'])
    """
    return _fill(records, _Volumes())


def history_table(records: Iterable[Record]) -> pd.DataFrame:
    """A row per run, evaluated epoch, subset and metric: width, seed, epoch, subset, metric, value.

    Test error and crossentropy are in the rows of subset 'all'. Errors are in percent. Diverged runs have no rows.

    Example:
        >>> from smooth_interpolation import config
        >>> from smooth_interpolation.runs import store
        >>> table = history_table(store.read_all(config.find("demo", "convnet-noise20").runs()))
        >>> int(table.epoch.max()), "test_error" in set(table.metric)
        (100, True)
    """
    return _fill(records, _History())


def markdown(table: pd.DataFrame, **options: Any) -> str:
    """A table as Markdown, its cells, which may hold Markdown and HTML, as they are; with its index if that has a name.

    Args:
        table: of texts, and of whole numbers.
        options: of `tabulate`, such as the columns' alignment, `colalign`.
    """
    named = table.index.name is not None
    return str(table.to_markdown(index=named, stralign=None, disable_numparse=True, **options))


@uncollected()
def _fill(records: Iterable[Record], table: _Series) -> pd.DataFrame:
    runs: list[tuple[int, int]] = []
    for record in records:
        if record["status"] == "complete":
            table.add(len(runs), record)
            runs.append((record["config"]["width"], record["config"]["seed"]))
    return table.frame(np.array(runs, int).reshape(-1, 2))


class _Series:
    """Columns of a table, by the sorted keys of its series: metric, subset, and perhaps more.

    A series holds the numbers of the runs that its values are of. Put one after another, with each in the order of width
    and seed, series make a sorted table without sorting its rows.
    """

    columns: tuple[str, ...]

    def __init__(self) -> None:
        self.series: dict[Any, tuple[list[Any], ...]] = {}

    def add(self, number: int, record: Record) -> None:
        raise NotImplementedError

    def lists(self, key: Any) -> tuple[list[Any], ...]:
        found = self.series.get(key)
        if found is None:
            found = self.series[key] = tuple([] for _ in range(1 + len(self.columns)))
        return found

    def frame(self, places: np.ndarray) -> pd.DataFrame:
        keys = sorted(self.series)
        rank = np.empty(len(places), int)
        rank[np.lexsort((places[:, 1], places[:, 0]))] = np.arange(len(places))
        in_order = bool((np.diff(rank) > 0).all())
        parts = []
        for key in keys:
            arrays = [np.array(values) for values in self.series[key]]
            parts.append(arrays if in_order else [a[np.argsort(rank[arrays[0]], kind="stable")] for a in arrays])
        numbers, *columns = (np.concatenate([[], *column]) for column in zip(*parts, strict=True)) if parts else (
            np.array([]) for _ in range(1 + len(self.columns))
        )  # fmt: skip
        runs, counts = places[numbers.astype(int)], [len(part[0]) for part in parts]
        table = {"width": runs[:, 0], "seed": runs[:, 1], **dict(zip(self.columns, columns, strict=True))}
        for place, name in enumerate(("metric", "subset")):
            table[name] = pd.array([key[place] for key in keys], dtype="str").repeat(counts)
        return self.finished(pd.DataFrame(table), keys, counts)

    def finished(self, table: pd.DataFrame, keys: list[Any], counts: list[int]) -> pd.DataFrame:
        raise NotImplementedError


RMS = "tangent_hessian_rms"


def _factor(record: Record) -> float | None:
    """`rms_factor` of a record, which holds Equation 5 as printed."""
    settings = record["config"]
    return rms_factor(settings["n_tangents"], settings["delta"]) if "delta" in settings else None


def _scaled(values: dict[str, float] | float | None, factor: float | None) -> dict[str, float] | None:
    if factor is None or not isinstance(values, dict):
        return None
    return {subset: factor * value for subset, value in values.items()}


class _Volumes(_Series):
    columns = ("strength", "mean", "std")

    def add(self, number: int, record: Record) -> None:
        for entry in record["volumes"]:
            subset, size, strength = entry["subset"], entry["size"], entry["strength"]
            for metric in VOLUME_METRICS:
                spread = entry[metric]
                numbers, strengths, means, deviations = self.lists((metric, subset, size))
                numbers.append(number)
                strengths.append(strength)
                means.append(spread["mean"])
                deviations.append(spread["std"])
            if factor := _factor(record):
                hessian = entry["tangent_hessian_norm"]
                row = number, strength, factor * hessian["mean"], factor * hessian["std"]
                for column, value in zip(self.lists((RMS, subset, size)), row, strict=True):
                    column.append(value)

    def finished(self, table: pd.DataFrame, keys: list[Any], counts: list[int]) -> pd.DataFrame:
        table["size"] = np.repeat(np.array([key[2] for key in keys], int), counts)
        table["strength"] = table["strength"].astype(int)
        return table[["width", "seed", "size", "strength", "subset", "metric", "mean", "std"]]


class _History(_Series):
    columns = ("epoch", "value")

    def add(self, number: int, record: Record) -> None:
        for entry in record["history"]:
            epoch = entry["epoch"]
            rms = {RMS: _scaled(entry.get("tangent_hessian_norm"), _factor(record))}
            for metric, value in (entry | rms).items():
                if metric == "epoch" or value is None:
                    continue
                for subset, v in value.items() if isinstance(value, dict) else (("all", value),):
                    numbers, epochs, values = self.lists((metric, subset))
                    numbers.append(number)
                    epochs.append(epoch)
                    values.append(v)

    def finished(self, table: pd.DataFrame, keys: list[Any], counts: list[int]) -> pd.DataFrame:
        table["epoch"] = table["epoch"].astype(int)
        return table[["width", "seed", "epoch", "subset", "metric", "value"]]
