"""A sweep's progress on a terminal: a bar for the whole, and one for each run under way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..config import Run
from ..runs.record_format import Record
from ..runs.watching import Report


@contextlib.contextmanager
def shown(title: str, total: int, done: int, console: Console, disable: bool = False) -> Iterator[Report]:
    """A bar for so many runs, of which some are done, and one for each under way, as what is reported moves them."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=disable,
    )
    tasks: dict[Run, TaskID] = {}

    def watch(run: Run, kind: str, status: Any) -> None:
        if kind != "status":
            if run in tasks:
                bars.remove_task(tasks.pop(run))
            bars.advance(whole)
            if not disable:
                bars.console.print(f"{run}: {kind}")
            return
        if run not in tasks:
            where = f", {status.device}" if status.device != "cpu" else ""
            tasks[run] = bars.add_task(f"  w = {run.width}, seed {run.seed}{where}", total=run.epochs, news="")
        news = "starting" if status.stage == "start" else f"images measured, of {status.total}"
        if status.stage == "train":
            news = f"epochs, loss {status.loss:.3f}, error {status.error:.1f}%"
        bars.update(tasks[run], completed=status.done, total=status.total, news=news)

    with bars:
        whole = bars.add_task(title, total=total, completed=done, news="runs")
        yield watch


def measure(run: Run, root: Path | None, console: Console, **options: Any) -> Record:
    """`single.measure` with bars on a terminal."""
    from ..runs import single  # it needs PyTorch, which looking at files does not

    with shown(f"{run.scale}/{run.name}", 1, 0, console, disable=not console.is_terminal) as watch:
        record = single.measure(run, root, partial(watch, run, "status"), **options)
        watch(run, record["status"], None)
    return record
