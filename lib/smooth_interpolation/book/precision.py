"""What training in bfloat16 changes: networks of one width and seed, trained in it and in float32, side by side."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..claims import moments
from ..claims.words import number
from ..runs.records import Records, records

WAYS = {"bfloat16": "bf16", "float32": "fp32"}
POINTS = {
    "train_error": "training error, %",
    "test_error": "test error, %",
    "jacobian_norm": "Jacobian norm at the points",
}
VOLUMES = {"jacobian_norm": "Jacobian norm, largest volume", "tangent_hessian_norm": "Hessian norm, largest volume"}
QUANTITIES = [*POINTS.values(), *VOLUMES.values()]
MIN_SEEDS = 2  # fewer have no range


def compared(scale: str, experiment: str) -> pd.DataFrame:
    """The networks of a family that were trained in both precisions, on the same images and in the same order of batches.

    Returns:
        A row per width and quantity (`QUANTITIES`), of the widths of which at least `MIN_SEEDS` seeds were trained in both. Errors and
        the norm at the points are means over the last tenth of the epochs (`moments.at_end`), norms over volumes are measured after the last.
        Columns: width, quantity, seeds (how many), of each precision `low`, `mean` and `high` over the seeds, such as
        `float32 low`, and `apart`: whether the two ranges have no value in common. Empty without such networks.
    """
    ends = {name: _ends(records(scale, experiment, precision=kind)) for name, kind in WAYS.items()}
    if not all(map(len, ends.values())):
        return pd.DataFrame()
    pairs = pd.concat(ends, axis=1, join="inner").dropna()
    groups = pairs.groupby(["width", "quantity"])
    spread = [groups[name].agg(low="min", mean="mean", high="max").add_prefix(f"{name} ") for name in WAYS]
    found = pd.concat([groups.size().rename("seeds"), *spread], axis=1)
    first, second = WAYS
    apart = (found[f"{first} high"] < found[f"{second} low"]) | (found[f"{second} high"] < found[f"{first} low"])
    return found.assign(apart=apart)[found.seeds >= MIN_SEEDS].reset_index()


def _ends(runs: Records) -> pd.Series:
    """The quantities of every network, indexed by width, seed and quantity."""
    if not len(runs):
        return pd.Series(dtype=float)
    ends, volumes = moments.at_end(runs.history), runs.volumes
    largest = volumes[volumes["size"] == volumes["size"].max()]
    parts = [
        table[(table.subset == "all") & table.metric.isin(names)].assign(
            quantity=lambda t, names=names: t.metric.map(names)
        )
        for table, names in ((ends, POINTS), (largest, VOLUMES))
    ]
    return pd.concat(parts).set_index(["width", "seed", "quantity"])["mean"]


def by_width(table: pd.DataFrame) -> pd.DataFrame:
    """For a page: a row per width and quantity, and of each precision the mean, with the range over the seeds."""
    order = table.assign(order=table.quantity.map(QUANTITIES.index)).sort_values(["width", "order"])
    cells = {name: [_range(row, name) for row in order.to_dict("records")] for name in WAYS}
    shown = pd.DataFrame({"w": order.width.tolist(), "quantity": order.quantity.tolist(), **cells})
    return shown.assign(ranges=order.apart.map({True: "apart", False: "overlap"}).tolist()).set_index(["w", "quantity"])


def _range(row: dict[Any, Any], name: str) -> str:
    mean, low, high = (_number(row[f"{name} {which}"]) for which in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _number(value: float) -> str:
    """With three significant digits, since two precisions may differ in the third."""
    return f"{value:.3g}" if 1e-4 <= abs(value) < 1e4 or not value else f"{value:.2e}"


def caption(table: pd.DataFrame) -> str:
    seeds = sorted(table.seeds.unique())
    return f"The same networks trained in two precisions: means over {' or '.join(map(str, seeds))} seeds, and their range."


def sentence(table: pd.DataFrame) -> str:
    """How many of the ranges are apart, beside how many would be by chance.

    Of two samples of n values from one distribution the ranges have nothing in common with the probability :math:`2 (n!)^2 / (2 n)!`.
    """
    if not len(table):
        return (
            "Training multiplies in bfloat16, around float32 weights. Networks trained in float32 are not measured here; the trial above "
            "compares their training error."
        )
    expected = sum(2 / math.comb(2 * n, n) for n in table.seeds)
    widths = ", ".join(map(str, sorted(table.width.unique())))
    return (
        f"**bfloat16 or float32:** in {table.apart.sum()} of {len(table)} comparisons, of w = {widths}, the ranges over the seeds are apart; by "
        f"chance alone it would be about {number(expected)}. Measuring is in float32 for both."
    )
