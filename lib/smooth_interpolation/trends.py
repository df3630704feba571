"""Numbers that describe a curve, and the thresholds by which every claim is judged, the same at every scale.

A curve is a `pandas.Series` over widths, volume sizes or epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

STEP = 1.1  # a loss or sharpness rises or falls if it changes by this factor
MARKED = 1.5  # ... and markedly, by this one
POINTS = 1.0  # an error or accuracy rises or falls if it changes by so many percentage points
NEAR = 1.5  # "at" a width: within this factor of it, or the measured width next to it
MOST, FEW = 0.9, 0.5  # what is said of many curves holds if so large a share shows it; below the second it does not
MONOTONE, NOT_MONOTONE = 0.9, 0.5  # order along a curve, as `order` has it
VANISHED, REMAINS = 0.1, 0.5  # "tends to 0": at most this share of the largest value; not so above the second
HARDLY = 0.2  # "hardly any": a smaller share
STRONG = 0.5  # a correlation, as `rank_correlation` has it
TINY = np.finfo(float).tiny


class Peak(NamedTuple):
    at: int  # where: a width, or an epoch
    rise: float  # to it from the lowest earlier value
    fall: float  # from it to the lowest later one
    to_end: float  # from it to the last value

    @property
    def size(self) -> float:
        return min(self.rise, self.fall)


def peak(curve: pd.Series, step: float, at_least: float = -np.inf) -> Peak | None:
    """Where a curve has risen from an earlier value and falls to a later one, each by at least `step`.

    Of several, the one whose smaller side is the largest. The curve may fall before it rises: double descent. Values below
    `at_least` are no peaks.
    """
    values = curve.to_numpy()
    if len(values) < 3:
        return None
    before = np.minimum.accumulate(values)[:-2]
    after = np.minimum.accumulate(values[::-1])[::-1][2:]
    inner = values[1:-1]
    sizes = np.where(inner >= at_least, np.minimum(inner - before, inner - after), -np.inf)
    i = int(np.argmax(sizes))
    if not sizes[i] >= step:
        return None
    return Peak(int(curve.index[i + 1]), inner[i] - before[i], inner[i] - after[i], inner[i] - values[-1])


def log_peak(curve: pd.Series) -> Peak | None:
    """`peak` of a positive quantity, that rises and falls by the factor `STEP`; its sides are logarithms.

    A bump among values that have `VANISHED` beside the curve's largest is none.
    """
    logarithms = np.log(curve.clip(lower=TINY))
    return peak(logarithms, np.log(STEP), logarithms.max() + np.log(VANISHED))


def order(curve: pd.Series, step: float) -> float:
    """Does it grow? The share of pairs in order minus that of pairs in reverse, among those that differ by `step`.

    Goodman and Kruskal's gamma: 1 for a curve that never falls by `step`, also where it stays level; nan if no pair differs.
    """
    values, places = curve.to_numpy(), curve.index.to_numpy()
    change = (values[None, :] - values[:, None])[places[None, :] > places[:, None]]
    up, down = (change >= step).sum(), (change <= -step).sum()
    return float((up - down) / (up + down)) if up + down else float("nan")


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, with average ranks for equal values; nan if one of them does not change."""
    a, b = (_ranks(np.asarray(values)) for values in (a, b))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def near(widths: Sequence[int], a: int, b: int) -> bool:
    """Is width a at width b, as far as the measured widths can tell?"""
    ratio = max(a, b) / min(a, b)
    return ratio <= NEAR or abs(widths.index(a) - widths.index(b)) <= 1


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(np.clip(values, TINY, None)))))
