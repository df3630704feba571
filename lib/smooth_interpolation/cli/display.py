"""What a person sees on a terminal: records, claims, what a sweep would do and costs, and runs under way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .. import locations
from ..claims import APART, verdicts
from ..config import Run
from ..runs import cost, locks, store, tables
from ..runs.record_format import Record
from ..runs.watching import Found, Report, under_way

console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
SHORT = {"supported": "yes", "contradicted": "no", "inconclusive": "open", "not measured": "-"}
EVERY = 600.0  # seconds between two lines on a run in a log
COLOURS = {"supported": "green", "contradicted": "red", "inconclusive": "yellow", "not measured": "dim"}


def say(text: object, to: Console = console) -> None:
    """As it is, since it may hold a path or a command: no letter of it read as a style, and its line not broken."""
    to.print(text, markup=False, soft_wrap=True)


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
    """A bar for so many runs, of which some are done, and one for each under way, as what is reported moves them.

    Where there is no terminal, as in the log of a job, a line on each run under way now and then.
    """
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
    told: dict[Run, float] = {}

    def watch(run: Run, kind: str, status: Any) -> None:
        if kind != "status":
            if run in tasks:
                shown.remove_task(tasks.pop(run))
            shown.advance(whole)
            if not disable:
                shown.console.print(f"{run}: {kind}", soft_wrap=True)
            return
        if run not in tasks:
            where = f", {status.device}" if status.device != "cpu" else ""
            tasks[run] = shown.add_task(f"  w = {run.width}, seed {run.seed}{where}", total=run.epochs, news="")
        news = "starting" if status.stage == "start" else f"images measured, of {status.total}"
        if status.stage == "train":
            news = f"epochs, loss {status.loss:.3f}, error {status.error:.1f}%"
        shown.update(tasks[run], completed=status.done, total=status.total, news=news)
        now = time.monotonic()
        if not console.is_terminal and now - told.setdefault(run, now) >= EVERY:
            say(f"{run}: {status.done}/{status.total} {news}", console)
            told[run] = now

    with shown:
        whole = shown.add_task(title, total=total, completed=done, news="runs")
        yield watch


def measure(run: Run, root: Path | None, console: Console, **options: Any) -> Record:
    """`single.measure` with bars on a terminal."""
    from ..runs import single  # it needs PyTorch, which looking at files does not

    with bars(f"{run.scale}/{run.name}", 1, 0, console, disable=not console.is_terminal) as watch:
        return single.measure(run, root, watch, **options)


def plan(
    todo: list[Run], planned: list[Run], workers: int, device: str, root: Path | None = None
) -> Iterator[str | Table]:
    """What a sweep would do, so many runs side by side: each with its predicted cost and where it would begin, and the whole.

    The cost is told by the records of `planned`, runs of the same experiment, on the same kind of device, "cpu" or "cuda".
    """
    records = store.read_all(planned, root)
    table = Table("run", "begins", "predicted time")
    times: list[float | None] = []
    for run in todo:
        state, owner = locks.Observer().state(store.lock_path(run, root))
        name = f"w = {run.width}, seed {run.seed}"
        if state in ("alive", "undecided"):
            table.add_row(name, f"in progress on {owner}: left out", "-")
            continue
        times.append(seconds := seconds_left([run], records, device, root))
        table.add_row(name, _reached(run, root)[1], "unknown" if seconds is None else cost.duration(seconds))
    yield table
    runs = "1 run" if len(times) == 1 else f"{len(times)} runs"
    if None in times:
        yield f"{runs} would be done; none like them has been measured on this kind of device, so their time is unknown."
    else:
        beside = max(1, min(workers, len(times)))
        time = cost.duration(sum(filter(None, times)) / beside)
        yield f"{runs} would be done, in about {time} on {cost.workers(beside, device)}. Nothing was started."


def seconds_left(runs: Iterable[Run], records: Sequence[Record], device: str, root: Path | None = None) -> float | None:
    """How long runs take from their checkpoints on, by the records of a kind of device, or of others; None if there are none."""
    total = 0.0
    for run in runs:
        whole = cost.predict_seconds([run], records, device)
        if whole is None:
            guess = cost.expected(run, cost.known(locations.repository() / "results"), device)
            if guess is None:
                return None
            whole = guess[0]
        total += whole * (1 - _reached(run, root)[0] / run.epochs)
    return total


def costs(todo: Iterable[Run], records: Sequence[Record], device: str, root: Path | None = None) -> dict[Run, float]:
    """What is left of runs of one experiment, beside each other: see `cost.relative`."""
    return {
        run: whole * (1 - 0.95 * _reached(run, root)[0] / run.epochs)  # a trained network is still to be measured
        for run, whole in cost.relative(todo, records, device).items()
    }


def left(
    missing: Sequence[Run], n: int, planned: Sequence[Run], workers: int, device: str, root: Path | None = None
) -> str:
    """What a limit of time left of the n runs of a sweep, in words; the other arguments are those of `plan`."""
    seconds = seconds_left(missing, store.read_all(planned, root), device, root)
    beside = min(workers, len(missing))
    time = "" if seconds is None else f", about {cost.duration(seconds / beside)} on {cost.workers(beside, device)}"
    return f"{len(missing)} of {n} runs are left{time}"


def time_left(missing: Sequence[Run], records: Sequence[Record]) -> str:
    """How long the missing runs take on the kind of device that has records of such: "2 min 10 s on one GPU"."""
    if not missing:
        return "-"
    for device in ("cpu", "cuda"):
        seconds = cost.predict_seconds(missing, records, device)
        if seconds is not None:
            return f"{cost.duration(seconds)} on {cost.workers(1, device)}"
    return "unknown"


def in_words(runs: Iterable[Run]) -> str:
    """Widths that lack the same seeds together: "w = 1, 2: seeds 0, 1; w = 4: seed 1"."""
    seeds: dict[int, list[str]] = {}
    for run in runs:
        seeds.setdefault(run.width, []).append(str(run.seed))
    widths: dict[str, list[str]] = {}
    for width, those in seeds.items():
        widths.setdefault(f"seed{'s' * (len(those) > 1)} {', '.join(those)}", []).append(str(width))
    return "; ".join(f"w = {', '.join(those)}: {name}" for name, those in widths.items())


def besides(directory: Path, planned: Set[Path]) -> str:
    """The records of an experiment that its params file does not plan: other widths and seeds, and fields set apart from it."""
    widths = [path.stem for path in sorted(directory.glob("w*-s*.json")) if path not in planned]
    others = [(path.name, len(list(path.glob("w*-s*.json")))) for path in directory.parent.glob(f"{directory.name}+*")]
    found = [f"{name}: {number}" for name, number in sorted(others) if number]
    parts = [f"records {of} {', '.join(names)}" for of, names in (("of", widths), ("with", found)) if names]
    where = f"{directory.parent.name}/{directory.name}"
    return f"{where}, besides the file, in no verdict: {'; '.join(parts)}" if parts else ""


def _reached(run: Run, root: Path | None) -> tuple[int, str]:
    """The epoch that its latest sound checkpoint is in or has finished, and where the run would begin."""
    from ..runs import checkpoints  # it needs PyTorch, which looking at files does not

    for path in checkpoints.DiskKeeper(run, root).paths():
        try:
            progress = checkpoints.read_file(path)[1]["progress"]
            epoch = int(progress["epoch"])
            return epoch, "trained: is measured" if progress["done"] else f"goes on in epoch {epoch} of {run.epochs}"
        except (ValueError, KeyError, TypeError):
            continue
    return 0, "anew"


def in_progress(directories: Iterable[Path]) -> Iterator[str | Table]:
    """For each of these directories of records a table of the runs in progress there, and those that stopped or failed."""
    for directory in directories:
        place, others = f"{directory.parent.name}/{directory.name}", []
        table = Table("run", "doing", "error", "speed", "time left", "where", title=f"{place}, in progress")
        table.title_justify = "left"
        for found in under_way(directory):
            if (directory / f"w{found.width:03d}-s{found.seed}.json").exists():
                continue  # it was killed just after its record was written
            name = f"w{found.width}-s{found.seed}"
            if found.alive is False:
                others.append(f"{place} {name}: {found}")
            else:
                table.add_row(name, *_row(found))
        if table.row_count:
            yield table
        yield from others


def _row(found: Found) -> tuple[str, ...]:
    unit = {"train": "epochs", "measure": "points"}.get(found.stage, "")
    speed = f"{found.per_second:.3g} {unit}/s" if found.per_second and found.alive else "-"
    left = "-" if found.seconds_left is None else cost.duration(found.seconds_left)
    error = "-" if found.error is None else f"{found.error:.1f}%"
    where = found.host if found.device == "cpu" else f"{found.device} of {found.host}"
    return str(found), error, speed, left, f"{where}, {found.pid}, {found.engine}"
