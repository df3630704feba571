"""The visual language of the book: fonts, colours, line weights, and the marks that all its figures share.

Figures are narrow, with panels two abreast, so that their text stays legible on a phone, where a figure shrinks to the
screen's width. They are drawn on white: the same in light mode, in dark mode and in print.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Of Okabe and Ito's palette, told apart with any colour vision; each has a contrast of 3 or more with white.
ACCENT = "#d55e00"  # the width that the reader chose: vermilion
TEST = "#0072b2"  # test errors: blue
TRAIN = "#767676"  # training errors: grey
CORRUPTED = "#a0307f"  # wrong labels, and classes that have them: purple
INK = "#333333"  # threshold, ground truth, text on curves

WIDTH = 4.9  # inches, of every figure with two panels abreast
LOG_RANGE = 10  # an axis whose values span more than this factor is logarithmic
POINT, VOLUME = 2.2, 1.3  # line weights: of the points themselves, and of volumes
BAND = 0.18  # opacity of one standard deviation over seeds
THRESHOLD = "interpolation threshold"  # label of its dotted line

STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": "tight",
    "svg.hashsalt": "smooth-interpolation",  # the same figure is the same file
    "figure.constrained_layout.use": True,
}


def sequence(n: int) -> list[str]:
    """Colours from dark to light: told apart in grey and with any colour vision, legible on white."""
    return [mpl.colors.to_hex(c) for c in mpl.colormaps["viridis"](np.linspace(0.0, 0.88, max(n, 1)))][:n]


def subplots(rows: int, columns: int, height: float, **options) -> tuple[Figure, np.ndarray]:
    """A figure of the book's width and `height` inches a row, with its axes as an array of rows."""
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height * rows), squeeze=False, **options)
    plt.close(figure)  # shown by whoever asked for it, once
    return figure, axes


def letters(axes: Iterable[Axes], prefix: str = "", first: str = "a") -> None:
    """Bold letters in the upper left corner: a, b, c; with a prefix b1, b2, b3."""
    axes = list(axes)
    for i, panel in enumerate(axes):
        name = f"{prefix}{i + 1}" if prefix and len(axes) > 1 else prefix or chr(ord(first) + i)
        panel.set_title(name, loc="left", fontweight="bold")


def mark_threshold(panel: Axes, threshold: int | None, on_colour: bool = False) -> None:
    """A dotted vertical line; on a heatmap dashes of white on dark, seen on every colour."""
    if threshold is None:
        return
    if on_colour:
        panel.axvline(threshold, color=INK, linewidth=2.6, zorder=3, label="_edge")
    style = {"color": "white", "linestyle": (0, (2, 1.2)), "linewidth": 1.6, "zorder": 4}
    panel.axvline(
        threshold,
        label=THRESHOLD,
        **(style if on_colour else {"color": INK, "linestyle": ":", "linewidth": 1.2, "zorder": 1}),
    )


def mark_width(panel: Axes, width: int | None, low: bool = False) -> None:
    """The chosen width, a vertical line with its name: below where curves gather at the top."""
    if width is None:
        return
    panel.axvline(width, color=ACCENT, linewidth=1.2, alpha=0.8, zorder=1, label="_width")
    panel.annotate(
        f"$w = {width}$",
        (width, 0 if low else 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, 3 if low else -3),
        textcoords="offset points",
        color=ACCENT,
        fontsize=9,
        va="bottom" if low else "top",
    )


def scale_widths(panels: Iterable[Axes], widths: Sequence[int]) -> None:
    """Widths on a logarithmic axis if they span much, those measured labelled as far as they fit."""
    widths = sorted(set(widths))
    if not widths:
        return
    wide = widths[-1] / widths[0] > LOG_RANGE
    places = np.log(widths) if wide else np.array(widths, dtype=float)
    room, labelled = (places[-1] - places[0]) / 8, [0]
    for i in range(1, len(widths)):
        if places[i] - places[labelled[-1]] >= room:
            labelled.append(i)
    for panel in panels:
        if wide:
            panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator([widths[i] for i in labelled]))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def legend_below(figure: Figure, panel: Axes, title: str | None = None, curves: bool = True) -> None:
    """One legend for all panels, under them: of the named lines of `panel`, the threshold last, or of that alone."""
    handles = [line for line in panel.get_lines() if not line.get_label().startswith("_")]
    handles = [line for line in handles if curves or line.get_label() == THRESHOLD]
    handles.sort(key=lambda line: line.get_label() == THRESHOLD)
    if handles:
        figure.legend(handles=handles, title=title, loc="outside lower center", ncols=4)


def say(panel: Axes, text: str) -> None:
    """A sentence in place of curves."""
    panel.text(0.5, 0.5, text, ha="center", va="center", transform=panel.transAxes)
