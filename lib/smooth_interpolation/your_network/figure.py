"""The four panels of `your_network.examine`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..errors import UserError
from ..figures import alt_text, by_volume
from ..figures.by_volume import AXES, PANELS
from ..figures.style import BAND, CORRUPTED, INK, NARROW, TEST, WIDTH, legend_below, letters, sequence, styled, subplots
from ..runs.records import records

if TYPE_CHECKING:
    from .examination import Examination

TITLES = {**PANELS, "accuracy": "Accuracy", "loss": "Loss"}
COLOURS = {"all": INK, "clean": TEST, "noisy": CORRUPTED}
STYLES = {"all": "o-", "clean": "o-", "noisy": "s--"}  # of networks by name, which colours tell apart
LABELS = {"all": "all points", "clean": "clean labels", "noisy": "noisy labels"}


def draw(found: Examination, reference: bool = True, narrow: bool = False) -> Figure:
    """Metrics over the volume's size for one network or several by name, over the width for several by width.

    Its label says what is seen. `figure.again` draws it with other options: `again(narrow=True)` for a phone.
    """
    by_widths = found.volumes.width.nunique() > 1 and not named(found)
    figure = by_width(found, narrow) if by_widths else by_size(found, reference, narrow)
    figure.again = partial(draw, found, reference)
    figure.set_label(alt_text.describe(figure) if by_widths else describe(found))
    return figure


def named(found: Examination) -> list[str]:
    """The networks' names, if that is what tells them apart."""
    return [name for name in found.volumes.width.unique() if isinstance(name, str)]


@styled
def by_size(found: Examination, reference: bool = True, narrow: bool = False) -> Figure:
    """A panel per metric over augmentations per path; shaded: one standard error of the mean over points.

    Dashed, for scale: a network of this book at the interpolation threshold, and one beyond.
    """
    metrics, known = panels(found), references(found) if reference else {}
    figure, axes = subplots(-(-len(metrics) // 2), 2, 2.1, NARROW if narrow else WIDTH, sharex=True)
    drawn, unused = axes.flat[: len(metrics)], axes.flat[len(metrics) :]
    for panel, metric in zip(drawn, metrics, strict=True):
        for network, subset, label, colour, style in each(found):
            part = _curve(found, metric, subset, network)
            panel.plot(part["size"], part["mean"], style, color=colour, label=label)
            low, high = part["mean"] - part["error"], part["mean"] + part["error"]
            if part["error"].any():
                panel.fill_between(part["size"], low, high, color=colour, alpha=BAND, linewidth=0)
        for (label, table), style in zip(known.items(), (":", "--"), strict=False):
            part = table[table.metric == metric].sort_values("size")
            panel.plot(part["size"], part["mean"], style, color=INK, alpha=0.5, linewidth=1, label=label)
        panel.set_title(TITLES[metric])
        panel.set_ylabel(AXES.get(metric, ""))
        panel.set_ylim(*((-0.03, 1.03) if metric == "accuracy" else (0, None)))
    for panel in unused:
        panel.remove()
    for panel in drawn[-2:]:
        panel.set_xlabel("augmentations per path")
        panel.xaxis.set_tick_params(labelbottom=True)
    letters(drawn)
    if len(each(found)) > 1 or known:
        legend_below(figure, axes[0, 0])
    return figure


def references(found: Examination) -> dict[str, pd.DataFrame]:
    """Of the largest scale with records, the curves at all points of the networks at the threshold and beyond, by label.

    The Hessian norm is given in the M and delta of what was found. None where volumes or the loss are others.
    """
    sizes, metrics = found.volumes["size"].nunique(), set(found.volumes.metric)
    if "loss" in metrics:
        return {}
    try:
        runs = records(None, "convnet-noise20")
    except UserError:  # the package alone, without the records
        return {}
    volumes = runs.volumes[runs.volumes.subset == "all"]
    if volumes["size"].nunique() != sizes or runs.threshold is None:
        return {}
    ours = found.points.tangent_hessian_rms / found.points.tangent_hessian_norm
    factor = ours.replace([np.inf, -np.inf], np.nan).mean()
    scaled = volumes[volumes.metric == "tangent_hessian_rms"].assign(metric="tangent_hessian_norm")
    scaled["mean"] /= factor
    volumes = pd.concat([volumes[volumes.metric != "tangent_hessian_norm"], scaled])
    table = volumes.groupby(["width", "metric", "size"], as_index=False)["mean"].mean()
    places = {runs.threshold: "at", max(runs.planned, key=lambda r: r["config"]["width"])["config"]["width"]: "beyond"}
    return {f"Figure 2, w = {width}: {where} threshold": table[table.width == width] for width, where in places.items()}


def by_width(found: Examination, narrow: bool = False) -> Figure:
    """As Figure 3 where wrong labels are known, else as Figure 2."""
    table = found.volumes.replace({"metric": {"loss": "crossentropy"}}).dropna(subset="mean")
    figure = by_volume.draw(table, subsets=curves(found), unit="strength", narrow=narrow)  # of either kind of path
    if "loss" in set(found.volumes.metric):
        for panel in figure.axes:
            for name, rename in ((panel.get_title(), panel.set_title), (panel.get_label(), panel.set_label)):
                rename(name.replace(PANELS["crossentropy"], TITLES["loss"]))
    return figure


def panels(found: Examination) -> list[str]:
    """The metrics that have values, in the order of the panels."""
    known = set(found.volumes.dropna(subset="mean").metric)
    return [name for name in ("accuracy", "crossentropy", "loss", *list(PANELS)[2:]) if name in known]


def curves(found: Examination) -> list[str]:
    """The subsets that are drawn: clean and noisy where both are known, else all points."""
    known = set(found.volumes.subset)
    return ["clean", "noisy"] if {"clean", "noisy"} <= known else ["all"]


def each(found: Examination) -> list[tuple[int | str, str, str, str, str]]:
    """Network, subset, label, colour and style of each curve of a panel over sizes."""
    names = named(found)
    if not names:
        width = found.volumes.width.iloc[0]
        return [(width, subset, LABELS[subset], COLOURS[subset], "o-") for subset in curves(found)]
    return [
        (name, subset, name if subset == "all" else f"{name}, {LABELS[subset]}", colour, STYLES[subset])
        for name, colour in zip(names, sequence(len(names)), strict=True)
        for subset in curves(found)
    ]


def describe(found: Examination) -> str:
    """What is seen over the volume's size, in words."""
    opening, told = "Means at the points and over the largest volume. ", []
    for metric in panels(found):
        for network, subset, label, _, _ in each(found):
            means = _curve(found, metric, subset, network)["mean"]
            told.append((0, f"{TITLES[metric]}, {label}: {means.iloc[0]:.2g} to {means.iloc[-1]:.2g}"))
    return opening + alt_text.fitting(told, alt_text.LIMIT - len(opening) - 1) + "."


def _curve(found: Examination, metric: str, subset: str, network: int | str) -> pd.DataFrame:
    """The rows of a curve, with the standard error of each mean."""
    table = found.volumes[found.volumes.width == network]
    points = found.points[(found.points.width == network) & (found.points["size"] == 0)]
    n = {"all": len(points), "noisy": points.noisy.sum(), "clean": (~points.noisy).sum()}[subset]
    part = table[(table.metric == metric) & (table.subset == subset)].sort_values("size")
    return part.assign(error=part["std"] / np.sqrt(max(n, 1)))
