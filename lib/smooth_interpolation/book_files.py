"""A Sphinx extension: files that a page's outputs hold as data addresses become files beside the page.

`presentation` names them, `data:text/csv;name=fig2-laptop.csv;base64,...`; they are written to `_downloads/`, so that
pages stay small and a figure that is shown and offered for download is kept once.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

NAMED = re.compile(r"data:[a-z+/]+;name=([\w.-]+);base64,([A-Za-z0-9+/=]+)")


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", _write_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _write_files(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" not in context:
        return

    def write(match: re.Match[str]) -> str:
        name, content = match[1], base64.b64decode(match[2])
        place = f"_downloads/{hashlib.sha256(content).hexdigest()[:16]}/{name}"
        path = Path(app.outdir, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return context["pathto"](place, 1)

    context["body"] = NAMED.sub(write, context["body"])
