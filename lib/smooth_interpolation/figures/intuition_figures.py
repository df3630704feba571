"""Figures 1a and 1b: the two regressions of `intuition`, and what they look like in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..claims.words import number
from ..studies import intuition
from ..studies.intuition import Fit, Scalars
from .style import CORRUPTED, INK, NARROW, STYLE, TEST, WIDTH, legend_below, letters, subplots

GRID = 2400  # points of a curve
HIT = 0.01  # the largest residual of a curve that is drawn through a point


def fig1ab(data: Scalars, fits: Sequence[Fit], *, narrow: bool = False) -> Figure:
    """Figures 1a and 1b: the points, the ground truth and a fitted function a column; below, one wrong label from near.

    The label is that whose reach, summed over the fits, is the median; bars show it, where a curve is nearer to the label
    than to the truth, within half the mean distance of neighbours.
    """
    x, radius = np.linspace(-1, 1, GRID), intuition.spacing(data) / 2
    around = sum(intuition.smoothness(fit.function, data, radius).reach for fit in fits)
    chosen = around[data.noisy].sort_values().index[int(data.noisy.sum()) // 2]
    place, label = data.x[chosen], data.y[chosen]
    with mpl.rc_context({**STYLE, "path.simplify_threshold": 0.2}):
        figure, axes = subplots(2, len(fits), 1.9 if narrow else 2.4, NARROW if narrow else WIDTH * 1.4, sharey="row")
        figure.again = partial(fig1ab, data, fits)
        for (above, below), fit in zip(axes.T, fits, strict=True):
            for panel, points in ((above, x), (below, np.linspace(place - 2 * radius, place + 2 * radius, GRID))):
                _fitted(panel, data, fit, points)
            inside = np.linspace(place - radius, place + radius, GRID)
            values = fit.function(inside)
            near = np.abs(values - label) < np.abs(values - data.truth(inside))
            level = np.where(near, label + 0.25 * np.sign(label - data.truth(place)), np.nan)
            below.plot(
                inside, level, color=CORRUPTED, linewidth=3, solid_capstyle="butt", label="reach of a wrong label"
            )
            below.axvspan(place - radius, place + radius, color=INK, alpha=0.07, linewidth=0)
            low, high = sorted((label, float(data.truth(place))))
            below.set(ylim=(low - 0.6, high + 0.4), xlim=(place - 2 * radius, place + 2 * radius), xlabel="$x$")
            below.xaxis.set_major_locator(MaxNLocator(3))
            above.set_title(fit.name.replace(", ", ",\n", 1), fontsize=9)
            above.set_label(fit.name)
            below.set_label(f"{fit.name}, from near")
        for row in axes:
            row[0].set_ylabel("$f(x)$")
        letters(axes[0])
        legend_below(figure, axes[1, 0])
        return figure


def _fitted(panel: Axes, data: Scalars, fit: Fit, x: np.ndarray) -> None:
    panel.plot(x, data.truth(x), "--", color=INK, linewidth=1.2, zorder=2, label="ground truth")
    panel.plot(x, fit.function(x), color=TEST, linewidth=1.2, zorder=3, label="fitted function")
    for which, colour, marker, size, label in (
        (~data.noisy, INK, "o", 4, "clean point"),
        (data.noisy, CORRUPTED, "X", 6.5, "wrong label"),
    ):
        panel.plot(data.x[which], data.y[which], marker, color=colour, markersize=size, zorder=5, label=label)


def curves(data: Scalars, fits: Sequence[Fit]) -> pd.DataFrame:
    """What `fig1ab` draws: x, the truth and a column per fit."""
    x = np.linspace(-1, 1, GRID)
    return pd.DataFrame({"x": x, "ground truth": data.truth(x), **{fit.name: fit.function(x) for fit in fits}})


def describe(data: Scalars, fits: Sequence[Fit]) -> str:
    """The alternative text of `fig1ab`."""
    radius, parts = intuition.spacing(data) / 2, []
    for letter, fit in zip("abcdefgh", fits, strict=False):
        around = intuition.smoothness(fit.function, data, radius)
        hit = "hits all points" if fit.residual <= HIT else f"misses points by up to {fit.residual:.2g}"
        parts.append(
            f"({letter}) {fit.name}: {hit}, near a wrong label for {around.reach[around.noisy].mean():.0%} of the way."
        )
    return (
        f"{len(data.x)} points on a sine curve, {int(data.noisy.sum())} moved off it, and two fitted curves; below, one wrong "
        f"label from near. {' '.join(parts)}"
    )


def findings(data: Scalars, fits: Sequence[Fit], table: pd.DataFrame) -> Any:
    """What `intuition.compare` found of a polynomial and a network, as a paragraph of Markdown."""
    from IPython.display import Markdown

    polynomial, network, _ = (table.iloc[i] for i in range(len(table)))
    loss, sizes = max(fit.residual for fit in fits), f"{fits[0].n_parameters:,} and {fits[1].n_parameters:,} parameters"
    hit = (
        f"Both pass through all {len(data.x)} points, the {int(data.noisy.sum())} wrong ones included, with {sizes} and a "
        f"largest residual of {loss:.1g}."
        if loss <= HIT
        else f"With {sizes} they miss points by up to {loss:.2g}."
    )
    return Markdown(
        f"**What we see.** {hit} The polynomial leaves a wrong label at once: it is nearer to it than to the truth over "
        f"{polynomial['mean reach of wrong labels']:.0%} of the neighbourhood on average, and up to "
        f"{number(polynomial['steepest, noisy'])} steep. The network holds on to it over "
        f"{network['mean reach of wrong labels']:.0%}, at slopes of at most "
        f"{number(network['steepest, noisy'])}. The price is what the paper says it is: off the points the network is further "
        f"from the truth, {network['deviation from truth']:.2f} against {polynomial['deviation from truth']:.2f} in the root "
        f"mean square. The *mean* slopes around wrong labels differ less, {polynomial['mean slope, noisy']:.0f} and "
        f"{network['mean slope, noisy']:.0f}: a spike and a ramp of equal height climb as far, on a different share of the way."
    )
