"""The kinds of panels that figures are made of: curves over width with their spread, and heatmaps over epoch and width."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .style import ACCENT, BAND, LOG_RANGE, POINT, VOLUME, mark_threshold, mark_width

MIN_RANGE = 10  # percentage points on an axis of errors


def curve(panel: Axes, part: pd.DataFrame, colour: str, label: str, *, thick: bool = False, mark: int | None) -> None:
    """A curve over width: the mean over seeds. Shaded: one standard deviation, down to the lowest seed if it would not
    be positive, which a logarithmic axis cannot show.

    Args:
        panel: where.
        part: rows with columns width, seed and mean; with low and high, thin lines are drawn over that range.
        colour: of line and band.
        label: of the line.
        thick: for the curve that matters most.
        mark: a width whose point is ringed.
    """
    by_width = part.groupby("width")["mean"]
    mean, std = by_width.mean(), by_width.std()
    low = (mean - std).where(mean > std, by_width.min())
    panel.plot(
        mean.index,
        mean,
        "o-",
        color=colour,
        linewidth=POINT if thick else VOLUME,
        zorder=4 if thick else 3,
        label=label,
    )
    if std.notna().any():
        panel.fill_between(mean.index, low.where(std.notna()), mean + std, color=colour, alpha=BAND, linewidth=0)
    if "low" in part:
        panel.vlines(
            mean.index,
            part.groupby("width")["low"].min(),
            part.groupby("width")["high"].max(),
            color=colour,
            linewidth=0.8,
        )
    if mark in mean.index:
        panel.plot(
            [mark], [mean[mark]], "o", color=colour, markeredgecolor=ACCENT, markeredgewidth=1.2, markersize=6, zorder=5
        )


def scale_values(panel: Axes, part: pd.DataFrame, metric: str) -> None:
    """Accuracies from 0 to 1; other metrics on a logarithmic axis if they span more than a factor of 10."""
    if metric == "accuracy":
        panel.set_ylim(-0.03, 1.03)
        return
    values = part["mean"][part["mean"] > 0]
    if len(values) and values.max() / values.min() > LOG_RANGE:
        panel.set_yscale("log")
        panel.set_ylim(values.min() / 1.4, values.max() * 1.4)
    elif len(values):
        panel.set_ylim(0, None)


def scale_errors(panel: Axes, part: pd.DataFrame) -> None:
    """At least ten percentage points, so that what varies little looks so."""
    low, high = part.get("low", part["mean"]).min(), part.get("high", part["mean"]).max()
    middle, reach = (high + low) / 2, max(MIN_RANGE, 1.1 * (high - low)) / 2
    panel.set_ylim(max(middle - reach, -2), min(middle + reach, 102))


def heatmap(
    figure: Figure, panel: Axes, table: pd.DataFrame, *, logarithmic: bool, threshold: int | None, width: int | None
) -> None:
    """Values over epoch (rows, upwards) and width (columns), both axes logarithmic.

    Linear colours end at the 85th percentile: the first epochs' test errors, all near chance, would take most of them.
    """
    top = None if logarithmic else np.nanquantile(table, 0.85)
    scale = mpl.colors.LogNorm() if logarithmic else mpl.colors.Normalize(vmax=top)
    values = np.ma.masked_invalid(table.where(table > 0) if logarithmic else table)
    edges = [_edges(np.log(axis.to_numpy(float))) for axis in (table.columns, table.index)]
    mesh = panel.pcolormesh(*map(np.exp, edges), values, norm=scale, cmap="viridis", rasterized=True)
    mesh.table = table  # the cells' own widths and epochs, which borders do not tell exactly
    figure.colorbar(mesh, ax=panel, pad=0.02, extend="neither" if logarithmic else "max")
    panel.set(xscale="log", yscale="log")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    mark_threshold(panel, threshold, on_colour=True)
    mark_width(panel, width)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around their centres."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])
