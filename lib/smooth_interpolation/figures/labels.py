"""Names of curves at their right ends, in place of a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

SIZE = 8  # points
LINE = 1.12  # of its size, from one label to the next
TOGETHER = 0.02  # of the axes: curves whose ends are no farther apart end together
LEAVES, ARRIVES = 4, 12  # points right of the axes, where a leader leaves its curve's height, and where it ends


def at_ends(
    panel: Axes, curves: Sequence[tuple[Line2D, str]], width: float, height: float, bold: Sequence[str] = ()
) -> None:
    """Write each curve's name right of its last point, moved up or down where names would touch, with a thin leader.

    The axes must have their limits.

    Args:
        panel: where they are drawn.
        curves: the lines and their names.
        width: of the axes, about, in inches.
        height: of the axes, about, in inches.
        bold: the names to stand out.
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
