"""The kind of panel that most figures are made of: curves over width, with the seeds that they are means of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from .style import ACCENT, POINT, SEED, VOLUME

MIN_RANGE = 10  # percentage points on an axis of errors
CROWDED = 24  # widths, of which more are not marked on a curve
MARGIN = 0.06  # of the range, above the highest line


def curve(panel: Axes, part: pd.DataFrame, colour: str, label: str, *, thick: bool = False, mark: int | None) -> Line2D:
    """A curve over width: the mean over seeds, and every seed as a thin line.

    Args:
        panel: where.
        part: rows with columns width, seed and mean; with low and high, thin bars are drawn over that range.
        colour: of its lines.
        label: of the mean's line.
        thick: for the curve that matters most.
        mark: a width whose point is ringed.

    Returns:
        The mean's line.
    """
    seeds = part.groupby(["width", "seed"])["mean"].mean().unstack()
    mean = seeds.mean(axis=1)
    if seeds.shape[1] > 1:
        panel.plot(seeds.index, seeds.to_numpy(), color=colour, linewidth=SEED, alpha=0.6, zorder=2, label="_seed")
    (line,) = panel.plot(
        mean.index,
        mean,
        "o-" if len(mean) <= CROWDED else "-",
        color=colour,
        linewidth=POINT if thick else VOLUME,
        markersize=3.2 if thick else 2.4,
        zorder=4 if thick else 3,
        label=label,
    )
    if "low" in part:
        by_width = part.groupby("width")
        panel.vlines(mean.index, by_width["low"].min(), by_width["high"].max(), color=colour, linewidth=0.8)
    if mark in mean.index:
        panel.plot(
            [mark], [mean[mark]], "o", color=colour, markeredgecolor=ACCENT, markeredgewidth=1.2, markersize=6, zorder=5
        )
    return line


def scale_values(panel: Axes, part: pd.DataFrame, metric: str, yscale: str = "linear") -> None:
    """Accuracies from 0 to 1; other metrics from 0, or on a logarithmic axis; no line leaves the axes.

    Args:
        panel: which has, or shares, the axis.
        part: rows with the column mean, of all that is drawn on it.
        metric: its name.
        yscale: "linear" or "log".
    """
    if metric == "accuracy":
        panel.set_ylim(0, 1.03)
        panel.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        return
    values = part["mean"].to_numpy(float)
    positive = values[values > 0]
    if not len(positive):
        return
    if yscale == "log":
        panel.set_yscale("log")
        panel.set_ylim(positive.min() / 1.4, positive.max() * 1.4)
    else:
        panel.set_ylim(0, np.nanmax(values) * (1 + MARGIN))
        panel.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def scale_errors(panel: Axes, part: pd.DataFrame) -> None:
    """At least ten percentage points, so that what varies little looks so."""
    low, high = part.get("low", part["mean"]).min(), part.get("high", part["mean"]).max()
    middle, reach = (high + low) / 2, max(MIN_RANGE, 1.1 * (high - low)) / 2
    panel.set_ylim(max(middle - reach, -2), min(middle + reach, 102))
