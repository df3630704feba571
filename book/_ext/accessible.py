"""A Sphinx extension: what the theme's HTML lacks for readers with assistive technology, and has too much of for all."""

from __future__ import annotations

from typing import Any

REPLACED = {
    'role="doc-biblioentry"': 'role="listitem"',  # deprecated by ARIA 1.3, and no child that a list may have
    '<th class="head': '<th scope="col" class="head',
    '<th class="stub': '<th scope="row" class="stub',
}
UNUSED = "thebe"  # code that runs in the page would need another host; its scripts come along with Jupyter Book


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", mend, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def mend(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    for old, new in REPLACED.items():
        if "body" in context:
            context["body"] = context["body"].replace(old, new)
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if UNUSED not in f"{script.filename} {script.attributes.get('body')}".lower()
    ]
