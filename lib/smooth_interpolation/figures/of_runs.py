"""The figures as pages and notebooks ask for them: of an experiment's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..runs import record_format
from ..runs.records import Records, listed
from . import paper
from .style import ACCENT


@dataclass(frozen=True)
class DrawnFrom:
    """What a figure shows: its name, the records, and the rows of their table that are in it."""

    name: str
    runs: Records
    table: pd.DataFrame


def mark_explored(figure: Figure, widths: Iterable[int]) -> None:
    """A small triangle below each width that the experiment does not plan, in panels over the width."""
    named = [panel for panel in figure.axes if "width" in panel.get_xlabel() and not panel.collections]
    for panel in named:
        for width in widths:
            panel.plot(
                [width],
                [0],
                "^",
                transform=panel.get_xaxis_transform(),
                color=ACCENT,
                markersize=4,
                clip_on=False,
                label="_explored",
            )


def of_runs(name: str) -> Callable[..., Figure]:
    """The function that draws the figure of that name, a key of `paper.FIGURES`: `function(runs, mark_width=15)`.

    `figure.again` draws one with other options: `again(narrow=True)` for a phone.
    """
    kind = paper.FIGURES[name]

    def draw(runs: Iterable[record_format.Record], *, mark_width: int | None = None, **options: Any) -> Figure:
        runs = listed(runs)
        figure = paper.draw(name, runs, width=mark_width, **options)
        figure.again = partial(draw, runs, mark_width=mark_width, **options)
        if isinstance(runs, Records):
            table = paper.data(name, paper.table_of(kind, runs))
            mark_explored(figure, [width for width in runs.explored if width != mark_width])
            figure.drawn_from = DrawnFrom(name, runs, table)
        return figure

    draw.__name__ = draw.__qualname__ = name.replace("-", "_")
    draw.__doc__ = f"""{kind.function.__doc__}

    Args:
        runs: from `smooth_interpolation.records`, or any records of one family.
        mark_width: a width to mark.
        options: the others of `paper.{kind.function.__name__}`.
    """
    return draw
