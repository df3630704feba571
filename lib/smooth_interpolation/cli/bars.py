"""A sweep's progress on a terminal: a bar for the whole, and one for each run under way."""

from __future__ import annotations

from collections.abc import Callable
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

from ..config import Experiment, Run
from ..runs.watching import Outcome


def sweep(
    experiment: Experiment,
    todo: list[Run],
    console: Console,
    do: Callable[..., Outcome],
    **options: Any,
) -> Outcome:
    """An engine's sweep with a bar for the whole and one for each run under way; `options` are that engine's."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    total = len(experiment.runs())
    tasks: dict[Run, TaskID] = {}

    def watch(run: Run, kind: str, status: Any) -> None:
        if kind != "status":
            if run in tasks:
                bars.remove_task(tasks.pop(run))
            bars.advance(whole)
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
        whole = bars.add_task(
            f"{experiment.scale}/{experiment.name}", total=total, completed=total - len(todo), news="runs"
        )
        return do(todo, watch=watch, **options)
