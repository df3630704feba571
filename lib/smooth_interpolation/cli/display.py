"""What a person sees on a terminal: records, claims, and bars of runs under way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..claims import APART, verdicts
from ..config import Run
from ..runs import cost, store, tables
from ..runs.record_format import Record
from ..runs.watching import Report

console, errors = Console(), Console(stderr=True)
SHORT = {"supported": "yes", "contradicted": "no", "inconclusive": "open", "not measured": "-"}
COLOURS = {"supported": "green", "contradicted": "red", "inconclusive": "yellow", "not measured": "dim"}


def record_summary(record: Record) -> Iterator[str | Table]:
    """What was run, how it went, its volumes, and where it comes from."""
    settings, data, origin = record["config"], record["data"], record["provenance"]
    yield (
        f"[bold]{settings['scale']}/{settings['experiment']}, {settings['model']} of width {settings['width']}, "
        f"seed {settings['seed']}: {record['status']}[/]"
    )
    if record["history"]:
        last = record["history"][-1]
        train = ", ".join(f"{subset} {value:.2f}%" for subset, value in last["train_error"].items())
        yield f"Epoch {last['epoch']}: test error {last['test_error']:.2f}%; training error {train}"
    if record["volumes"]:
        names = [name.replace("residual norm", "residual") for name in tables.METRICS.values()]  # to fit into a line
        table = Table("points", *names, box=None, padding=(0, 1, 0, 0), header_style="bold")
        for row in sorted(record["volumes"], key=lambda r: (r["subset"], r["size"])):
            means = (f"{row[metric]['mean']:.4g}" for metric in tables.METRICS)
            table.add_row(f"{row['subset']} {row['size']}", *means)
        yield table
        yield "The number beside them: augmentations per path; 0 is the point itself."
    changes = ", with changes" if origin["dirty"] else ""
    yield (
        f"{data['n_train']:,} training images, {data['n_corrupted']:,} with a wrong label; {store.describe_data(record)}\n"
        f"{origin['device_name']}, {origin['threads']} thread(s), {origin['precision']}, "
        f"{cost.duration(cost.seconds(record))}; commit {(origin['commit'] or 'unknown')[:12]}{changes}"
    )


def claims_by_scale(overview: pd.DataFrame) -> Iterator[str | Table]:
    """Every claim at every scale with records, in a line of 80 characters: the verdict and the size of the effect."""
    scales = verdicts.measured_scales(overview)
    for (figure, experiment), part in verdicts.groups(overview):
        table = Table(f"{figure}, {experiment}", *scales, box=None, padding=(0, 1, 0, 0), header_style="bold")
        table.columns[0].width = 40
        for column in table.columns[1:]:
            column.width = 12
        for name, rows in part.groupby(level=0, sort=False):
            by_scale = {row.scale: row for row in rows.itertuples()}
            table.add_row(f" {name}", *(_short(by_scale.get(scale)) for scale in scales))
        yield table
    yield ""
    for scale in scales:
        yield f"{scale}: {verdicts.count(overview[overview.scale == scale]).replace('**', '')}."
    yield (
        "yes: supported; no: contradicted; open: inconclusive; -: not measured. Beside it, the size of the effect:\n"
        "%: percentage points or percent; w: a width; r: an order or correlation, from -1 to 1; else of a loss or norm.\n"
        "With a params file: what was found, the spread, and what the effect is."
    )


def _short(row: Any) -> str:
    if row is None:
        return ""
    return f"[{COLOURS[row.verdict]}]{SHORT[row.verdict]:<4}[/] {_sized(row)}"


def _sized(row: Any) -> str:
    """The effect with the sign of its unit."""
    size = verdicts.effect(row)
    if not size:
        return ""
    sign = {"width": "w", "order": "r", "rank": "r"}.get(row.measure.split()[0], "")
    return f"{sign}{size}{'%' if 'percent' in row.measure else ''}"


def claims_of_one(table: pd.DataFrame) -> Iterator[str | Table]:
    """The claims about one experiment, in sentences; those that do not apply by name, after them."""
    apart = table.sentence.str.startswith(APART)
    for name, row in zip(table.index[~apart], table[~apart].itertuples(), strict=True):
        yield f"[bold]{row.statement}[/] ({'; '.join(filter(None, (row.place, name)))})"
        value = f" {row.measure}: {verdicts.effect(row)} ({verdicts.spread(row)})." if verdicts.effect(row) else ""
        yield f"  [{COLOURS[row.verdict]}]{row.verdict}[/]: {row.sentence}{value[:2].upper()}{value[2:]}"
    for why, others in table[apart].groupby("sentence", sort=False):
        yield f"{why} ({', '.join(others.index)})"
    yield f"{verdicts.count(table).replace('**', '').capitalize()}."


@contextlib.contextmanager
def bars(title: str, total: int, done: int, console: Console, disable: bool = False) -> Iterator[Report]:
    """A bar for so many runs, of which some are done, and one for each under way, as what is reported moves them."""
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total} {task.fields[news]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=disable,
    )
    tasks: dict[Run, TaskID] = {}

    def watch(run: Run, kind: str, status: Any) -> None:
        if kind != "status":
            if run in tasks:
                shown.remove_task(tasks.pop(run))
            shown.advance(whole)
            if not disable:
                shown.console.print(f"{run}: {kind}")
            return
        if run not in tasks:
            where = f", {status.device}" if status.device != "cpu" else ""
            tasks[run] = shown.add_task(f"  w = {run.width}, seed {run.seed}{where}", total=run.epochs, news="")
        news = "starting" if status.stage == "start" else f"images measured, of {status.total}"
        if status.stage == "train":
            news = f"epochs, loss {status.loss:.3f}, error {status.error:.1f}%"
        shown.update(tasks[run], completed=status.done, total=status.total, news=news)

    with shown:
        whole = shown.add_task(title, total=total, completed=done, news="runs")
        yield watch


def measure(run: Run, root: Path | None, console: Console, **options: Any) -> Record:
    """`single.measure` with bars on a terminal."""
    from ..runs import single  # it needs PyTorch, which looking at files does not

    with bars(f"{run.scale}/{run.name}", 1, 0, console, disable=not console.is_terminal) as watch:
        return single.measure(run, root, watch, **options)
