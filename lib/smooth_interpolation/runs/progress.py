"""Progress bars: for one run, on a terminal and in a notebook, and for a sweep, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
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
from tqdm.auto import tqdm

from ..config import Experiment, Run
from ..errors import RecordError
from . import single, store, work
from . import sweep as engine


def measure(run: Run, root: Path | None = None, **options: Any) -> store.Record:
    """Train and measure one network and keep its record, with a bar for each.

    Everything that can be checked is checked first: the data, the place of the record, the records beside it.

    Args:
        run: what to do.
        root: of the records; None: the usual place.
        options: the others of `work.Options`.
    """
    single.choose_device(options.get("device", "auto"))
    store.check_writable(run, root)
    prepared = single.prepare(run)
    store.check_same_data(run, prepared.dataset.fingerprint, root)
    skipped: list[str] = []
    with _bars(run) as watch:

        def report(_: Run, kind: str, content: Any) -> None:
            if kind == "status":
                watch(content)
            elif kind == "skipped":
                skipped.append(content)

        work.do([run], work.Options(root=root, engine="run", **options), report, prepared=prepared, reraise=True)
    record = store.read(run, root)
    if record is None:
        raise RecordError(
            f"{run}: {skipped[0].removesuffix('.')}; wait for it, or look at smooth-interpolation status."
        )
    return record


@contextlib.contextmanager
def _bars(run: Run) -> Iterator[single.Watch]:
    """A bar for training, with loss, error and the time left, and another for measuring."""
    bars: dict[str, tqdm] = {}

    def watch(status: single.Status) -> None:
        if status.stage not in bars:
            name, unit = f"w = {run.width}, seed {run.seed}", "epoch"
            if status.stage == "measure":
                name, unit = f"{name}, measuring", "image"
            bars[status.stage] = tqdm(total=status.total, desc=name, unit=unit, mininterval=0.5)
        bar = bars[status.stage]
        if status.stage == "train":
            bar.set_postfix(loss=f"{status.loss:.3f}", error=f"{status.error:.1f}%", refresh=False)
        bar.update(status.done - bar.n)

    try:
        yield watch
    finally:
        for bar in bars.values():
            bar.close()


def sweep(
    experiment: Experiment,
    todo: list[Run],
    console: Console,
    do: Callable[..., engine.Outcome] = engine.sweep,
    **options: Any,
) -> engine.Outcome:
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

    def watch(event: engine.Event) -> None:
        if event.outcome:
            if event.run in tasks:
                bars.remove_task(tasks.pop(event.run))
            bars.advance(whole)
            bars.console.print(f"{event.run}: {event.outcome}")
            return
        if event.run not in tasks:
            where = f", {event.device}" if (event.device or "cpu") != "cpu" else ""
            name = f"  w = {event.run.width}, seed {event.run.seed}{where}"
            tasks[event.run] = bars.add_task(name, total=event.run.epochs, news="")
        status = event.status
        news = "starting" if status.stage == "start" else f"images measured, of {status.total}"
        if status.stage == "train":
            news = f"epochs, loss {status.loss:.3f}, error {status.error:.1f}%"
        bars.update(tasks[event.run], completed=status.done, total=status.total, news=news)

    with bars:
        whole = bars.add_task(
            f"{experiment.scale}/{experiment.name}", total=total, completed=total - len(todo), news="runs"
        )
        return do(todo, watch=watch, **options)
