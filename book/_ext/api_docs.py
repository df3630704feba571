"""A Sphinx extension: docstrings, which are written to be read as they stand, made into the markup that autodoc takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECTIONS = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Warns|Example):$")
EQUATION = re.compile(r"Equation (\d)")
LISTED = re.compile(r"^\.\. auto\w+:: (smooth_interpolation[\w.]*\.(\w+))$", re.MULTILINE)
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def setup(app: Any) -> dict[str, Any]:
    page = Path(app.srcdir, "api.md")
    listed = dict((name, path) for path, name in LISTED.findall(page.read_text())) if page.exists() else {}

    def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        lines[:] = rewrite(lines, listed)

    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon's
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def rewrite(lines: list[str], listed: Mapping[str, str]) -> list[str]:
    """Code and formulas as such; equations, and functions that are documented, as links to where they stand.

    Args:
        lines: of a docstring.
        listed: what is documented, from names to whole paths.
    """

    def code(match: re.Match[str]) -> str:
        path = listed.get(match[1].split(".")[-1], "")
        return f":py:obj:`{match[1]} <{path}>`" if path.endswith(match[1]) else f"``{match[1]}``"

    result: list[str] = []
    for i, line in enumerate(lines):
        before = lines[i - 1] if i else ""
        if ">>>" not in line and not _in_example(lines, i):
            line = CODE.sub(code, line)
            line = line.replace("||", "\u2016").replace("\u2016_F", "\u2016\\ :sub:`F`\\ ").replace("*(", "\\*(")
            line = EQUATION.sub(r"Equation :eq:`eq\1`", line)
            if _indent(line) and not before.strip() and not _in_section(lines, i) and _ends(lines, i - 2, ":"):
                result[-2] = result[-2] + ":"  # the sentence that the formula belongs to: a literal block follows
        result.append(line)
    return result


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else 0


def _ends(lines: list[str], i: int, mark: str) -> bool:
    return i >= 0 and lines[i].endswith(mark)


def _in_section(lines: list[str], i: int) -> bool:
    """Whether a line belongs to Args, Returns and the like, which are indented too."""
    while i >= 0 and (not lines[i].strip() or _indent(lines[i])):
        i -= 1
    return i >= 0 and bool(SECTIONS.match(lines[i]))


def _in_example(lines: list[str], i: int) -> bool:
    """Whether a line is what an example prints."""
    while i >= 0 and lines[i].strip():
        if ">>>" in lines[i]:
            return True
        i -= 1
    return False
