"""A figure as the book shows it: scalable, described in words, with its data, its files and its origin beneath.

The result is one piece of HTML that holds its files itself, so that it works in a notebook executed by papermill; in the
built book the extension `book_files` moves them beside the pages.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from .. import config, figures, locations
from ..config import Experiment
from ..errors import ConfigError
from ..figures import alt_text
from ..figures.files import on_dark
from ..figures.style import FULL
from ..runs import cost, record_format

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
        alt: what the figure shows, in words, for those who cannot see it; by default the figure's label, or `alt_text.describe`.
        records: those it is drawn from; none for figures that are not drawn from the store.
        experiment: that of the records, for the commands that remake them.

    Raises:
        ConfigError: without a name fit for files.
    """
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ConfigError(f"name = {name!r}: small letters, digits and hyphens make a figure's name.")
    alt = alt or _words(figure)
    svg = drawn(figure, "svg")
    files = {"csv": table.to_csv(index=False, lineterminator="\n").encode(), "pdf": drawn(figure, "pdf"), "svg": svg}
    links = {kind: _link(f"{name}.{kind}", content) for kind, content in files.items()}
    parts = [
        f'<div class="measured" id="{name}">',
        _image(figure, f"{name}.svg", svg, alt),
        f'<div class="downloads">Data: {links["csv"]}. Figure: {links["pdf"]}, {links["svg"]}.</div>',
        origin(records, experiment) if records else "",
        "</div>",
    ]
    return Shown("\n".join(filter(None, parts)), svg.decode(), files["pdf"], alt)


def shown(figure: Figure) -> str:
    """A figure as a notebook displays it: with what it is drawn from, if it was drawn from records, as `show`; else `plain`."""
    drawn_from = getattr(figure, "drawn_from", None)
    if drawn_from is None:
        return plain(figure)
    runs = drawn_from.runs
    name = f"{drawn_from.name}-{runs.experiment.scale}"
    return show(figure, drawn_from.table, name, records=runs, experiment=runs.experiment).html


def plain(figure: Figure) -> str:
    """A figure that illustrates, as HTML: the drawing and, for those who cannot see it, its label or `describe`.

    A figure's label is set by `figure.set_label("Ten images, ...")`. `pages.vector_figures` shows figures so that are not of records.
    """
    svg = drawn(figure, "svg")
    name = f"figure-{hashlib.sha256(svg).hexdigest()[:12]}.svg"
    return _image(figure, name, svg, _words(figure))


def _words(figure: Figure) -> str:
    return str(figure.get_label()) or alt_text.describe(figure)


def _image(figure: Figure, file: str, svg: bytes, alt: str) -> str:
    """The drawing, hardly larger than drawn, so that all figures have type of one size: for light and for dark pages and, if it can be drawn narrow, for phones.

    The narrow one of a figure with four panels abreast is for tablets, too, where their labels would be too small.

    Where the book's style is not at hand, in a notebook, the light one is seen.
    """
    screens = "991px" if figure.get_figwidth() >= FULL else "600px"
    limit = f"max-width:{figure.get_figwidth() * 1.15:.1f}in"
    again = getattr(figure, "again", None)
    narrow = again(narrow=True) if again else None
    stem, words = file.removesuffix(".svg"), html.escape(alt)
    pictures = []
    small = None if narrow is None else drawn(narrow, "svg")
    for kind, dark in (("in-light", False), ("in-dark", True)):
        ending = "-dark.svg" if dark else ".svg"
        large = _uri(stem + ending, on_dark(svg) if dark else svg)
        source = ""
        if small is not None:
            address = _uri(f"{stem}-narrow{ending}", on_dark(small) if dark else small)
            source = f'<source media="screen and (max-width: {screens})" srcset="{address}">'
        hidden = ' style="display:none"' if dark else ""
        pictures.append(
            f'<picture class="{kind}"{hidden}>{source}'
            f'<img src="{large}" style="{limit}" loading="lazy" alt="{words}"></picture>'
        )
    if narrow is not None:
        plt.close(narrow)
    return f'<div class="drawing">{"".join(pictures)}</div>'


def drawn(figure: Figure, kind: str) -> bytes:
    """A figure as SVG, for a light page, or PDF; the same figure gives the same bytes."""
    content = figures.written(figure, kind)
    return content[content.index(b"<svg") :] if kind == "svg" else content


def origin_table(records: Iterable[record_format.Record], experiment: Experiment | None = None) -> pd.DataFrame:
    """A row per run: width, seed, commit, data fingerprint, device, precision, cost, date, and how to remake it."""
    rows = []
    options = _remake_options(experiment)
    for record in records:
        settings, made = record["config"], record["provenance"]
        commit = (made["commit"] or "unknown")[:10] + (" with changes" if made["dirty"] else "")
        rows.append(
            {
                "width": settings["width"],
                "seed": settings["seed"],
                "commit": commit,
                "data": record["data"]["fingerprint"][:12],
                "device": made["device_name"],
                "precision": made["precision"],
                "cost": cost.duration(cost.seconds(record)),
                "date": made["end"][:10],
                "to remake it": _remake(record, options),
            }
        )
    return pd.DataFrame(rows).sort_values(["width", "seed"], ignore_index=True)


def remake(record: record_format.Record, experiment: Experiment | None = None) -> str:
    """The command that trains and measures a record's network again."""
    return _remake(record, _remake_options(experiment))


def _remake_options(experiment: Experiment | None) -> str:
    """The options that remake any of an experiment's runs: it reads the params file."""
    return changed_fields(experiment, apart_from=("widths", "seeds")) if experiment else ""


def _remake(record: record_format.Record, options: str) -> str:
    settings = record["config"]
    words = f"smooth-interpolation run params/{settings['scale']}/{settings['experiment']}.yaml"
    return f"{words} --width {settings['width']} --seed {settings['seed']} --force{options}"


def changed_fields(experiment: Experiment, apart_from: Sequence[str] = ()) -> str:
    """The options of the command line that say where an experiment differs from its params file."""
    if not (file := locations.params_file(experiment.scale, experiment.experiment)).is_file():
        return ""  # it is a reader's own, elsewhere
    filed = config.load(file)
    fields = [field for field in config.FIELDS if field not in apart_from]
    changed = [field for field in fields if getattr(experiment, field) != getattr(filed, field)]
    return "".join(f" --set {shlex.quote(f'{field}={_plain(getattr(experiment, field))}')}" for field in changed)


def origin(records: Sequence[record_format.Record], experiment: Experiment | None = None) -> str:
    """The table of `origin_table`, folded."""
    table = origin_table(records, experiment)
    head = "".join(f'<th scope="col">{name}</th>' for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(_cell(name, value) for name, value in row.items())}</tr>" for _, row in table.iterrows()
    )
    runs = f"{len(table)} run{'s' if len(table) > 1 else ''}"
    return (
        f'<details class="origin"><summary>Origin of this figure: {runs}</summary>'
        '<div class="scrolls" tabindex="0" role="group" aria-label="Origin of this figure">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _cell(name: str, value: object) -> str:
    text = html.escape(str(value))
    return f"<td><code>{text}</code></td>" if name in ("commit", "data", "to remake it") else f"<td>{text}</td>"


def _plain(value: Any) -> str:
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, tuple) else str(value)


def _uri(file: str, content: bytes) -> str:
    """The content as an address; `book_files` reads the file's name from it."""
    kind = TYPES[file.rsplit(".", 1)[1]]
    return f"data:{kind};name={file};base64,{base64.b64encode(content).decode()}"


def _link(file: str, content: bytes) -> str:
    kind = file.rsplit(".", 1)[1].upper()
    size = f"{max(1, round(len(content) / 1000))} kB"
    return f'<a download="{file}" href="{_uri(file, content)}">{kind} ({size})</a>'
