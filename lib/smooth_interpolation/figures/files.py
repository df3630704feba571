"""Figures as files: SVG for pages in light and in dark, PDF for print, PNG."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .. import locations
from . import style


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, PDF or PNG, by the ending of `path`; the same figure gives the same file.

    It stands on white: a file is opened anywhere, and dark ink on a dark viewer's ground would not be seen.
    """
    locations.expanded(path).write_bytes(written(figure, path.suffix[1:], ground=style.PAGES[0]))


def written(figure: Figure, kind: str, *, ground: str = "none") -> bytes:
    """The content of such a file.

    Args:
        figure: any.
        kind: svg, pdf or png.
        ground: the colour behind it; "none" is what the page has.
    """
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    buffer = io.BytesIO()
    with mpl.rc_context(style.STYLE):
        if isinstance(layout := figure.get_layout_engine(), ConstrainedLayoutEngine):
            # Found once, or the next drawing of the same figure would differ by fractions of a point, and take longer.
            layout.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(buffer, format=kind, dpi=200, metadata=undated, facecolor=ground)
    content = buffer.getvalue()
    return _compact(content) if kind == "svg" else content


def on_dark(svg: bytes) -> bytes:
    """The same drawing for a dark page: with light ink, and all other colours lighter, see `style.on_dark`; images in it,
    such as heatmaps, stay as they are."""
    return re.sub(rb"(?<=: )#[0-9a-f]{6}\b", lambda found: style.on_dark(found[0].decode()).encode(), svg)


def _compact(svg: bytes) -> bytes:
    """Coordinates to a hundredth of a point: a third smaller, and no eye sees it."""

    def shorter(attribute: re.Match[bytes]) -> bytes:
        return re.sub(rb"-?\d+\.\d{3,}", lambda number: b"%g" % round(float(number[0]), 2), attribute[0])

    return re.sub(rb'\s(?:d|x|y)="[^"]*"', shorter, svg)
