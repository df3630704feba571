"""Figures 1a and 1b: the two regressions of `intuition`, and what they look like in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..studies import intuition
from ..studies.intuition import Fit, Scalars
from .style import CORRUPTED, INK, STYLE, TEST, legend_below, letters, subplots

GRID = 2400  # points of a curve
HIT = 0.01  # the largest residual of a curve that is drawn through a point


def fig1ab(data: Scalars, fits: Sequence[Fit]) -> Figure:
    """Figures 1a and 1b: the points, the ground truth, and one fitted function a panel."""
    x = np.linspace(-1, 1, GRID)
    with mpl.rc_context({**STYLE, "path.simplify_threshold": 0.2}):
        figure, axes = subplots(1, len(fits), 3.2, sharex=True, sharey=True)
        for panel, fit in zip(axes.flat, fits, strict=True):
            panel.plot(x, data.truth(x), "--", color=INK, linewidth=1.2, zorder=2, label="ground truth")
            panel.plot(x, fit.function(x), color=TEST, linewidth=1.2, zorder=3, label="fitted function")
            clean, noisy = ~data.noisy, data.noisy
            panel.plot(data.x[clean], data.y[clean], "o", color=INK, markersize=4, zorder=4, label="clean point")
            panel.plot(
                data.x[noisy], data.y[noisy], "X", color=CORRUPTED, markersize=6.5, zorder=5, label="wrong label"
            )
            panel.set(title=fit.name.replace(", ", ",\n", 1), xlabel="$x$")
            panel.title.set_fontsize(9)
        axes[0, 0].set_ylabel("$f(x)$")
        letters(axes.flat)
        legend_below(figure, axes[0, 0])
        return figure


def curves(data: Scalars, fits: Sequence[Fit]) -> pd.DataFrame:
    """What `fig1ab` draws: x, the truth and a column per fit."""
    x = np.linspace(-1, 1, GRID)
    return pd.DataFrame({"x": x, "ground truth": data.truth(x), **{fit.name: fit.function(x) for fit in fits}})


def describe(data: Scalars, fits: Sequence[Fit]) -> str:
    """The alternative text of `fig1ab`."""
    radius = intuition.spacing(data) / 2
    parts = [
        f"Two panels with the same {len(data.x)} points on a sine curve, {int(data.noisy.sum())} of them moved off it."
    ]
    for letter, fit in zip("abcdefgh", fits, strict=False):
        around = intuition.smoothness(fit.function, data, radius)
        reach = around.reach[around.noisy].mean()
        hit = "passes through all points" if fit.residual <= HIT else f"misses points by up to {fit.residual:.2g}"
        parts.append(
            f"({letter}) {fit.name}: {hit} and stays near a wrong label over {reach:.0%} of the way to its neighbours."
        )
    return " ".join(parts)


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
        f"{polynomial['steepest, noisy']:.0f} steep. The network holds on to it over "
        f"{network['mean reach of wrong labels']:.0%}, at slopes of at most "
        f"{network['steepest, noisy']:.0f}. The price is what the paper says it is: off the points the network is further "
        f"from the truth, {network['deviation from truth']:.2f} against {polynomial['deviation from truth']:.2f} in the root "
        f"mean square. The *mean* slopes around wrong labels differ less, {polynomial['mean slope, noisy']:.0f} and "
        f"{network['mean slope, noisy']:.0f}: a spike and a ramp of equal height climb as far, on a different share of the way."
    )


def doubts(data: Scalars, table: pd.DataFrame) -> Any:
    """What `intuition.fit_polynomial` does in other bases, as a paragraph of Markdown."""
    from IPython.display import Markdown

    radius = intuition.spacing(data) / 2
    reach, slope = "mean reach of wrong labels", "mean slope, clean"
    flat, steep = (
        intuition.compare(data, [intuition.fit_polynomial(data, power=power, steps=steps)], radius).iloc[0]
        for power, steps in ((-0.5, 40_000), (0.5, 2000))
    )
    return Markdown(
        "**What to doubt.** In one dimension a network must return to the truth at the next point, which is close; images "
        "have far more room. And the spike is not a matter of polynomials but of their basis: with the k-th polynomial "
        f"divided by the root of 2k + 1, the same degree and the same descent reach over {flat[reach]:.0%} of the "
        f"neighbourhood, close to the network's {table.iloc[1][reach]:.0%}; with an orthonormal basis the polynomial falls "
        f"to 0 beside every point, right or wrong, at a mean slope of {steep[slope]:.0f} around clean ones. What counts is "
        "which functions are cheap for the descent. Two regressions show an intuition; the claims are tested on images."
    )
