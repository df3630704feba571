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

PROMINENT = 0.1  # of a curve's range
FEW = 2  # panels with more curves than this have the first and the last described


def describe(figure: Figure) -> str:
    """A sentence per panel: where curves begin, peak and end, or where a heatmap is lowest and highest."""
    panels = [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]
    threshold = next((line for panel in panels for line in panel.get_lines() if line.get_label() == THRESHOLD), None)
    told = [text for text in map(_panel, panels) if text]
    if not told:
        return "An empty figure: nothing measured yet."
    count = "One panel" if len(panels) == 1 else f"{len(panels)} panels"
    spread = any(not isinstance(c, QuadMesh) for panel in panels for c in panel.collections)
    sentences = [f"{count}."]
    sentences += [f"{text}." for text in told]
    if spread:
        sentences.append("Shaded: one standard deviation over seeds.")
    if threshold is not None:
        sentences.append(f"A vertical line marks the interpolation threshold, w = {threshold.get_xdata()[0]:g}.")
    return " ".join(sentences)


def _panel(panel: Axes) -> str:
    letter = panel.get_title(loc="left")
    name = (panel.get_title() or panel.get_ylabel()).replace("\n", " ")
    title = f"({letter}) {name}" if letter else name
    meshes = [c for c in panel.collections if isinstance(c, QuadMesh)]
    if meshes:
        return f"{title}: heatmap, {_mesh(meshes[0])}"
    lines = [line for line in panel.get_lines() if _is_curve(line)]
    if not lines:
        return ""
    if len(lines) == 1:
        return f"{title}: {_course(lines[0])}"
    shown = lines if len(lines) <= FEW else [lines[0], lines[-1]]
    return f"{title}: {'; '.join(f'{_name(line)} {_course(line)}' for line in shown)}"


def _is_curve(line: Line2D) -> bool:
    label = line.get_label()
    return label != THRESHOLD and not label.startswith("_") and len(line.get_xdata()) > 0


def _name(line: Line2D) -> str:
    """A volume's size says nothing by itself."""
    label = line.get_label()
    return {"0 (the point)": "at the points"}.get(label, f"over {label} augmentations" if label.isdigit() else label)


def _course(line: Line2D) -> str:
    """First, peak with the low before it, and last; a peak stands out by a tenth of the curve's range."""
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    if len(x) == 1:
        return f"{y[0]:.3g} at w = {x[0]:g}"
    parts = [f"from {y[0]:.3g} at w = {x[0]:g}"]
    top = trends.peak(pd.Series(y), max(PROMINENT * np.ptp(y), trends.TINY))
    if top is not None:
        low = int(np.argmin(y[: top.at]))
        parts += [f"down to {y[low]:.3g} at w = {x[low]:g}"] if low else []
        parts.append(f"up to {y[top.at]:.3g} at w = {x[top.at]:g}")
    return f"{', '.join(parts)}{',' if len(parts) > 1 else ''} to {y[-1]:.3g} at w = {x[-1]:g}"


def _mesh(mesh: QuadMesh) -> str:
    values = np.ma.masked_invalid(mesh.get_array())
    places = []
    for name, index in (("lowest", np.ma.argmin(values)), ("highest", np.ma.argmax(values))):
        row, column = np.unravel_index(index, values.shape)
        width, epoch = mesh.table.columns[column], mesh.table.index[row]  # as `panels.heatmap` keeps them
        places.append(f"{name} {values[row, column]:.3g} at w = {width}, epoch {epoch}")
    return " and ".join(places)
