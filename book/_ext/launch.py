"""A Sphinx extension: buttons of a page to take its notebook away, and to open it where the book's repository is known.

Every page offers its notebook for download, which needs no network. Where the book is published, $BOOK_REPOSITORY gives
the repository's address, and its pages also link there, to Binder and to Colab; without it no address is invented.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

REPOSITORY_VARIABLE = "BOOK_REPOSITORY"
BRANCH_VARIABLE = "BOOK_BRANCH"


def setup(app: Any) -> dict[str, Any]:
    app.connect("config-inited", link_repository)
    app.connect("html-page-context", offer_notebook, priority=400)  # before the theme makes its buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def link_repository(app: Any, settings: Any) -> None:
    """Turn on the theme's launch and repository buttons, if an address is given."""
    address = os.environ.get(REPOSITORY_VARIABLE, "").strip().rstrip("/")
    if not address:
        return
    settings.html_theme_options = {
        **settings.html_theme_options,
        "repository_url": address,
        "repository_branch": os.environ.get(BRANCH_VARIABLE) or "main",
        "path_to_docs": "book",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }


def offer_notebook(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the page's notebook, which is kept beside its text, among the files that its download button offers."""
    notebook = Path(app.srcdir, f"{pagename}.ipynb")
    if doctree is None or not notebook.is_file():
        return
    target = Path(app.outdir, "_sources", f"{pagename}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(notebook, target)
    context["ipynb_source"] = f"{pagename}.ipynb"
