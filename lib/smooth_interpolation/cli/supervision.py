"""Sweeps as their supervisor sees them: what would run and what it costs, and what runs now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

from rich.table import Table

from .. import locations
from ..config import Run
from ..runs import cost, locks, record_format, store
from ..runs.cost import duration
from ..runs.watching import Found, under_way


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
        table.add_row(name, _reached(run, root)[1], "unknown" if seconds is None else duration(seconds))
    yield table
    runs = "1 run" if len(times) == 1 else f"{len(times)} runs"
    if None in times:
        yield f"{runs} would be done; none like them has been measured on this kind of device, so their time is unknown."
    else:
        beside = max(1, min(workers, len(times)))
        time = duration(sum(filter(None, times)) / beside)
        yield f"{runs} would be done, in about {time} on {cost.workers(beside, device)}. Nothing was started."


def seconds_left(
    runs: Iterable[Run], records: Sequence[record_format.Record], device: str, root: Path | None = None
) -> float | None:
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


def costs(
    todo: Iterable[Run], records: Sequence[record_format.Record], device: str, root: Path | None = None
) -> dict[Run, float]:
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
    time = "" if seconds is None else f", about {duration(seconds / beside)} on {cost.workers(beside, device)}"
    return f"{len(missing)} of {n} runs are left{time}"


def time_left(missing: Sequence[Run], records: Sequence[record_format.Record]) -> str:
    """How long the missing runs take on the kind of device that has records of such: "2 min 10 s on one GPU"."""
    if not missing:
        return "-"
    for device in ("cpu", "cuda"):
        seconds = cost.predict_seconds(missing, records, device)
        if seconds is not None:
            return f"{duration(seconds)} on {cost.workers(1, device)}"
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
    parts = [f"records of {', '.join(widths)}"] * bool(widths) + [f"records with {', '.join(found)}"] * bool(found)
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
    left = "-" if found.seconds_left is None else duration(found.seconds_left)
    error = "-" if found.error is None else f"{found.error:.1f}%"
    where = found.host if found.device == "cpu" else f"{found.device} of {found.host}"
    return str(found), error, speed, left, f"{where}, {found.pid}, {found.engine}"
