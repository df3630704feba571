"""A Sphinx extension: the bibliography style `author_year`, whose labels are those of the citations, Gamba et al., 2023."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as Plain
from pybtex.style.labels import BaseLabelStyle


class AuthorYearLabels(BaseLabelStyle):
    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        for entry in sorted_entries:
            names = [" ".join(person.last_names) for person in entry.persons["author"]]
            authors = " and ".join(names) if len(names) <= 2 else f"{names[0]} et al."
            yield f"{authors}, {entry.fields['year']}"


class AuthorYear(Plain):
    default_label_style = AuthorYearLabels


def setup(app: Any) -> dict[str, Any]:
    register_plugin("pybtex.style.formatting", "author_year", AuthorYear)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
