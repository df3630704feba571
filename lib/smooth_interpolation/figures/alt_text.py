"""What a figure shows, in words made of what was drawn: the alternative text of pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..claims import trends
from .style import THRESHOLD

LIMIT = 300  # characters: longer texts are not listened to
FEW = 4  # curves of a figure that are all told
PROMINENT = 0.1  # of a curve's range


def describe(figure: Figure) -> str:
    """What is seen, in at most 300 characters: against what, the marks, and how curves run, those with a peak first.

    Of few curves all are told, else the last of each panel, which is the largest volume or the widest network. Numbers are where a curve begins, its low and its peak if it has one, and where it ends.
    """
    panels = [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]
    maps = [panel for panel in panels if _mesh(panel)]
    curves = [(panel, line) for panel in panels for line in _curves(panel, len(panels))]
    if not curves and not maps:
        shown = [panel for panel in panels if panel.containers]  # bars, or points with their errors
        named = [f"{_name(panel)} against {_axis(panel)}." for panel in shown]
        return " ".join(named)[:LIMIT] or "An empty figure: nothing measured yet."
    last = {line.get_label() for _, line in curves}
    shared = last.pop() if len(last) == 1 and len(panels) > 1 else ""  # what all the curves told of are
    if curves:
        panel, line = curves[-1]
        x = line.get_xdata()
        axis = _axis(panel) + (f" ({x[0]:.4g} to {x[-1]:.4g})" if len(x) > 1 else "")
    else:
        axis = _axis(maps[-1])
    if shared:
        volumes = shared != "0" and any(line.get_label() == "0" for line in curves[0][0].get_lines())
        axis += ", over the largest volume" if volumes else f", for {shared}"
    opening = f"{_count(panels, maps)} against {axis}. "
    closing = "".join(f" {text}" for text in _marks(panels))
    groups = list(dict.fromkeys(_name(panel).split(", ")[0] for panel, _ in curves))
    # A metric's clean points are followed by its noisy ones, however panels are laid out.
    curves.sort(key=lambda one: groups.index(_name(one[0]).split(", ")[0]))
    told = []
    for panel, line in curves:
        course, peaked = _course(panel, line)
        name, label = _name(panel), line.get_label()
        if label and not shared:
            name = f"{name}, {label}" if len(figure.axes) > 1 else label
        told.append((int(peaked), f"{name}: {course}"))
    if not told:
        told = [(0, f"{_name(panel)}: {_extremes(_mesh(panel))}") for panel in maps]
    return opening + fitting(told, LIMIT - len(opening) - len(closing) - 1) + "." + closing


def fitting(told: list[tuple[int, str]], room: int) -> str:
    """As many texts as there is room for, the least telling left out first, and of those the last."""
    kept = list(range(len(told)))
    while len(kept) > 1 and len("; ".join(told[i][1] for i in kept)) > room:
        kept.remove(min(kept, key=lambda i: (told[i][0], -i)))
    text = "; ".join(told[i][1] for i in kept)
    return text if len(text) <= room else text[: room - 3].rsplit(" ", 1)[0] + " …"


def _count(panels: list[Axes], maps: list[Axes]) -> str:
    if maps:
        return f"{len(maps)} heatmap{'s' if len(maps) > 1 else ''}{' and curves' if len(panels) > len(maps) else ''}"
    return "Curves" if len(panels) == 1 else f"{len(panels)} panels"


def _marks(panels: list[Axes]) -> list[str]:
    lines = [line for panel in panels for line in panel.get_lines()]
    threshold = next((line for line in lines if line.get_label() == THRESHOLD), None)
    width = next((text.get_text() for panel in panels for text in panel.texts if "$w = " in text.get_text()), None)
    if width is None:
        width = next((line.width for line in lines if line.get_label() == "_width" and hasattr(line, "width")), None)
    marks = []
    if threshold is not None:
        place = getattr(threshold, "width", threshold.get_xdata()[0])
        marks.append(f"Threshold (line): w = {place:g}.")
    if width is not None:
        marks.append(f"Marked: w = {str(width).strip('$').removeprefix('w = ')}.")
    return marks


def _curves(panel: Axes, panels: int) -> list[Line2D]:
    """Those that are told: neither marks across the panel, nor points without a line."""
    lines = [
        line
        for line in panel.get_lines()
        if not line.get_label().startswith("_") and line.get_label() != THRESHOLD and line.get_linestyle() != "None"
        if line.get_transform() == panel.transData and len(line.get_xdata())
    ]
    return lines if panels * len(lines) <= FEW else lines[-1:]


def _name(panel: Axes) -> str:
    name = panel.get_label() or panel.get_title() or panel.get_ylabel() or f"({panel.get_title(loc='left')})"
    return name.replace("\n", " ")


def _axis(panel: Axes) -> str:
    """What is on the horizontal axis, and how far it reaches."""
    below = [other for other in panel.figure.axes if other.get_xlabel()]
    name = panel.get_xlabel() or (below[-1].get_xlabel() if below else "the horizontal axis")
    return name.replace("$", "")


def _course(panel: Axes, line: Line2D) -> tuple[str, bool]:
    """First, peak with the low before it, and last; and whether there is a peak, which stands out by a tenth of the range."""
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    at, out = "w = " if _axis(panel).endswith(" w") else "", PROMINENT * np.ptp(y)
    if len(x) == 1:
        return f"{_number(y[0])} at {at}{x[0]:g}", False
    peak = trends.peak(pd.Series(y), max(out, trends.TINY))
    if peak is None:
        return f"{_number(y[0])} to {_number(y[-1])}", False
    low = y[: peak.at].min()
    before = f", low {_number(low)}" if y[0] - low > out else ""
    return f"{_number(y[0])}{before}, peak {_number(y[peak.at])} at {at}{x[peak.at]:.4g}, {_number(y[-1])}", True


def _number(value: float) -> str:
    """Two significant digits; what is vanishingly small is about 0."""
    if abs(value) < 0.001:
        return "0" if value == 0 else "about 0"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _mesh(panel: Axes) -> QuadMesh | None:
    return next((c for c in panel.collections if isinstance(c, QuadMesh)), None)


def _extremes(mesh: QuadMesh) -> str:
    values = np.ma.masked_invalid(mesh.get_array())
    places = []
    for name, index in (("lowest", np.ma.argmin(values)), ("highest", np.ma.argmax(values))):
        row, column = np.unravel_index(index, values.shape)
        width, epoch = mesh.table.columns[column], mesh.table.index[row]  # as `heatmaps.heatmap` keeps them
        places.append(f"{name} {_number(values[row, column])} at w = {width}, epoch {epoch}")
    return " and ".join(places)
