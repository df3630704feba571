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
VOLUMES = "over the largest volume"


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
    axis = _axis(curves[-1][0] if curves else maps[-1]) + (_reach(curves[-1][1]) if curves else "")
    opening = f"{_count(panels, maps)} against {axis}{_shared(shared, curves)}. "
    closing = "".join(f" {text}" for text in _marks(panels))
    groups = list(dict.fromkeys(_name(panel).split(", ")[0] for panel, _ in curves))
    # A metric's clean points are followed by its noisy ones, however panels are laid out.
    curves.sort(key=lambda one: groups.index(_name(one[0]).split(", ")[0]))
    told = [(_telling(line), f"{_title(panel, line, shared)}: {_course(panel, line)}") for panel, line in curves]
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


def _shared(label: str, curves: list[tuple[Axes, Line2D]]) -> str:
    if not label:
        return ""
    volumes = any(line.get_label() == "0" for line in curves[0][0].get_lines()) and label != "0"
    return f", {VOLUMES if volumes else f'for {label}'}"


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
    lines = [line for line in panel.get_lines() if _is_curve(panel, line)]
    return lines if panels * len(lines) <= FEW else lines[-1:]


def _is_curve(panel: Axes, line: Line2D) -> bool:
    """Neither a mark across the panel, nor points without a line."""
    named = not line.get_label().startswith("_") and line.get_label() != THRESHOLD
    drawn = line.get_linestyle() != "None" and line.get_transform() == panel.transData
    return named and drawn and len(line.get_xdata()) > 0


def _title(panel: Axes, line: Line2D, shared: str) -> str:
    label = line.get_label()
    name = _name(panel)
    if shared or not label:
        return name
    return f"{name}, {label}" if len(panel.figure.axes) > 1 else label


def _name(panel: Axes) -> str:
    name = panel.get_label() or panel.get_title() or panel.get_ylabel() or f"({panel.get_title(loc='left')})"
    return name.replace("\n", " ")


def _axis(panel: Axes) -> str:
    """What is on the horizontal axis, and how far it reaches."""
    below = [other for other in panel.figure.axes if other.get_xlabel()]
    name = panel.get_xlabel() or (below[-1].get_xlabel() if below else "the horizontal axis")
    return name.replace("$", "")


def _reach(line: Line2D) -> str:
    x = line.get_xdata()
    return f" ({x[0]:.4g} to {x[-1]:.4g})" if len(x) > 1 else ""


def _symbol(panel: Axes) -> str:
    return "w = " if _axis(panel).endswith(" w") else ""


def _telling(line: Line2D) -> int:
    return int(_peak(np.asarray(line.get_ydata(), dtype=float)) is not None)


def _peak(y: np.ndarray) -> int | None:
    """Where a curve has a peak, which stands out by a tenth of its range."""
    top = trends.peak(pd.Series(y), max(PROMINENT * np.ptp(y), trends.TINY)) if len(y) > 2 else None
    return None if top is None else int(top.at)


def _course(panel: Axes, line: Line2D) -> str:
    """First, peak with the low before it, and last."""
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    at = _symbol(panel)
    if len(x) == 1:
        return f"{_number(y[0])} at {at}{x[0]:g}"
    parts = [_number(y[0])]
    top = _peak(y)
    if top is not None:
        low = int(np.argmin(y[:top]))
        parts += [f"low {_number(y[low])}"] if y[0] - y[low] > PROMINENT * np.ptp(y) else []
        parts.append(f"peak {_number(y[top])} at {at}{x[top]:.4g}")
    parts.append(_number(y[-1]))
    return ", ".join(parts) if top is not None else " to ".join(parts)


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
