"""Numbers that describe a curve over width: peaks, second descents, monotony."""

from __future__ import annotations

import numpy as np
import pandas as pd

STEP = 1.1  # a rise or fall of a sharpness is at least this factor
POINTS = 1.0  # a rise or fall of an error is at least so many percentage points
NEAR = 2  # "at the threshold": at most so many measured widths from it


def peak(curve: pd.Series, step: float) -> int | None:
    """The width at which a curve has risen from an earlier value and falls to a later one, each by at least `step`.

    Of several, the one whose smaller side is the largest. The curve may fall before it rises: double descent.
    """
    best, width = step, None
    for i in range(1, len(curve) - 1):
        both = min(curve.iloc[i] - curve.iloc[:i].min(), curve.iloc[i] - curve.iloc[i + 1 :].min())
        if both >= best:
            best, width = both, int(curve.index[i])
    return width


def second_descent(curve: pd.Series) -> float:
    """The largest value over the last."""
    return float(curve.max() / max(curve.iloc[-1], np.finfo(float).tiny))


def rank_correlation(curve: pd.Series) -> float:
    """Spearman's, with width; a constant curve has 1, since it does not fall."""
    if curve.nunique() == 1:
        return 1.0
    return float(pd.Series(curve.index, index=curve.index).rank().corr(curve.rank()))


def steps(widths: list[int], a: int, b: int) -> int:
    return abs(widths.index(a) - widths.index(b))


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def spread(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
