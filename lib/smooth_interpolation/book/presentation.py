"""A figure as the book shows it: scalable, described in words, with its data, its files and its origin beneath.

The result is one piece of HTML that holds its files itself, so that it works in a notebook executed by papermill; in the
built book the extension `book_files` moves them beside the pages.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from .. import figures
from ..config import Experiment
from ..errors import ConfigError
from ..figures import alt_text
from ..figures.files import on_dark
from ..figures.style import FULL
from ..runs import record_format
from . import origins

TYPES = {"svg": "image/svg+xml", "pdf": "application/pdf", "csv": "text/csv"}


@dataclass(frozen=True)
class Shown:
    """What a notebook displays: HTML where it can, the drawing or its description elsewhere."""

    html: str
    svg: str
    pdf: bytes
    alt: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        printed = base64.b64encode(self.pdf).decode()
        return {
            "text/html": self.html,
            "image/svg+xml": self.svg,
            "application/pdf": printed,
            "text/plain": self.alt,
        }


def show(
    figure: Figure,
    table: pd.DataFrame,
    name: str,
    alt: str = "",
    *,
    records: Sequence[record_format.Record] = (),
    experiment: Experiment | None = None,
) -> Shown:
    """A figure with alternative text, downloads and, folded, the origin of every run that it is drawn from.

    Args:
        figure: from a function of `figures`, or any other.
        table: the very table that was drawn, for the CSV file.
        name: of the files, and the address of the figure in its page: `fig2-laptop`.
        alt: what the figure shows, in words; by default the figure's label, or `alt_text.describe`.
        records: those it is drawn from, if any, and their experiment, for the commands that remake them.

    Raises:
        ConfigError: without a name fit for files.
    """
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ConfigError(f"name = {name!r}: small letters, digits and hyphens make a figure's name.")
    alt, svg, pdf = alt or _words(figure), drawn(figure, "svg"), drawn(figure, "pdf")
    csv = table.to_csv(index=False, lineterminator="\n").encode()
    data, printed, scalable = (
        _link(f"{name}.{kind}", content) for kind, content in {"csv": csv, "pdf": pdf, "svg": svg}.items()
    )
    parts = [
        f'<div class="measured" id="{name}">',
        _image(figure, f"{name}.svg", svg, alt),
        f'<div class="downloads">Data: {data}. Figure: {printed}, {scalable}.</div>',
        *([origins.table(records, experiment)] if records else []),
        "</div>",
    ]
    return Shown("\n".join(parts), svg.decode(), pdf, alt)


def shown(figure: Figure) -> Shown:
    """What a notebook displays of a figure: with what it is drawn from, if it was drawn from records, as `show`.

    Any other illustrates: its HTML is the drawing and, for those who cannot see it, its label or `describe`. A figure's label
    is set by `figure.set_label("Ten images, ...")`.
    """
    drawn_from = getattr(figure, "drawn_from", None)
    if drawn_from is not None:
        runs = drawn_from.runs
        name = f"{drawn_from.name}-{runs.experiment.scale}"
        return show(figure, drawn_from.table, name, records=runs, experiment=runs.experiment)
    alt, svg, pdf = _words(figure), drawn(figure, "svg"), drawn(figure, "pdf")
    name = f"figure-{hashlib.sha256(svg).hexdigest()[:12]}.svg"
    return Shown(_image(figure, name, svg, alt), svg.decode(), pdf, alt)


def bundle(figure: Figure) -> dict[str, str]:
    """`shown`, by media type."""
    return shown(figure)._repr_mimebundle_()


def _words(figure: Figure) -> str:
    return str(figure.get_label()) or alt_text.describe(figure)


def _image(figure: Figure, file: str, svg: bytes, alt: str) -> str:
    """The drawing, hardly larger than drawn, so that all figures have type of one size: for light and for dark pages and, if it can
    be drawn narrow, for phones; with four panels abreast for tablets, too, where their labels would be too small.

    Where the book's style is not at hand, in a notebook, the light one is seen.
    """
    screens = "991px" if figure.get_figwidth() >= FULL else "600px"
    drawings = [("", svg)]
    if again := getattr(figure, "again", None):
        narrow = again(narrow=True)
        drawings.append(("-narrow", drawn(narrow, "svg")))
        plt.close(narrow)
    stem, words, pictures = file.removesuffix(".svg"), html.escape(alt), []
    for kind, hidden, ending in (("in-light", "", ""), ("in-dark", ' style="display:none"', "-dark")):
        large, *small = (
            _uri(f"{stem}{size}{ending}.svg", on_dark(drawing) if ending else drawing) for size, drawing in drawings
        )
        sources = "".join(f'<source media="screen and (max-width: {screens})" srcset="{uri}">' for uri in small)
        pictures.append(
            f'<picture class="{kind}"{hidden}>{sources}<img src="{large}" style="max-width:{figure.get_figwidth() * 1.15:.1f}in" '
            f'loading="lazy" alt="{words}"></picture>'
        )
    return f'<div class="drawing">{"".join(pictures)}</div>'


def drawn(figure: Figure, kind: str) -> bytes:
    """A figure as SVG, for a light page, or PDF; the same figure gives the same bytes."""
    content = figures.written(figure, kind)
    return content[content.index(b"<svg") :] if kind == "svg" else content


def _uri(file: str, content: bytes) -> str:
    """The content as an address; `book_files` reads the file's name from it."""
    kind = TYPES[file.rsplit(".", 1)[1]]
    return f"data:{kind};name={file};base64,{base64.b64encode(content).decode()}"


def _link(file: str, content: bytes) -> str:
    kind = file.rsplit(".", 1)[1].upper()
    size = f"{max(1, round(len(content) / 1000))} kB"
    return f'<a download="{file}" href="{_uri(file, content)}">{kind} ({size})</a>'
