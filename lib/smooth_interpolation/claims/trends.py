"""Numbers that describe a curve, and the thresholds by which every claim is judged, the same at every scale.

A curve is a `pandas.Series` over widths, volume sizes or epochs. `peak` is the one function that says whether and where a
curve has a peak: claims, prose and the alternative text of figures ask it. The book names the commit that last changed this
file: none of its thresholds is touched once there are records to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

STEP = 1.1  # a loss or sharpness rises or falls if it changes by this factor
MARKED = 1.5  # ... and markedly, by this one
POINTS = 1.0  # an error or accuracy rises or falls if it changes by so many percentage points
NEAR = 1.5  # "at" a width: within this factor of it, whatever was measured between
MOST, FEW = 0.9, 0.5  # what is said of many curves holds if so large a share shows it; below the second it does not
MONOTONE, NOT_MONOTONE = 0.9, 0.5  # order along a curve, as `order` has it
VANISHED, REMAINS = 0.1, 0.5  # "tends to 0": at most this share of the largest value; not so above the second
NOTHING = 0.01  # of a curve's largest value: below, both sides of a ratio are nothing
HARDLY = 0.2  # "hardly any": a smaller share
STRONG = 0.5  # a correlation, as `rank_correlation` has it
AGREE = 0.975  # of the samples give the verdict: with two or three seeds, each of them at every moment
COVERAGE = 0.95  # of an interval
MIN_WIDTHS = 5  # fewer show no trend over widths
MIN_EPOCHS = 4  # fewer show no rise between two falls
MIN_NETWORKS = 3  # fewer on one side of the threshold show no rule
TOLERANCES = (1.0, 5.0, 10.0)  # percent of training error at which other thresholds are shown; they decide nothing
TINY = np.finfo(float).tiny


class Peak(NamedTuple):
    at: Any  # where: a width, or an epoch
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
    return Peak(curve.index.to_numpy()[i + 1].item(), inner[i] - before[i], inner[i] - after[i], inner[i] - values[-1])


def log_peak(curve: pd.Series, step: float = float(np.log(STEP))) -> Peak | None:
    """`peak` of a positive quantity, that rises and falls by a factor, by default `STEP`; its sides are logarithms.

    A bump among values that have `VANISHED` beside the curve's largest is none.
    """
    logarithms = pd.Series(np.log(np.maximum(curve.to_numpy(), TINY)), curve.index)
    return peak(logarithms, step, logarithms.max() + np.log(VANISHED))


@cache
def selected(n: int) -> float:
    r"""By how many standard errors two of n values differ by chance alone, if the two were chosen for their difference.

    The 95% point q of the range of n independent standard normal variables,
    :math:`P(R \le q) = n \int \varphi(x) (\Phi(x + q) - \Phi(x))^{n - 1} dx = 0.95`: the studentized range for a known
    standard error. It holds for every pair at once, so for the highest and lowest of a curve as well; for two values that
    were chosen beforehand it is 1.96 times the square root of 2.

    Source: J. W. Tukey, Comparing Individual Means in the Analysis of Variance, Biometrics 5 (1949), 99-114.

    Example:
        >>> round(selected(2), 2), round(selected(10), 2)
        (2.77, 4.47)
    """
    x = np.linspace(-9, 9, 3601)
    normal = NormalDist()
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    below = np.array([normal.cdf(value) for value in x])
    low, high = 0.0, 20.0
    while high - low > 1e-6:
        q = (low + high) / 2
        covered = n * np.trapezoid(density * (np.interp(x + q, x, below, right=1.0) - below) ** (n - 1), x)
        low, high = (low, q) if covered > COVERAGE else (q, high)
    return q


def typical_variance(by_seed: np.ndarray) -> float:
    """Of one value, from those of some seeds (n widths, s seeds): typical of the widths, of which a few may jump.

    The median over widths of the variance over seeds, over the median of a chi-squared variable per degree of freedom (the
    approximation of Wilson and Hilferty), so that it estimates a common variance of normal values.
    """
    freedom = by_seed.shape[1] - 1
    if freedom < 1 or not len(by_seed):
        return 0.0
    return float(np.median(by_seed.var(axis=1, ddof=1)) / (1 - 2 / (9 * freedom)) ** 3)


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


def near(a: float, b: float) -> bool:
    """Is width a at width b?"""
    return max(a, b) / min(a, b) <= NEAR


def ratio(a: float, b: float, largest: float) -> float:
    """a / b; nan if both are `NOTHING` beside the largest value of their curves."""
    if max(a, b) < NOTHING * largest or largest <= 0:
        return float("nan")
    return float(a / max(b, TINY))


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
