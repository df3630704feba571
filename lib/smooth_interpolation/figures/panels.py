"""The kind of panel that most figures are made of: curves over width with the seeds that they are means of, named at their ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from .style import ACCENT, POINT, SEED, VOLUME

MIN_RANGE = 10  # percentage points on an axis of errors
CROWDED = 24  # widths, of which more are not marked on a curve
MARGIN = 0.06  # of the range, above the highest line
SIZE = 8  # points
LINE = 1.12  # of its size, from one label to the next
TOGETHER = 0.02  # of the axes: curves whose ends are no farther apart end together
LEAVES, ARRIVES = 4, 12  # points right of the axes, where a leader leaves its curve's height, and where it ends


def curve(panel: Axes, part: pd.DataFrame, colour: str, label: str, *, thick: bool = False, mark: int | None) -> Line2D:
    """A curve over width: the mean over seeds, whose line is returned, and every seed as a thin line.

    The rows have columns width, seed and mean; with low and high, thin bars are drawn over that range. The point of the width to
    `mark` is ringed. Where a column forgotten is true, networks are crosses apart from the curve.
    """
    seeds = part.groupby(["width", "seed"])["mean"].mean().unstack()
    mean = seeds.mean(axis=1)
    apart = mean.index.isin(part.width[part.forgotten]) if "forgotten" in part else np.full(len(mean), False)
    crosses, seeds = mean[apart], seeds[~apart]
    if seeds.shape[1] > 1:
        panel.plot(seeds.index, seeds.to_numpy(), color=colour, linewidth=SEED, alpha=0.6, zorder=2, label="_seed")
    weight, size, order = (POINT, 3.2, 4) if thick else (VOLUME, 2.4, 3)
    line_style = {"color": colour, "linewidth": weight, "markersize": size, "zorder": order, "label": label}
    (line,) = panel.plot(seeds.index, mean[~apart], "o-" if len(mean) <= CROWDED else "-", **line_style)
    if len(crosses):
        panel.plot(crosses.index, crosses, "x", color=colour, markersize=1.5 * size, zorder=order, label="_forgotten")
    if "low" in part:
        by_width = part.groupby("width")
        panel.vlines(mean.index, by_width["low"].min(), by_width["high"].max(), color=colour, linewidth=0.8)
    if mark in mean.index:
        ring = {"markeredgecolor": ACCENT, "markeredgewidth": 1.2, "markersize": 6, "zorder": 5}
        panel.plot([mark], [mean[mark]], "o", color=colour, **ring)
    return line


def scale_values(panel: Axes, part: pd.DataFrame, metric: str, yscale: str = "linear") -> None:
    """Accuracies from 0 to 1; other metrics from 0, or on a logarithmic axis; no line of the rows, all that is drawn, leaves the axes."""
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


def name_ends(
    panel: Axes, curves: Sequence[tuple[Line2D, str]], width: float, height: float, bold: Sequence[str] = ()
) -> None:
    """Write each curve's name right of its last point, moved up or down where names would touch, with a thin leader.

    The axes must have their limits, and are about so many inches wide and high; names in `bold` stand out.
    """
    curves = [(line, name) for line, name in curves if len(line.get_xdata())]
    if not curves:
        return
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line, _ in curves]
    panel.get_xlim(), panel.get_ylim()  # an axis finds its limits when it is asked for them
    places = panel.transAxes.inverted().transform(panel.transData.transform(ends))
    heights = np.clip(np.nan_to_num(places[:, 1]), 0, 1)
    # Curves that end together are named in the order in which the first and the last of them ran.
    means = [np.nanmean(line.get_ydata()) for line, _ in curves]
    order = np.lexsort((np.arange(len(curves)) * (1 if means[-1] >= means[0] else -1), (heights / TOGETHER).round()))
    for i, y in zip(order, spread(heights[order], SIZE * LINE / 72 / height), strict=True):
        line, name = curves[i]
        colour, end = line.get_color(), heights[i]
        panel.plot(
            [places[i, 0], 1 + LEAVES / 72 / width, 1 + ARRIVES / 72 / width], [end, end, y], color=colour,
            linewidth=0.5, alpha=0.7, transform=panel.transAxes, clip_on=False, label="_leader",
        )  # fmt: skip
        panel.annotate(
            name, (1, y), (ARRIVES + 2, 0), xycoords="axes fraction", textcoords="offset points", color=colour,
            annotation_clip=False, fontsize=SIZE, va="center_baseline", fontweight="bold" if name in bold else "normal",
        )  # fmt: skip


def spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """The heights nearest to those given, in ascending order, that are a gap apart and between 0 and 1 if they fit.

    Example:
        >>> spread(np.array([0.0, 0.0, 0.5]), 0.1).tolist()
        [0.0, 0.1, 0.5]
    """
    steps = gap * np.arange(len(heights))
    # Neighbours that touch are moved as a whole, a block: the mean of where each would start, and how many they are.
    blocks: list[list[float]] = []
    for start in heights - steps:
        blocks.append([float(start), 1])
        while len(blocks) > 1 and blocks[-1][0] <= blocks[-2][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    starts = np.repeat([start for start, _ in blocks], [int(n) for _, n in blocks])
    return np.clip(starts, 0, max(1 - steps[-1], 0)) + steps
