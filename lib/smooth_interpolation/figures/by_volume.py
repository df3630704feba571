"""Figures of volumes: metrics against width, a curve for each volume size, named by what its paths erase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import config
from ..errors import ConfigError
from ..runs import tables
from . import panels
from .style import FULL, INK, NARROW, mark_threshold, mark_width, note, say, scale_widths, sequence, styled, subplots

PANELS = {
    "accuracy": "Training accuracy",
    "crossentropy": "Crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}
PARTS = {"residual_norm": "Residual norm", "sensitivity": "Sensitivity"}
AXES = {  # a metric's unit, as short as heads of panels are
    **{metric: tables.UNITS[metric].replace("the network's ", "") for metric in (*PANELS, *PARTS)},
    "tangent_hessian_norm": "as Equation 5",
}
COLUMNS = {"clean": "clean labels", "noisy": "noisy labels"}
UNITS = {"svd": "singular values erased", "shift": "pixels shifted"}  # of a path's strength, by the kind of path
NOTHING = "nothing measured yet"
YSCALES = ("linear", "log")
HEAD = 15  # points from the axes to a title with a unit under it


@styled
def draw(
    volumes: pd.DataFrame,
    metrics: Mapping[str, str] = PANELS,
    subsets: Sequence[str] = ("all",),
    *,
    threshold: int | None = None,
    width: int | None = None,
    yscale: str = "linear",
    narrow: bool = False,
    unit: str = UNITS["svd"],
    letter: str = "",
) -> Figure:
    """A panel for each metric and subset: wide, metrics side by side and a row per subset; narrow, two panels abreast.

    Args:
        volumes: from `tables.volumes_table`.
        metrics: their names and titles.
        subsets: "all", or "clean" and "noisy", which share the axes of a metric.
        threshold: the interpolation threshold, dotted.
        width: a width to mark, if anything was measured there.
        yscale: of losses and norms, "linear" or "log".
        narrow: for phones.
        unit: of the numbers at the curves' ends.
        letter: of the figure, in its corner.

    Raises:
        ConfigError: for another yscale.
    """
    if yscale not in YSCALES:
        raise ConfigError(f"yscale: {config.unknown_name(yscale, YSCALES)}")
    volumes = volumes[volumes.metric.isin(metrics) & volumes.subset.isin(subsets)].dropna(subset="mean")
    width = width if width in set(volumes.width) else None
    down = narrow and len(subsets) > 1  # metrics one below the other, a column per subset
    columns = (2 if narrow else len(metrics)) if not down else len(subsets)
    rows = -(-len(metrics) * len(subsets) // columns)
    across = NARROW if narrow else FULL * min(1, (0.6 + len(metrics)) / 4)
    height = 1.7 if len(subsets) > 1 or narrow else 2.4
    share = {"sharey": "row" if down else "col"} if len(subsets) > 1 else {}
    figure, axes = subplots(rows, columns, height, across, sharex=True, **share)
    room = across / columns - 0.95, height - (0.45 if rows > 1 else 0.65)
    if not narrow:
        axes = axes.reshape(len(subsets), -1)
    ordered = axes.T if down else axes.reshape(len(subsets), -1)  # a row per subset, a column per metric
    scale_widths(axes.flat, list(volumes.width.unique()), threshold, room[0])
    crossed = volumes.width[volumes.forgotten].min() if "forgotten" in volumes else None
    for j, (metric, title) in enumerate(metrics.items()):
        both = volumes[volumes.metric == metric]
        panels.scale_values(ordered[0, j], both, metric, yscale)
        for i, subset in enumerate(subsets):
            panel = ordered[i, j]
            _sizes(panel, both[both.subset == subset], metric, width, room)
            foot = 0.04 if metric == "accuracy" else 0.96  # where no curve is
            mark_threshold(panel, threshold, named=foot if i == j == 0 else None, width=width or crossed)
            mark_width(panel, width, low=metric == "accuracy", threshold=threshold)
            panel.set_label(f"{title}, {subset}" if subset in COLUMNS else title)
    _name(ordered, metrics, [COLUMNS.get(subset, "") for subset in subsets], down)
    for panel in axes[-1]:
        panel.set_xlabel("base width $w$")
    look = {"rotation": 270, "fontsize": panels.SIZE, "ha": "left", "va": "center"}
    if len(volumes) and rows > 1 and not narrow:  # once, beside both
        figure.text(1, 0.5, unit, **look)
    elif len(volumes):
        for row in axes:
            note(row[-1], unit, (1, 0.5), (panels.ARRIVES + 14, 0), xycoords="axes fraction", **look)
    if letter:
        place = {"loc": "left", "x": -0.03, "ha": "right"}  # beside the axes: a head may be as wide as they are
        axes[0, 0].set_title(letter, fontweight="bold", pad=None if down else HEAD, **place)
    if volumes.empty:
        say(axes[0, 0], NOTHING)
    return figure


def _sizes(panel: Axes, part: pd.DataFrame, metric: str, width: int | None, room: tuple[float, float]) -> None:
    """A curve for each volume size: the points themselves thick, in ink, volumes from blue to pink."""
    strengths = sorted(part["strength"].unique())
    colours = [INK, *sequence(len(strengths) - 1)]
    named = []
    for strength, colour in zip(strengths, colours, strict=False):
        curve = part[part.strength == strength]
        ringed = width if strength in (strengths[0], strengths[-1]) else None
        line = panels.curve(panel, curve, colour, f"{strength:g}", thick=strength == 0, mark=ringed)
        named.append((line, f"{strength:g}"))
    panels.name_ends(panel, named, *room, bold=("0",))


def _name(ordered: np.ndarray, metrics: Mapping[str, str], subsets: Sequence[str], down: bool) -> None:
    """One head per column and one label per row; a metric's unit under its name."""
    for panel, (metric, title) in zip(ordered[0], metrics.items(), strict=True):
        if down:
            panel.set_ylabel(f"{title},\n{AXES[metric]}")
        else:
            panel.set_title(title, pad=HEAD)
            look = {"xycoords": "axes fraction", "fontsize": panels.SIZE, "ha": "center", "va": "bottom"}
            note(panel, AXES[metric], (0.5, 1), (0, 4), **look)
    for panel, side in zip(ordered[:, 0], subsets, strict=True):
        panel.set_title(side) if down else panel.set_ylabel(side)
