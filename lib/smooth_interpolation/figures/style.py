"""The visual language of the book: fonts, colours, line weights, and the marks that all its figures share.

Figures are drawn twice: wide for a page and for print, and narrow, with their panels two abreast, for a phone, where a
figure shrinks to the screen's width. They have no background of their own. Text, axes, grid and marks are in two colours of
ink, which `files.written` replaces for a dark page, where all other colours are lighter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

# Told apart with any colour vision, and legible as text, with a contrast of 4.5 or more on a white page and, lighter, on a
# dark one.
ACCENT = "#c05000"  # the width that the reader chose: vermilion
TEST = "#0072b2"  # test errors: blue
TRAIN = "#767676"  # training errors: grey
CORRUPTED = "#a0307f"  # wrong labels, and classes that have them: purple
SEQUENCE = ("#1b4ba9", "#5345b6", "#7d3fb6", "#a238a8", "#c4308e", "#dd2a65")  # from blue to pink, ever lighter

INK = "#333333"  # text, axes, threshold, ground truth, and the points themselves
GRID = "#dddddd"
ON_COLOUR = ("#1a1a1a", "#ffffff")  # lines on a heatmap, whatever the page
ON_DARK = {INK: "#e3e5e8", GRID: "#3a4048", **{same: same for same in ON_COLOUR}}  # what they become on a dark page
LIGHTER = 0.3  # the share of white that all other colours are mixed with there
PAGES = ("#ffffff", "#14181e")  # the colours of the pages, light and dark

WIDTH = 4.9  # inches, of a figure with two panels abreast
FULL, NARROW = 9.4, 4.2  # with four panels abreast; for phones
LOG_RANGE = 10  # widths that span no more than this factor are on a linear axis
POINT, VOLUME, SEED = 2.4, 1.3, 0.5  # line weights: of the points themselves, of volumes, and of single seeds
BAND = 0.18  # opacity of a band
THRESHOLD = "interpolation threshold"  # label of its dotted line
DIGIT = 0.08  # inches that a digit of a tick's label takes
LETTER = 0.065  # ... and a letter of a legend, about

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
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "figure.dpi": 110,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.bbox": "tight",
    "svg.hashsalt": "smooth-interpolation",  # the same figure is the same file
    "figure.constrained_layout.use": True,
}


Drawn = ParamSpec("Drawn")
# A decorator of functions that draw, in the book's style.
styled: Callable[[Callable[Drawn, Figure]], Callable[Drawn, Figure]] = mpl.rc_context(STYLE)


def sequence(n: int) -> list[str]:
    """Colours from blue to pink, each lighter than the one before."""
    colours = mpl.colors.LinearSegmentedColormap.from_list("volumes", SEQUENCE)
    return [mpl.colors.to_hex(c) for c in colours(np.linspace(0, 1, max(n, 1)))][:n]


def on_dark(colour: str) -> str:
    """What becomes of a colour on a dark page.

    Example:
        >>> on_dark(INK), on_dark(TEST)
        ('#e3e5e8', '#4c9cc9')
    """
    lighter = (1 - LIGHTER) * np.array(mpl.colors.to_rgb(colour)) + LIGHTER
    return ON_DARK.get(colour, mpl.colors.to_hex(lighter))


def subplots(rows: int, columns: int, height: float, width: float = WIDTH, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure `width` inches wide, with `height` inches a row, and its axes as an array of rows."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, **options)
    plt.close(figure)  # shown by whoever asked for it, once
    return figure, axes


def letters(axes: Iterable[Axes], first: str = "a") -> None:
    """Bold letters in the upper left corner: a, b, c."""
    for i, panel in enumerate(axes):
        panel.set_title(chr(ord(first) + i), loc="left", fontweight="bold")


def mark_threshold(panel: Axes, threshold: int | None, named: float | None = None, width: int | None = None) -> None:
    """A dotted vertical line, and its name along it, around that height of the axes if one is given.

    The name stands left of it, where there is room however near the threshold is to the widest network, unless the width
    that is marked lies there.
    """
    if threshold is None:
        return
    panel.axvline(threshold, label=THRESHOLD, color=INK, linestyle=":", linewidth=1.2, zorder=1)
    if named is not None:
        va = "bottom" if named < 0.3 else "top" if named > 0.7 else "center"
        dx, ha = (2.5, "left") if width is not None and width < threshold else (-2.5, "right")
        note(panel, "threshold", (threshold, named), (dx, 0), rotation=90, va=va, ha=ha, fontsize=8, color=INK)


def mark_width(panel: Axes, width: int | None, low: bool = False, threshold: int | None = None) -> None:
    """The chosen width, a vertical line with its name: below where curves gather at the top; away from the threshold."""
    if width is None:
        return
    panel.axvline(width, color=ACCENT, linewidth=1.2, alpha=0.8, zorder=1, label="_width")
    dx, ha = (-3, "right") if threshold is not None and width < threshold else (3, "left")
    y, dy, va = (0, 3, "bottom") if low else (1, -3, "top")
    note(panel, f"$w = {width}$", (width, y), (dx, dy), ha=ha, va=va, fontsize=9, color=ACCENT)


def note(panel: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **look: Any) -> None:
    """A text so many points from a place on the horizontal axis and a height from 0 to 1, or as `xycoords` says."""
    places = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "annotation_clip": False}
    panel.annotate(text, at, offset, **places | look)


def geometric(widths: Sequence[float]) -> bool:
    """Do widths grow by factors rather than by steps? Then their median lies nearer to the geometric mean of the ends.

    The axis follows the grid: what was chosen by factors would be crowded on the left of a linear axis, the peak of sharpness
    with it, which here lies in the first quarter of the range; and 64 widths in steps of one would be crowded on the right of
    a logarithmic one.
    """
    low, high = min(widths), max(widths)
    return bool(high / low > LOG_RANGE and np.median(widths) ** 2 < np.sqrt(low * high) * (low + high) / 2)


def scale_widths(
    panels: Iterable[Axes],
    widths: Sequence[int],
    threshold: int | None = None,
    room: float = 1.7,
    logarithmic: bool = False,
) -> None:
    """The axis of widths: logarithmic if they are `geometric`, or if asked for, with ticks at widths that were measured.

    The ends and the threshold have a tick first, then as many others as fit without touching, where the last width is about so
    many inches (`room`) from the first.
    """
    widths = sorted(set(widths))
    if not widths:
        return
    wide = logarithmic or geometric(widths)
    panels = list(panels)
    for panel in panels:
        panel.set_xscale("log" if wide else "linear")
    places = dict(zip(widths, np.log(widths) if wide else np.array(widths, dtype=float), strict=True))
    span = max(places[widths[-1]] - places[widths[0]], 1e-9)
    first = [widths[0], widths[-1], *([threshold] if threshold in places else [])]
    ticks: list[int] = []
    for width in dict.fromkeys([*first, *widths]):
        gaps = [
            abs(places[width] - places[other]) * room / span - DIGIT * (len(f"{width:g}{other:g}") + 1) / 2
            for other in ticks
        ]
        if all(gap > 0 for gap in gaps) or width in first:
            ticks.append(width)
    ticks.sort()
    for panel in panels:
        panel.xaxis.set_major_locator(FixedLocator(ticks))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for i, label in enumerate(panel.xaxis.get_ticklabels()):
            label.set_fontweight("bold" if ticks[i] == threshold else "normal")
            _step_aside(panel, label, ticks, i, places, room / span)


def _step_aside(panel: Axes, label: Text, ticks: list[int], i: int, places: dict[int, float], scale: float) -> None:
    """Push the labels of two ticks apart that must both be there and would touch."""
    push = 0.0
    for other, way in ((i - 1, 1), (i + 1, -1)):
        if 0 <= other < len(ticks):
            needed = DIGIT * (len(f"{ticks[i]:g}{ticks[other]:g}") + 1) / 2
            push += way * max(0.0, needed - abs(places[ticks[i]] - places[ticks[other]]) * scale) / 2
    if push:
        label.set_transform(label.get_transform() + ScaledTranslation(push, 0, panel.figure.dpi_scale_trans))


def legend_below(figure: Figure, panel: Axes, columns: int | None = None) -> None:
    """One legend for all panels, under them: of the named lines of `panel`, so many abreast, or as far as there is room."""
    handles = [line for line in panel.get_lines() if not line.get_label().startswith("_")]
    if handles:
        longest = max(len(str(line.get_label())) for line in handles)
        abreast = int(figure.get_figwidth() // (0.45 + LETTER * longest))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns or min(max(abreast, 1), 5))


def say(panel: Axes, text: str) -> None:
    """A sentence in place of curves."""
    panel.text(0.5, 0.5, text, ha="center", va="center", transform=panel.transAxes)
