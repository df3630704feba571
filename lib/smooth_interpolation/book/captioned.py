"""A table of a page: with a caption, heads that say what they are heads of, and numbers aligned right with their heads."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from ..runs.tables import markdown

NUMBER = re.compile(r"([-−+<>]?\d[\d,.]*(e[-−+]?\d+)?( ?%| of \d+)?( \([^)]*\))?|[-–]?)$")


class Printed(HTML):  # type: ignore[misc]
    """HTML for screens, and the same as Markdown for LaTeX, which takes no HTML."""

    def __init__(self, data: str, markdown: str):
        super().__init__(data)
        self.markdown = markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


def table(frame: pd.DataFrame, caption: str, index: bool = True, folded: bool = False) -> Any:
    """A table for a page, with a caption that assistive technology finds, too; perhaps folded, for a click to open.

    Args:
        frame: of texts and numbers; `code` and $x$ in them are set as such.
        caption: of the table.
        index: the frame's index is shown, as the heads of the rows.
        folded: only the caption is seen at first.
    """
    n_heads = frame.index.nlevels if index else 0
    names = [*(str(name or "") for name in frame.index.names[:n_heads]), *map(str, frame.columns)]
    rows = [
        [*(place if isinstance(place, tuple) else (place,))[:n_heads], *values]
        for place, values in zip(frame.index, frame.itertuples(index=False, name=None), strict=True)
    ]
    texts = [list(map(str, row)) for row in rows]
    aligned = [
        ' class="number"' if any(column) and all(map(NUMBER.match, column)) else ""
        for column in (list(column) for column in zip(*texts, strict=True))
    ] or [""] * len(names)
    head = "".join(f'<th scope="col"{kind}>{_set(name)}</th>' for name, kind in zip(names, aligned, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row"{kind}>{_set(text)}</th>' if i < n_heads else f"<td{kind}>{_set(text)}</td>"
            for i, (text, kind) in enumerate(zip(row, aligned, strict=True))
        )
        + "</tr>"
        for row in texts
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    box = '<div class="pst-scrollable-table-container"><table class="captioned">'
    cells = [[text.replace("|", r"\|") for text in row] for row in texts]
    printed = f"{caption}\n\n{markdown(pd.DataFrame(cells, columns=names))}"
    if folded:
        return Printed(f"<details><summary>{_set(caption)}</summary>{box}{inner}</div></details>", printed)
    return Printed(f"{box}<caption><span>{_set(caption)}</span></caption>{inner}</div>", printed)


def _set(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\$([^$]+)\$", r'<span class="math notranslate nohighlight">\\(\1\\)</span>', text)
