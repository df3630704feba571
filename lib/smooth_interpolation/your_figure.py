"""The four panels of `your_network.examine`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from . import figures

if TYPE_CHECKING:
    from .your_network import Examination

TITLES = {**figures.PANELS, "loss": "Loss"}
COLOURS = {"all": "#333333", "clean": "#0072b2", "noisy": "#d55e00"}
LABELS = {"all": "all points", "clean": "clean labels", "noisy": "noisy labels"}


def draw(found: Examination) -> Figure:
    """Metrics over the volume's size for one network, over the width for several."""
    if found.volumes.width.nunique() > 1:
        return by_width(found)
    return by_size(found)


def by_size(found: Examination) -> Figure:
    """A panel per metric over augmentations per path; shaded: one standard error of the mean over points."""
    table, points = found.volumes, found.points
    metrics = panels(found)
    counts = {"all": len(points), "noisy": points.noisy.sum(), "clean": (~points.noisy).sum()}
    subsets = [s for s in COLOURS if s in set(table.subset)]
    subsets = subsets[1:] if len(subsets) == 3 else subsets
    n_sizes = table["size"].nunique()
    with mpl.rc_context(figures.STYLE):
        figure, axes = plt.subplots(1, len(metrics), figsize=(2.6 * len(metrics), 2.6), squeeze=False)
        for panel, metric in zip(axes[0], metrics, strict=True):
            for subset in subsets:
                part = table[(table.metric == metric) & (table.subset == subset)].sort_values("size")
                error = part["std"] / np.sqrt(max(1, counts[subset] // n_sizes))
                panel.plot(part["size"], part["mean"], "o-", color=COLOURS[subset], label=LABELS[subset])
                if counts[subset] > n_sizes:
                    panel.fill_between(
                        part["size"],
                        part["mean"] - error,
                        part["mean"] + error,
                        color=COLOURS[subset],
                        alpha=0.18,
                        linewidth=0,
                    )
            panel.set(title=TITLES[metric], xlabel="augmentations per path")
            panel.set_ylim(*((-0.03, 1.03) if metric == "accuracy" else (0, None)))
        if len(subsets) > 1:
            axes[0, 0].legend()
        plt.close(figure)
        return figure


def by_width(found: Examination) -> Figure:
    """As Figure 2, or Figure 3 where wrong labels are known."""
    table = found.volumes.replace({"metric": {"loss": "crossentropy"}})
    subsets = ("clean", "noisy") if {"clean", "noisy"} <= set(table.subset) else ("all",)
    figure = figures.volumes_by_width(table.dropna(subset="mean"), subsets)
    if "loss" in set(found.volumes.metric):
        figure.axes[1].set_title(TITLES["loss"])
    return figure


def panels(found: Examination) -> list[str]:
    """The metrics that have values, in the order of the panels."""
    known = found.volumes.dropna(subset="mean").metric
    return [name for name in ("accuracy", "crossentropy", "loss", *list(figures.PANELS)[2:]) if name in set(known)]
