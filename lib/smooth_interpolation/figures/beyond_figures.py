"""Figures of the pages beyond the paper: from a study's table, or from a page's own numbers, to a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..measure import neighbours
from ..studies.walks import Walk
from . import heatmaps, panels
from .by_volume import COLUMNS, PANELS
from .style import (
    ACCENT,
    CORRUPTED,
    FULL,
    INK,
    NARROW,
    TEST,
    TRAIN,
    legend_below,
    letters,
    mark_threshold,
    note,
    scale_widths,
    sequence,
    styled,
    subplots,
)

CURVATURES = (("whole Hessian", INK), ("finite difference", ACCENT), ("exact tangent", TEST))
KINDS = {"svd": ("SVD paths", TEST), "shift": ("shift paths", ACCENT)}
SPACES = {"input": "Near in input space", "features": "Near in feature space"}
NETWORKS = (TRAIN, CORRUPTED, INK, TEST)  # of the networks, from the narrowest
ALONG = {"loss": "Crossentropy", "jacobian": "Jacobian norm"}
SHOWN = (0, 3, 6)  # anchors that are drawn
ENDS = {"train_error": "Training error, %", "test_error": "Test error, %", "jacobian_norm": "Jacobian norm"}
COURSES = {"train_error": "Training error, %", "sensitivity": "Sensitivity", "jacobian_norm": "Jacobian norm"}


@styled
def difference_error(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """The error of finite differences against the step, a curve each, on logarithmic axes."""
    figure, axes = subplots(1, 1, 3.2)
    panel = axes[0, 0]
    networks = list(dict.fromkeys(name.split(",")[0] for name in curves))
    colours = dict(zip(networks, sequence(len(networks)), strict=True))
    for name, (factors, errors) in curves.items():
        style = "o:" if name.endswith("float32") else "o-"
        panel.plot(factors, errors, style, color=colours[name.split(",")[0]], label=name)
    panel.axvline(1, color=INK, linestyle=":", linewidth=1.2, label="_step")
    note(panel, "the paper's step", (1, 0), (-4, 4), ha="right", fontsize=9, color=INK)
    panel.set(xscale="log", yscale="log", xlabel="step, in multiples of the paper's", ylabel="relative error, median")
    legend_below(figure, panel, 3 if len(curves) > 2 else 2)
    return figure


@styled
def estimates(samples: Sequence[int], found: Sequence[float], error: Sequence[float], exact: float) -> Figure:
    """Hutchinson's estimate against the number of samples, with its standard errors, and the exact norm."""
    figure, axes = subplots(1, 1, 2.6)
    panel = axes[0, 0]
    panel.axhline(exact, color=INK, linestyle=":", linewidth=1.2, label="exact")
    panel.errorbar(samples, found, yerr=error, fmt="o-", color=TEST, capsize=2.5, label="estimate")
    panel.set(xscale="log", xlabel="random directions", ylabel="norm of the Hessian")
    panel.legend()
    return figure


@styled
def curvature_by_width(table: pd.DataFrame, threshold: int | None = None) -> Figure:
    """The three curvatures against width, clean and noisy points; bars: Hutchinson's mean standard error of a point."""
    figure, axes = subplots(1, 2, 3.0, sharex=True, sharey=True)
    for panel, (subset, title) in zip(axes.flat, COLUMNS.items(), strict=True):
        part = table[(table.subset == subset) & table.factor.isna()].rename(columns={"value": "mean"})
        for name, colour in CURVATURES:
            panels.curve(panel, part[part.metric == name], colour, name, mark=None)
        means = part.groupby(["metric", "width"])["mean"].mean()
        if "whole Hessian" in means.index:
            whole, error = means["whole Hessian"], means["whole Hessian, standard error"]
            panel.errorbar(whole.index, whole, yerr=error, fmt="none", color=INK, capsize=2.5, label="_error")
        panel.set(yscale="log", title=title.capitalize())
        mark_threshold(panel, threshold)
    _finish(figure, axes, table, threshold, columns=2)
    axes[0, 0].set_ylabel("mean over points")
    return figure


@styled
def gap_by_width(table: pd.DataFrame, threshold: int | None = None) -> Figure:
    """Test error near corrupted points less that near clean ones, and how often the wrong label is copied."""
    figure, axes = subplots(2, 2, 2.4, sharex=True, sharey="row")
    for column, (space, title) in enumerate(SPACES.items()):
        gap, copied = axes[0, column], axes[1, column]
        part = gaps(table)
        part = part[part.space == space]
        by_width = part.groupby("width")
        mean = by_width["gap"].mean()
        error = by_width["error"].mean()  # not less for more seeds: they share images and noise
        gap.axhline(0, color=TRAIN, linewidth=0.8, label="_zero")
        gap.errorbar(mean.index, mean, yerr=error, fmt="o-", color=CORRUPTED, capsize=2.5, label="_gap")
        gap.set_title(title)
        rows = table[(table.space == space) & (table.quantity == "copied")].rename(columns={"percent": "mean"})
        for group, colour in (("the wrong label", CORRUPTED), ("other wrong class", TRAIN)):
            panels.curve(copied, rows[rows.group == group], colour, group, mark=None)
        for panel in (gap, copied):
            mark_threshold(panel, threshold)
    axes[1, 0].set_ylim(0, None)
    _finish(figure, axes, table, threshold, legend=axes[1, 0], columns=2)
    axes[0, 0].set_ylabel("excess test error,\npercentage points")
    axes[1, 0].set_ylabel("predicted, %")
    return figure


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """A row per network and space: `neighbours.difference`, its standard error, and that of independent test points."""
    rows = [
        (space, width, seed, *neighbours.difference(part), neighbours.independent_error(part))
        for (space, width, seed), part in table.groupby(["space", "width", "seed"])
    ]
    return pd.DataFrame(rows, columns=["space", "width", "seed", "gap", "error", "independent"])


@styled
def paths_by_width(table: pd.DataFrame, threshold: int | None = None) -> Figure:
    """The four metrics over the largest volume of each kind of path, clean points on the left, noisy ones on the right."""
    largest = table[table["size"] == table.groupby("path_kind")["size"].transform("max")]
    largest = largest.rename(columns={"value": "mean"})
    figure, axes = subplots(len(PANELS), 2, 1.95, sharex=True, sharey="row")
    for row, (metric, title) in zip(axes, PANELS.items(), strict=True):
        both = largest[largest.metric == metric]
        for panel, (subset, name) in zip(row, COLUMNS.items(), strict=True):
            for kind, (label, colour) in KINDS.items():
                part = both[(both.subset == subset) & (both.path_kind == kind)]
                panels.curve(panel, part, colour, label, mark=None)
            panel.set_title(f"{title},\n{name}", fontsize=9)
            mark_threshold(panel, threshold)
        panels.scale_values(row[0], both, metric)
    _finish(figure, axes, table, threshold)
    return figure


def path_trends(table: pd.DataFrame) -> pd.DataFrame:
    """Do the two kinds of paths tell the same story over widths? A row per metric and subset.

    Columns: the rank correlation over widths between the largest volumes of both kinds (means over seeds), and for each
    kind the width of its highest value.
    """
    rows = []
    for metric, title in PANELS.items():
        for subset, name in COLUMNS.items():
            curves = {}
            for kind in KINDS:
                part = table[(table.metric == metric) & (table.subset == subset) & (table.path_kind == kind)]
                curves[kind] = part[part["size"] == part["size"].max()].groupby("width").value.mean()
            ranks = curves["svd"].rank().corr(curves["shift"].rank())
            row = {"metric": title, "points": name, "rank correlation": round(float(ranks), 2)}
            peaks = {f"highest at w, {KINDS[kind][0]}": int(curve.idxmax()) for kind, curve in curves.items()}
            rows.append({**row, **(peaks if metric != "accuracy" else {})})
    found = pd.DataFrame(rows)
    return found.astype({name: "Int64" for name in found if name.startswith("highest")})


@styled
def ends_by_width(
    ends: Mapping[str, pd.DataFrame],
    threshold: int | None = None,
    titles: Mapping[str, str] = ENDS,
    *,
    narrow: bool = False,
) -> Figure:
    """What the end of training was like against the width, of up to two families: means and ranges, see `moments.at_end`.

    Each family's table may hold rows of other metrics besides, such as those of volumes; `titles` says which are drawn.
    """
    columns = 1 if narrow else len(titles) if len(titles) < 4 else 2
    figure, axes = subplots(
        -(-len(titles) // columns), columns, 2.2 if narrow else 2.6, NARROW if narrow else FULL * 0.85
    )
    for panel, (metric, title) in zip(axes.flat, titles.items(), strict=True):
        for (name, table), colour in zip(ends.items(), (TRAIN, TEST), strict=False):
            panels.curve(panel, table[(table.metric == metric) & (table.subset == "all")], colour, name, mark=None)
        panel.set(title=title, label=title, xlabel="base width $w$", ylim=(0, None))
        mark_threshold(panel, threshold)
    scale_widths(axes.flat, sorted(set().union(*(table.width for table in ends.values()))), threshold, logarithmic=True)
    legend_below(figure, axes[0, 0])
    figure.again = partial(ends_by_width, ends, threshold, titles)
    return figure


@styled
def courses(
    history: pd.DataFrame, widths: Sequence[int], names: Mapping[int, str] | None = None, *, narrow: bool = False
) -> Figure:
    """Metrics of some networks over the epochs, every moment of them: means over seeds, named at their ends by width or `names`."""
    width, height = (NARROW, 2.0) if narrow else (FULL * 0.85, 2.6)
    figure, axes = subplots(*((3, 1) if narrow else (1, 3)), height, width)
    colours, room = dict(zip(widths, sequence(len(widths)), strict=True)), (width / len(axes[0]) - 1.1, height - 0.9)
    for panel, (metric, title) in zip(axes.flat, COURSES.items(), strict=True):
        part = history[(history.metric == metric) & (history.subset == "all")]
        panel.set(title=title, label=title, xlabel="epoch")
        heatmaps.courses(panel, part, colours, room, settled=False, names=names)
    figure.again = partial(courses, history, widths, names)
    return figure


def _finish(
    figure: Figure,
    axes: np.ndarray,
    table: pd.DataFrame,
    threshold: int | None,
    legend: Axes | None = None,
    columns: int = 3,
) -> None:
    scale_widths(axes.flat, list(table.width.unique()), threshold)
    for panel in axes[-1]:
        panel.set_xlabel("base width $w$")
    letters(axes.flat)
    legend_below(figure, axes.flat[0] if legend is None else legend, columns)


@styled
def walk_figure(walk: Walk, *, path: int = 0, narrow: bool = False) -> Figure:
    """A row per image: the image on its way, and along that path the loss and the Jacobian norm of each network.

    Args:
        walk: from `walks.walk`.
        path: which of the image's paths.
        narrow: for phones.
    """
    rows = len(walk.titles)
    across, height = (NARROW, 1.35) if narrow else (FULL * 0.8, 1.45)
    shape = (2 * rows, 2) if narrow else (rows, 3)
    ratios = {"height_ratios": [0.75, 1] * rows} if narrow else {"width_ratios": [1.15, 1, 1]}
    figure, axes = subplots(*shape, height, across, gridspec_kw=ratios)
    figure.again = partial(walk_figure, walk, path=path)
    panels = axes[1::2] if narrow else axes[:, 1:]
    high = walk.seen[walk.seen.path == path].groupby("position")[list(ALONG)].max().max() * 1.06
    for i, title in enumerate(walk.titles):
        _strip(axes[2 * i, 0] if narrow else axes[i, 0], walk, i, path, title)
        if narrow:
            axes[2 * i, 1].remove()
            axes[2 * i, 0].set_subplotspec(axes[2 * i, 0].get_gridspec()[2 * i, :])
        for panel, (metric, head) in zip(panels[i], ALONG.items(), strict=True):
            panel.set(ylim=(0, high[metric]), label=f"{head}, {title}")
            _walk_curves(panel, walk, i, path, metric, (across / 2 - 0.9, height - 0.5))
            if i == 0 or narrow:
                panel.set_title(head)
            if i == rows - 1:
                panel.set_xlabel("singular values erased")
    figure.set_label(_walk_in_words(walk, path))
    return figure


def _walk_in_words(walk: Walk, path: int) -> str:
    """What is seen: the highest Jacobian norm of each network along that path of the first image."""
    first = walk.seen[(walk.seen.image == 0) & (walk.seen.path == path)].groupby("width").jacobian.max()
    told = "; ".join(f"{walk.networks[width]}: {high:.2g}" for width, high in first.items())
    return (
        f"{len(walk.titles)} images on their way along a path, and two panels of curves for each. The highest Jacobian norm along "
        f"that of {walk.titles[0]}: {told}."
    )


def _strip(panel: Axes, walk: Walk, i: int, path: int, title: str) -> None:
    """The image and two of its augmentations, side by side."""
    shown = [walk.anchors[i, path, k].clamp(0, 1).permute(1, 2, 0).numpy() for k in SHOWN]
    gap = np.ones((shown[0].shape[0], 2, 4)) * [1, 1, 1, 0]
    opaque = [np.dstack([image, np.ones(image.shape[:2])]) for image in shown]
    strip = np.concatenate([part for image in opaque for part in (image, gap)][:-1], axis=1)
    panel.imshow(strip, interpolation="nearest")
    panel.set_axis_off()
    panel.set_title(title, fontsize=8)
    size = shown[0].shape[0]
    for n, k in enumerate(SHOWN):
        panel.text(
            n * (size + 2) + size / 2, size + 1, f"{walk.strengths[k]} erased", ha="center", va="top", fontsize=8
        )


def _walk_curves(panel: Axes, walk: Walk, i: int, path: int, metric: str, room: tuple[float, float]) -> None:
    part, named = walk.seen[(walk.seen.image == i) & (walk.seen.path == path)], []
    for (width, seen), colour in zip(part.groupby("width"), NETWORKS, strict=False):
        (line,) = panel.plot(seen.position, seen[metric], color=colour, linewidth=1.6, label=f"w = {width}")
        named.append((line, f"w = {width}"))
    panel.set_xticks(range(len(walk.strengths)), walk.strengths)
    panel.set_xlim(0, len(walk.strengths) - 1)
    panels.name_ends(panel, named, *room)
