"""A Sphinx extension: pages are built again when what they are drawn from changed, and their files lie beside them.

Sphinx looks at the pages' own text alone. Here a build also reads all pages anew if records (wherever they are), params files,
notebooks or packages differ from those of the build before, so that nothing stale is shown.

Files that a page's outputs hold as data addresses become files beside the page. `presentation` names them, `data:text/csv;name=fig2-laptop.csv;base64,...`; they are written to `_downloads/`, so that
pages stay small and a figure that is shown and offered for download is kept once.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import Any

from smooth_interpolation import locations
from smooth_interpolation.claims import verdicts
from smooth_interpolation.runs import store

NAMED = re.compile(r"data:[a-z+/]+;name=([\w.-]+);base64,([A-Za-z0-9+/=]+)")


SOURCES = ("params", "benchmarks/results", "lib", "book")  # beside the records: what pages are drawn from, and by what
SUFFIXES = (".json", ".yaml", ".py", ".safetensors", ".png", ".ipynb")


def setup(app: Any) -> dict[str, Any]:
    app.connect("env-get-outdated", _outdated)
    app.connect("html-page-context", _write_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """All pages, if what they are drawn from is not what it was when they were read; else none."""
    state = sources_state(locations.repository(), locations.results())
    before, env.smooth_interpolation_sources = getattr(env, "smooth_interpolation_sources", None), state
    return [] if state == before else sorted(env.found_docs)


def sources_state(root: Path, results: Path) -> str:
    """A digest of what pages are drawn from: places, sizes and times of files, installed packages, the criteria's commit."""
    digest = hashlib.sha256(f"{sys.version} {verdicts.fixed()}\n".encode())
    for package in sorted(f"{d.name} {d.version}" for d in importlib.metadata.distributions()):
        digest.update(f"{package}\n".encode())
    for place in (results, *(root / name for name in SOURCES)):
        for folder, folders, names in os.walk(place, followlinks=True):
            folders[:] = sorted(name for name in folders if name not in (store.WORK, "_build"))
            for path in (Path(folder, name) for name in sorted(names)):
                if path.suffix in SUFFIXES and path.is_file():
                    status = path.stat()
                    digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


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
