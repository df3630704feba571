"""Runs under way, as their files tell: what each is doing, how fast, how much longer, and whether it lives.

Each run keeps a small status file beside its checkpoints, rewritten at most every two seconds. Whoever reads the results'
directory sees all runs there, on whatever machine and by whatever engine they are done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, FiniteFloat

from .. import files
from ..config import Run
from . import locks, store

INTERVAL = 2.0  # seconds between rewritings
LARGEST = 10_000  # bytes of a status file
UNDER_WAY = ("start", "train", "measure")


@dataclass(frozen=True)
class Status:
    """What a run is doing, for progress displays."""

    stage: str  # "train" or "measure"
    done: int
    total: int
    loss: float = float("nan")
    error: float = float("nan")  # of the epoch's batches, in percent
    device: str = "cpu"  # such as "cuda:1"


Report = Callable[[Run, str, Any], None]  # what `work.do` tells of a run: see there


class Found(BaseModel, strict=True, extra="forbid"):
    """A run that was begun and has no record: as its status file says, and whether its process lives."""

    width: int
    seed: int
    epochs: int
    engine: str
    host: str
    pid: int
    stage: str = "start"
    done: int = 0
    total: int = 1
    loss: FiniteFloat | None = None
    error: FiniteFloat | None = None
    per_second: FiniteFloat | None = None  # epochs, or points
    started: FiniteFloat
    updated: FiniteFloat = 0.0
    log: str | None = None
    device: str = "cpu"  # such as "cuda:1"
    alive: bool | None = None  # None: on another machine that has not touched its lock for long

    @property
    def seconds_left(self) -> float | None:
        """Of its stage, at its speed."""
        return (self.total - self.done) / self.per_second if self.per_second and self.alive else None

    def __str__(self) -> str:
        if self.alive is False:
            reached = f"at epoch {self.done} of {self.total}" if self.stage == "train" else f"in stage '{self.stage}'"
            return f"failed, see {self.log}" if self.stage == "failed" else f"stopped {reached}: start again to go on"
        done = f"{self.done} of {self.total}"
        doing = {"train": f"epoch {done}", "measure": f"measured {done} points"}.get(self.stage, "starting")
        return doing + ("" if self.alive else ", but no sign of life")


class StatusFile:
    """What a run of this process is doing: by which engine, on which device, for records below a root."""

    def __init__(self, run: Run, root: Path | None = None, engine: str = "processes", device: str = "cpu"):
        record, owner = store.path_of(run, root), locks.here()
        self.path = store.work_directory(record) / f"{record.stem}.status"
        self._run = {"width": run.width, "seed": run.seed, "epochs": run.epochs, "engine": engine, "device": device}
        self._run |= {"host": owner.host, "pid": owner.pid, "started": time.time()}
        self._written = -math.inf
        self._began: tuple[str, int, float] | None = None  # stage, done, time: where its speed is counted from
        self.tell(Status("start", 0, 1))

    def tell(self, status: Status, log: Path | None = None) -> None:
        """Write it down, if it is time or a new stage; that it cannot be is no reason to stop."""
        now, self._last = time.monotonic(), status
        if self._began is None or self._began[0] != status.stage:
            self._began, self._written = (status.stage, status.done, now), -math.inf
        if now - self._written < INTERVAL:
            return
        self._written = now
        _, first, since = self._began
        speed = (status.done - first) / (now - since) if now > since and status.done > first else None
        about = {"per_second": speed, "updated": time.time(), "log": str(log) if log else None}
        text = orjson.dumps(dataclasses.asdict(status) | self._run | about)  # NaN is null
        with contextlib.suppress(OSError):
            files.write_atomically(self.path, lambda file: file.write(text), make_directory=False, durable=False)

    def stop(self) -> None:
        """Write down where the run was left."""
        self._written = -math.inf
        self.tell(self._last)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def under_way(experiment_directory: Path) -> Iterator[Found]:
    """The runs begun in the directory of an experiment's records, narrow networks first; damaged files are passed over."""
    for path in sorted((store.work_directory(experiment_directory / "record")).glob("*.status")):
        try:
            with open(path, "rb") as file:
                found = Found.model_validate_json(file.read(LARGEST))
        except (OSError, ValueError):
            continue
        yield found.model_copy(update={"alive": _alive(path.with_suffix(".lock"), found.stage)})


def _alive(lock: Path, stage: str) -> bool | None:
    """By the lock: of this machine's processes it is known; others touch theirs."""
    if stage not in UNDER_WAY:
        return False
    with contextlib.suppress(OSError):
        state, _ = locks.Observer().state(lock)
        if state != "undecided":
            return state == "alive"
        touched = locks.look(lock)
        if touched and time.time() - touched[1] / 1e9 < locks.STALE:
            return True
    return None


@dataclass
class Outcome:
    """What became of the runs of a sweep, from what `work.do` reports of them; whoever watches hears it too."""

    watch: Report = lambda run, kind, content: None
    complete: list[Run] = field(default_factory=list)
    diverged: list[Run] = field(default_factory=list)
    failed: list[tuple[Run, str]] = field(default_factory=list)  # with what went wrong
    skipped: list[tuple[Run, str]] = field(default_factory=list)  # with why: done or in progress elsewhere
    left: list[Run] = field(default_factory=list)  # when time was up

    def report(self, run: Run, kind: str, content: Any = None) -> None:
        if kind == "stopped":
            self.left.append(run)
            return
        if kind != "status":
            getattr(self, kind).append((run, content) if kind in ("failed", "skipped") else run)
        self.watch(run, kind, content)


def line() -> Callable[..., None]:
    """What shows a text in the place of the one before, twice a second or if it must: line(text, now=False).

    In a cell of a notebook, or on a terminal on its standard error; nowhere where there is neither.
    """
    told, tell = 0.0, _place()

    def say(text: str, now: bool = False) -> None:
        nonlocal told
        if now or time.monotonic() - told > 0.5:
            tell(text)
            told = time.monotonic()

    return say


def _place() -> Callable[[str], object]:
    with contextlib.suppress(ImportError, AttributeError):
        from IPython import get_ipython

        if get_ipython().has_trait("kernel"):
            return _of_cell(get_ipython().execution_count)
    if sys.stderr.isatty():
        return lambda text: print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
    return lambda text: None


@functools.lru_cache(maxsize=1)
def _of_cell(number: int) -> Callable[[str], None]:
    from IPython.display import display

    handle = display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)
