"""What the pages of the book share: `book.says(runs, ...)`, `book.verdicts_on(runs, "Figure 2")` and their kin."""

from ..runs import resources
from .captioned import table
from .pages import (
    about,
    caption,
    check_names,
    fields,
    instrument,
    no_parameters,
    numbers,
    require,
    says,
    takeaway,
    vector_figures,
    verdicts_by_scale,
    verdicts_on,
    walk,
    what_is_missing,
)
from .presentation import show

__all__ = [
    "about", "caption", "check_names", "fields", "instrument", "no_parameters", "numbers", "require", "says", "show", "table", "takeaway",
    "vector_figures", "verdicts_by_scale", "verdicts_on", "walk", "what_is_missing",
]  # fmt: skip

resources.end_quickly()  # the kernel of a page
