"""Tables made of records, and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

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
RMS = "tangent_hessian_rms"
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
    rows: list[tuple[Any, ...]] = []
    for width, seed, record in _complete(records):
        for entry in record["volumes"]:
            place = width, seed, entry["size"], entry["strength"], entry["subset"]
            rows += [(*place, metric, entry[metric]["mean"], entry[metric]["std"]) for metric in VOLUME_METRICS]
            if factor := _factor(record):
                hessian = entry["tangent_hessian_norm"]
                rows.append((*place, RMS, factor * hessian["mean"], factor * hessian["std"]))
    types = {"width": int, "seed": int, "size": int, "strength": int, "subset": str, "metric": str}
    return _table(rows, types | {"mean": float, "std": float}, ["metric", "subset", "size", "width", "seed"])


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
    rows: list[tuple[Any, ...]] = []
    for width, seed, record in _complete(records):
        factor = _factor(record)
        for entry in record["history"]:
            hessian = entry.get("tangent_hessian_norm")
            rms = {RMS: {s: factor * v for s, v in hessian.items()}} if factor and isinstance(hessian, dict) else {}
            for metric, value in (entry | rms).items():
                if metric == "epoch":
                    continue
                values = value if isinstance(value, dict) else {"all": value}
                rows += [(width, seed, entry["epoch"], subset, metric, v) for subset, v in values.items()]
    types = {"width": int, "seed": int, "epoch": int, "subset": str, "metric": str, "value": float}
    return _table(rows, types, ["metric", "subset", "width", "seed"])


def _complete(records: Iterable[Record]) -> Iterator[tuple[int, int, Record]]:
    """Width, seed and record of the runs that did not diverge."""
    return ((r["config"]["width"], r["config"]["seed"], r) for r in records if r["status"] == "complete")


def _factor(record: Record) -> float | None:
    """`rms_factor` of a record, which holds Equation 5 as printed."""
    settings = record["config"]
    return rms_factor(settings["n_tangents"], settings["delta"]) if "delta" in settings else None


def _table(rows: list[tuple[Any, ...]], types: dict[str, type], by: list[str]) -> pd.DataFrame:
    """Rows as a table with columns of these types, sorted."""
    return pd.DataFrame(rows, columns=list(types)).astype(types).sort_values(by, kind="stable", ignore_index=True)
