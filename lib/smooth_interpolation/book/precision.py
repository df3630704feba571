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
    families = {name: records(scale, experiment, precision=kind) for name, kind in WAYS.items()}
    if not all(map(len, families.values())):
        return pd.DataFrame()
    pairs = pd.concat({name: _ends(runs) for name, runs in families.items()}, axis=1, join="inner").dropna()
    groups = pairs.groupby(["width", "quantity"])
    spread = [groups[name].agg(low="min", mean="mean", high="max").add_prefix(f"{name} ") for name in WAYS]
    found = pd.concat([groups.size().rename("seeds"), *spread], axis=1)
    first, second = WAYS
    apart = (found[f"{first} high"] < found[f"{second} low"]) | (found[f"{second} high"] < found[f"{first} low"])
    return found.assign(apart=apart)[found.seeds >= MIN_SEEDS].reindex(QUANTITIES, level="quantity").reset_index()


def _ends(runs: Records) -> pd.Series:
    """The quantities of every network, indexed by width, seed and quantity."""
    volumes = runs.volumes
    largest = volumes[volumes["size"] == volumes["size"].max()]
    parts = [
        table[table.subset == "all"].assign(quantity=table.metric.map(names)).dropna(subset="quantity")
        for table, names in ((moments.at_end(runs.history), POINTS), (largest, VOLUMES))
    ]
    return pd.concat(parts).set_index(["width", "seed", "quantity"])["mean"]


def by_width(table: pd.DataFrame) -> pd.DataFrame:
    """For a page: a row per width and quantity, and of each precision the mean, with the range over the seeds."""
    shown = table.rename(columns={"width": "w"}).set_index(["w", "quantity"])
    cells = {name: [_range(row, name) for row in table.to_dict("records")] for name in WAYS}
    return shown.assign(**cells, ranges=shown.apart.map({True: "apart", False: "overlap"}))[[*WAYS, "ranges"]]


def _range(row: dict[Any, Any], name: str) -> str:
    """With three digits, since two precisions may differ in the third."""
    mean, low, high = (number(row[f"{name} {which}"], 3) for which in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


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
    free = table[table.filter(regex=" (low|high)$").nunique(axis=1) > 1]  # what is 0 in all cannot be apart
    expected = sum(2 / math.comb(2 * n, n) for n in free.seeds)
    widths = ", ".join(map(str, sorted(table.width.unique())))
    return (
        f"**bfloat16 or float32:** in {table.apart.sum()} of {len(free)} comparisons, of w = {widths}, the ranges over the seeds are apart; by "
        f"chance alone it would be about {number(expected)}. Both were measured in float32."
    )
