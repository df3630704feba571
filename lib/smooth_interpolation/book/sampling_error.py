"""The standard error that measuring a sample of the training points, instead of all, leaves in a metric's mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from .. import config
from ..config import Experiment
from ..figures import PANELS
from ..runs import record_format, store

SCALES = ("paper", "gpu")  # the first with records tells


def measured(name: str = "convnet-noise20") -> tuple[str, list[record_format.Record]]:
    """The scale that an experiment's sampling error is read off, and its records; no records if no scale has any."""
    for scale in SCALES:
        if records := store.read_all(config.find(scale, name).runs()):
            return scale, records
    return SCALES[0], []


def relative_errors(records: Sequence[record_format.Record], planned: Experiment) -> pd.DataFrame:
    """Standard errors of the means over the largest volume, relative to the means: a row per run, metric and subset.

    For clean and noisy points std / (sqrt(n) |mean|), with std and mean over the points of a record and n as many points
    as `planned` measures; for all points the two subsets' errors, weighted by their shares of the training set. No
    correction for a finite set: the true error is a little smaller. Means of zero have no row.
    """
    planned_points = {"clean": planned.n_clean_points, "noisy": planned.n_noisy_points}
    rows = []
    for record in (r for r in records if r["status"] == "complete"):
        largest = max(entry["size"] for entry in record["volumes"])
        found = {entry["subset"]: entry for entry in record["volumes"] if entry["size"] == largest}
        noisy = record["data"]["n_corrupted"] / record["data"]["n_train"]
        share = {"clean": 1 - noisy, "noisy": noisy}
        parts = [subset for subset in share if subset in found and planned_points[subset]]
        for metric in (m for m in record_format.VOLUME_METRICS if m in found["all"]):
            error = {p: found[p][metric]["std"] / math.sqrt(planned_points[p]) for p in parts}
            error["all"] = math.hypot(*(share[p] * error[p] for p in parts))
            for subset in ("all", *parts):
                if mean := abs(found[subset][metric]["mean"]):
                    place = {"width": record["config"]["width"], "seed": record["config"]["seed"]}
                    rows.append({**place, "metric": metric, "subset": subset, "error": error[subset] / mean})
    return pd.DataFrame(rows, columns=["width", "seed", "metric", "subset", "error"])


def table(errors: pd.DataFrame) -> pd.DataFrame:
    """Median over the runs, and the largest, in percent of the mean: a row per metric, a column per subset."""
    found = errors.groupby(["metric", "subset"]).error.agg(["median", "max"]).mul(100)
    cells = found.map(lambda percent: f"{percent:.2g}" if percent < 99.5 else f"{percent:.0f}")
    cells = (cells["median"] + " (" + cells["max"] + ")").unstack()
    cells = cells.reindex([metric for metric in record_format.VOLUME_METRICS if metric in cells.index])
    cells.index = [PANELS.get(metric, metric.replace("_", " ").capitalize()) for metric in cells.index]
    cells.columns = [f"{subset} points" for subset in cells.columns]
    return cells


def caption(scale: str, records: Sequence[record_format.Record], planned: Experiment) -> str:
    """What `table` shows, and what it was computed from."""
    p = records[0]["config"]["n_paths"]
    points = f"{planned.n_clean_points:,} clean and {planned.n_noisy_points:,} noisy points"
    of = (
        f"of {points} each" if scale == planned.scale else f"the errors scaled to the {points} of {planned.scale} scale"
    )
    source = f"from the {len(records)} records at {scale} scale (P = {p}), {of}"
    return f"Standard error over the largest volume, % of the mean: median over the runs (largest), {source}."
