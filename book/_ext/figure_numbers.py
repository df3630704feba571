"""A Sphinx extension: figures of the paper have the paper's numbers, those of this edition S1, S2, ... as they are read.

The name of a figure says which it is: `fig-2` is Figure 2, `fig-1ab` Figure 1a and b; one that ends with `-again`, as `fig-2-again`, shows a figure
at another scale and has no number of its own. All other names are of this edition.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

PAPER = re.compile(r"fig-(\d[a-d]?)([a-d]?)")


def setup(app: Any) -> dict[str, Any]:
    app.connect("env-get-updated", number, priority=900)  # after Sphinx has counted
    app.connect("doctree-resolved", number_for_latex)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def number(app: Any, env: Any) -> list[str]:
    own = 0
    for kinds in env.toc_fignumbers.values():
        figures = kinds.get("figure", {})
        for name in list(figures):
            if name.endswith("-again"):
                del figures[name]
            elif known := PAPER.fullmatch(name):
                figures[name] = (" and ".join(filter(None, known.groups())),)
            else:
                own += 1
                figures[name] = (f"S{own}",)
    return []


def number_for_latex(app: Any, doctree: Any, docname: str) -> None:
    """LaTeX counts by itself; before each figure it is told the number."""
    if app.builder.format != "latex":
        return
    known = {name: n for kinds in app.env.toc_fignumbers.values() for name, n in kinds.get("figure", {}).items()}
    for figure in list(doctree.findall(nodes.figure)):
        text = next((known[name][0] for name in figure["ids"] if name in known), None)
        command = rf"\renewcommand{{\thefigure}}{{{text}}}" if text else r"\renewcommand{\thefigure}{\unskip}"
        figure.parent.insert(figure.parent.index(figure), nodes.raw("", command, format="latex"))
