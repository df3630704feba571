"""A table of a page: with a caption, heads that say what they are heads of, and numbers aligned right with their heads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from .facts import unbroken

NUMBER = re.compile(r"([-−+<>]?\d[\d,.]*(e[-−+]?\d+)?( ?%| of \d+)?([ \xa0]\([^)]*\))?|[-–]?)$")
MARKS = (
    (r"`([^`]+)`", r"<code>\1</code>"),
    (r"\$([^$]+)\$", r'<span class="math notranslate nohighlight">\\(\1\\)</span>'),
    (r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>'),
    (r"\*\*([^*]+)\*\*", r"<strong>\1</strong>"),
    (r"\*([^*]+)\*", r"<em>\1</em>"),
    (r"\n", "<br>"),
)


class Rich(HTML):  # type: ignore[misc]
    """HTML, and Markdown where there is none: in LaTeX and terminals."""

    def __init__(self, html: str, text: str):
        super().__init__(html)
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def table(
    frame: pd.DataFrame | Any,
    caption: str,
    index: bool = True,
    folded: bool = False,
    places: Sequence[str] = (),
    cards: bool = False,
) -> Rich | Any:
    """A table for a page, with a caption that assistive technology finds, too; perhaps folded, for a click to open.

    Args:
        frame: of texts and numbers, or what stands in its place, which is returned; `code`, $x$, **strong**, *emphasised* and [linked](address) in them are set as such.
        caption: of the table, likewise.
        index: the frame's index is shown, as the heads of the rows.
        folded: only the caption is seen at first.
        places: the addresses of the rows in their page, if they have any.
        cards: on a phone each row is a card, for long texts.
    """
    if not isinstance(frame, pd.DataFrame):
        return frame
    n_heads = frame.index.nlevels if index else 0
    names = [*(str(name or "") for name in frame.index.names[:n_heads]), *map(str, frame.columns)]
    rows = [
        [*(place if isinstance(place, tuple) else (place,))[:n_heads], *values]
        for place, values in zip(frame.index, frame.itertuples(index=False, name=None), strict=True)
    ]
    texts = [list(map(str, row)) for row in rows]
    aligned = [
        ' class="number"' if any(column) and all(NUMBER.match(text.strip("*")) for text in column) else ""
        for column in (list(column) for column in zip(*texts, strict=True))
    ] or [""] * len(names)
    head = "".join(f'<th scope="col"{kind}>{_set(name)}</th>' for name, kind in zip(names, aligned, strict=True))
    body = "".join(
        (f'<tr id="{place}">' if place else "<tr>")
        + "".join(
            f'<th scope="row"{kind}>{_set(text)}</th>' if i < n_heads else f"<td{kind}>{_set(text)}</td>"
            for i, (text, kind) in enumerate(zip(row, aligned, strict=True))
        )
        + "</tr>"
        for row, place in zip(texts, places or [""] * len(texts), strict=True)
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    box = f'<div class="pst-scrollable-table-container"><table class="captioned{" cards" if cards else ""}">'
    if folded:
        shown = f"<details><summary>{_set(caption)}</summary>{box}{inner}</div></details>"
    else:
        shown = f"{box}<caption><span>{_set(caption)}</span></caption>{inner}</div>"
    cells = [[text.replace("\n", " ").replace("|", r"\|") for text in row] for row in texts]
    return Rich(shown, f"{caption}\n\n{plain(pd.DataFrame(cells, columns=names))}")


def plain(frame: pd.DataFrame) -> str:
    """A table of texts as Markdown, without its index."""
    return str(frame.to_markdown(index=False, stralign=None, disable_numparse=True))


def _set(text: str) -> str:
    text = escape(unbroken(text), quote=False)
    for mark, html in MARKS:
        text = re.sub(mark, html, text)
    return text
