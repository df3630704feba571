"""How long runs take, judged by those that are done."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .config import Run
from .store import Record


def seconds(record: Record) -> float:
    """Wall time of a run: training, evaluating, measuring."""
    return sum(record["provenance"]["wall_s"].values())


def predict_seconds(missing: Iterable[Run], records: Iterable[Record]) -> float | None:
    """How long the missing runs take on one worker, from the times of the ones done; None before the first.

    Between measured widths the time is interpolated in the logarithms; beyond them it grows with the slope of the last
    two widths.
    """
    times: dict[int, list[float]] = {}
    for record in records:
        if record["status"] == "complete":
            times.setdefault(record["config"]["width"], []).append(seconds(record))
    if not times:
        return None
    x = np.log([w for w in sorted(times)])
    y = np.log([np.mean(times[w]) for w in sorted(times)])
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2]) if len(x) > 1 else 1.0
    total = 0.0
    for run in missing:
        position = np.log(run.width)
        beyond = max(0.0, position - x[-1])
        total += float(np.exp(np.interp(position, x, y) + max(slope, 0.0) * beyond))
    return total
