"""Paths from typical training images, and the loss and the Jacobian norm of four networks along them."""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ..studies.walks import Walk
from .panels import name_ends
from .style import CORRUPTED, FULL, INK, NARROW, TEST, TRAIN, styled, subplots

COLOURS = (TRAIN, CORRUPTED, INK, TEST)  # of the networks, from the narrowest
TITLES = {"loss": "Crossentropy", "jacobian": "Jacobian norm"}
SHOWN = (0, 3, 6)  # anchors that are drawn


@styled
def draw(walk: Walk, *, path: int = 0, narrow: bool = False) -> Figure:
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
    figure.again = partial(draw, walk, path=path)
    panels = axes[1::2] if narrow else axes[:, 1:]
    high = walk.seen[walk.seen.path == path].groupby("position")[list(TITLES)].max().max() * 1.06
    for i, title in enumerate(walk.titles):
        _images(axes[2 * i, 0] if narrow else axes[i, 0], walk, i, path, title)
        if narrow:
            axes[2 * i, 1].remove()
            axes[2 * i, 0].set_subplotspec(axes[2 * i, 0].get_gridspec()[2 * i, :])
        for panel, (metric, head) in zip(panels[i], TITLES.items(), strict=True):
            panel.set(ylim=(0, high[metric]), label=f"{head}, {title}")
            _curves(panel, walk, i, path, metric, (across / 2 - 0.9, height - 0.5))
            if i == 0 or narrow:
                panel.set_title(head)
            if i == rows - 1:
                panel.set_xlabel("singular values erased")
    figure.set_label(_words(walk, path))
    return figure


def _words(walk: Walk, path: int) -> str:
    """What is seen: the highest Jacobian norm of each network along that path of the first image."""
    first = walk.seen[(walk.seen.image == 0) & (walk.seen.path == path)].groupby("width").jacobian.max()
    told = "; ".join(f"{walk.networks[width]}: {high:.2g}" for width, high in first.items())
    return (
        f"{len(walk.titles)} images on their way along a path, and two panels of curves for each. The highest Jacobian norm along "
        f"that of {walk.titles[0]}: {told}."
    )


def _images(panel: mpl.axes.Axes, walk: Walk, i: int, path: int, title: str) -> None:
    """The image and two of its augmentations, side by side."""
    shown = [walk.anchors[i, path, k].clamp(0, 1).permute(1, 2, 0).numpy() for k in SHOWN]
    gap = np.ones((shown[0].shape[0], 2, 4)) * [1, 1, 1, 0]
    opaque = [np.dstack([image, np.ones(image.shape[:2])]) for image in shown]
    strip = np.concatenate([part for image in opaque for part in (image, gap)][:-1], axis=1)
    panel.imshow(strip, interpolation="nearest")
    panel.set_axis_off()
    panel.set_title(title, fontsize=9)
    size = shown[0].shape[0]
    for n, k in enumerate(SHOWN):
        panel.text(
            n * (size + 2) + size / 2, size + 1, f"{walk.strengths[k]} erased", ha="center", va="top", fontsize=8
        )


def _curves(panel: mpl.axes.Axes, walk: Walk, i: int, path: int, metric: str, room: tuple[float, float]) -> None:
    part, named = walk.seen[(walk.seen.image == i) & (walk.seen.path == path)], []
    for (width, seen), colour in zip(part.groupby("width"), COLOURS, strict=False):
        (line,) = panel.plot(seen.position, seen[metric], color=colour, linewidth=1.6, label=f"w = {width}")
        named.append((line, f"w = {width}"))
    panel.set_xticks(range(len(walk.strengths)), walk.strengths)
    panel.set_xlim(0, len(walk.strengths) - 1)
    name_ends(panel, named, *room)
