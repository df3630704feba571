"""Metrics over epoch and width: as heatmaps, and the courses of three networks as curves over the epochs."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ..claims import moments
from .by_volume import NOTHING
from .panels import name_ends
from .style import (
    ACCENT,
    FULL,
    INK,
    NARROW,
    ON_COLOUR,
    SEED,
    TEST,
    THRESHOLD,
    TRAIN,
    say,
    scale_widths,
    styled,
    subplots,
)

HEATMAPS = {
    "test_error": "Test error, %",
    "train_crossentropy": "Crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}
CLIP = 0.9  # the quantile of a metric's cells at which its colours end
CONTOURS = 4


def rows(history: pd.DataFrame) -> pd.DataFrame:
    """Those of `tables.history_table` that are drawn."""
    return history[history.metric.isin(HEATMAPS) & (history.subset == "all")]


@styled
def draw(
    history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None, narrow: bool = False
) -> Figure:
    """`HEATMAPS` over epoch and width, as heatmaps, and of the networks below, at and beyond the threshold (see `chosen`) as
    curves over the epochs; means over seeds."""
    whole = rows(history)
    widths = sorted(int(w) for w in whole.width.unique())
    colours = chosen(widths, threshold, width)
    across = NARROW if narrow else FULL
    figure, axes = subplots(*((4, 2) if narrow else (2, 4)), 1.7 if narrow else 2.0, across)
    pairs = axes if narrow else axes.T
    room = across / (2 if narrow else 4) - 0.95, 1.25
    for (above, below), (metric, title) in zip(pairs, HEATMAPS.items(), strict=True):
        part = whole[whole.metric == metric]
        above.set(title=title, label=title)
        below.set(title=title if narrow else "", label=title)
        if not narrow or metric == list(HEATMAPS)[-1]:
            above.set_xlabel("base width $w$")
            below.set_xlabel("epoch")
        if not part.empty:
            table = part.pivot_table(index="epoch", columns="width", values="value")
            heatmap(figure, above, table, rooted=metric != "test_error", threshold=threshold, width=width)
            scale_widths([above], widths, threshold, room[0] - 0.25, logarithmic=True)
            courses(below, part, colours, room)
    for panel in pairs[:, 0] if narrow else pairs[:1, 0]:
        panel.set_ylabel("epoch")
    if whole.empty:
        say(axes[0, 0], NOTHING)
    return figure


def heatmap(
    figure: Figure, panel: Axes, table: pd.DataFrame, *, rooted: bool, threshold: int | None, width: int | None
) -> None:
    """Values over epoch (rows, upwards) and width (columns), both axes logarithmic, with thin contours.

    The colours end below the highest value, which the colour bar's arrow shows, for they are spent where the second descent
    is: errors end at the highest of the last epoch, since those of the first epochs, all near chance, would take most colours;
    other metrics at a high quantile, since the sharpest narrow networks would. Of norms, whose second descent is at a tenth of
    their highest values, they are `rooted`: they follow the square root.

    The threshold is a dashed line at the left edge of its column, so that all networks to the right of it interpolate; the
    marked width has a frame around its column.
    """
    bottom = 0 if rooted else float(np.nanmin(table))
    top = float(np.nanquantile(table, CLIP) if rooted else np.nanmax(table.iloc[-1]))
    scale = mpl.colors.PowerNorm(0.5 if rooted else 1, bottom, max(top, bottom + 1e-9))
    widths, epochs = (axis.to_numpy(float) for axis in (table.columns, table.index))
    x_edges, y_edges = (np.exp(edges(np.log(axis))) for axis in (widths, epochs))
    values = np.ma.masked_invalid(table)
    mesh = panel.pcolormesh(x_edges, y_edges, values, norm=scale, cmap="viridis", rasterized=True)
    mesh.table = table  # the cells' own widths and epochs, which borders do not tell exactly
    bar = figure.colorbar(mesh, cax=panel.inset_axes([1.05, 0, 0.06, 1], label="<colorbar>"), extend="max")
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    if min(table.shape) > 1:
        levels = scale.inverse(np.linspace(0, 1, CONTOURS + 2)[1:-1])
        panel.contour(widths, epochs, values, levels=levels, colors=ON_COLOUR[1], linewidths=0.5, alpha=0.8)
    panel.set(xscale="log", yscale="log", ylim=(y_edges[0], y_edges[-1]), xlim=(x_edges[0], x_edges[-1]))
    panel.grid(False)
    _plain_epochs(panel.yaxis)
    if threshold in table.columns:
        edge = x_edges[list(table.columns).index(threshold)]
        dark, light = ON_COLOUR
        panel.axvline(edge, color=dark, linewidth=2.4, zorder=3, label="_edge")
        line = panel.axvline(edge, color=light, linestyle=(0, (2, 1.2)), linewidth=1.5, zorder=4, label=THRESHOLD)
        line.width = threshold  # the edge does not tell it
    if width in table.columns:
        column = list(table.columns).index(width)
        for edge in x_edges[column : column + 2]:
            panel.axvline(edge, color=ACCENT, linewidth=1.2, zorder=5, label="_width").width = width


def edges(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around their centres."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def chosen(widths: list[int], threshold: int | None, width: int | None) -> dict[int, str]:
    """The widths whose courses are drawn, with their colours: below, at and beyond the threshold, and the marked one.

    Below is the widest network that is no wider than half the threshold, beyond is the widest of all. Without a threshold
    they are the narrowest, the one in the middle and the widest.
    """
    if not widths:
        return {}
    at = threshold if threshold in widths else widths[len(widths) // 2]
    below = [w for w in widths if w <= at / 2] or [w for w in widths if w < at][-1:]
    found = {**dict.fromkeys(below[-1:], TRAIN), at: INK}
    if widths[-1] != at:
        found[widths[-1]] = TEST
    if width in widths:
        found[width] = ACCENT
    return dict(sorted(found.items()))


def courses(
    panel: Axes,
    part: pd.DataFrame,
    colours: dict[int, str],
    size: tuple[float, float],
    settled: bool = True,
    names: Mapping[int, str] | None = None,
) -> None:
    """The metric of some networks over the epochs: means over seeds, every seed as a thin line, named at their ends.

    The last tenth of the epochs is drawn as one moment, see `moments`, for at a constant learning rate the many moments there
    are jumps, not a course; with every one of them unless `settled`. The axes are of about so many inches. A width may stand
    for something else, by its `names`.
    """
    lines, high, part = [], 0.0, moments.settled(part) if settled else part
    for width, colour in colours.items():
        seeds = part[part.width == width].pivot_table(index="epoch", columns="seed", values="value")
        if seeds.empty:
            continue
        if seeds.shape[1] > 1:
            panel.plot(seeds.index, seeds.to_numpy(), color=colour, linewidth=SEED, alpha=0.6, zorder=2, label="_seed")
        name = names[width] if names else f"w = {width}"
        (line,) = panel.plot(seeds.index, seeds.mean(axis=1), color=colour, linewidth=1.6, zorder=3, label=name)
        lines.append((line, name))
        high = max(high, float(np.nanmax(seeds)))
    panel.set_xscale("log")
    _plain_epochs(panel.xaxis)
    if part.metric.isin(["test_error"]).any():
        panel.autoscale_view()  # errors start at chance, far from 0
    elif high > 0:
        panel.set_ylim(0, 1.06 * high)
    name_ends(panel, lines, *size)


def _plain_epochs(axis: mpl.axis.Axis) -> None:
    axis.set_major_locator(LogLocator(10))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
