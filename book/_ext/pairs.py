"""The notebook beside each page: written from the page's text, which is the source, whatever is newer.

`python book/_ext/pairs.py book/*.md` (of a pair, either may be named) says which notebooks it changes. Text is never written. Cells that stay
keep their ids, and new ones get theirs from their content: the same text gives the same bytes.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext  # type: ignore[import-untyped]
import nbformat

from smooth_interpolation import files
from smooth_interpolation.errors import DataError, UserError


def write(text: Path) -> bool:
    """Make the `.ipynb` beside a `.md` what the `.md` says, without outputs; whether that changed it.

    Raises:
        DataError: if the text cannot be read as a page, or has no header.
    """
    try:
        page = jupytext.read(text)
    except (OSError, ValueError) as error:
        raise DataError(f"{text} is no page of text and code cells ({str(error).splitlines()[0]}).") from None
    if "kernelspec" not in page.metadata:
        raise DataError(
            f"{text} has no header that names a kernel: begin it as other pages do, or its cells are not run."
        )
    notebook = text.with_suffix(".ipynb")
    before = notebook.read_bytes() if notebook.is_file() else b""
    kept = _ids(before)
    seen: set[str] = set()
    for number, cell in enumerate(page.cells):
        ids = kept[cell.cell_type, cell.source]
        cell.id = ids.pop(0) if ids else hashlib.sha256(f"{cell.cell_type} {cell.source}".encode()).hexdigest()[:8]
        if cell.id in seen:
            cell.id = hashlib.sha256(f"{number} {cell.source}".encode()).hexdigest()[:8]
        seen.add(cell.id)
    page.metadata.get("jupytext", {}).pop("text_representation", None)
    after = (nbformat.writes(page).rstrip("\n") + "\n").encode()
    if after == before:
        return False
    files.write_atomically(notebook, lambda file: file.write(after))
    return True


def _ids(content: bytes) -> defaultdict[tuple[str, str], list[str]]:
    """The ids of a notebook's cells by what is in them; none if it is no notebook."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    try:
        cells: Sequence[Any] = nbformat.reads(content.decode(), as_version=4).cells
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError):
        return found
    for cell in cells:
        if "id" in cell:
            found[cell.cell_type, cell.source].append(cell.id)
    return found


def main(names: Sequence[str]) -> None:
    for text in sorted({Path(name).with_suffix(".md") for name in names}):
        if write(text):
            print(f"{text.with_suffix('.ipynb')} is written from {text}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
