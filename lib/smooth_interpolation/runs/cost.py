"""How long runs take, judged by those that are done, and which worker gets which run next.

Longest runs first, each to whoever has least to do by predicted cost, so that all end at about the same time. The seeds of a
width stay with the worker that began it, for they share what was captured or compiled for it; once no width is left that
nobody began, whoever has least to do takes from the others'.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..config import CIFAR, Run
from ..errors import RecordError
from . import record_format
from .record_format import Record

Worker = TypeVar("Worker", bound=Hashable)
# What a run and the records of its network that foretell its time have in common, the closest first. Float32 takes a GPU several
# times as long as bfloat16.
LIKENESS = (("scale", "experiment", "overrides"), ("scale", "experiment", "precision"), ("precision",), ())


def seconds(record: Record) -> float:
    """Time of a run: training, evaluating, measuring.

    On one CPU thread the processor's time, which other work on the machine does not stretch; else wall time. Of networks
    side by side each has its share of the time; records that do not say so hold the whole, of `at_once` networks.
    """
    origin = record["provenance"]
    wall = sum(origin["wall_s"].values())
    if origin["device"] == "cpu" and origin["threads"] == 1:
        return min(wall, origin.get("cpu_s", wall))
    return wall if "side_by_side" in origin else wall / origin.get("at_once", 1)


def machine_seconds(records: Iterable[Record]) -> float:
    """Time that a machine spent on the runs: where they overlapped on a GPU, it counts once."""
    total, spans = 0.0, []
    for record in records:
        origin = record["provenance"]
        if origin["device"] == "cpu":
            total += seconds(record)
        else:
            # A run that was stopped and resumed was at work between, not while it lay still.
            starts = [origin["start"], *(part["start"] for part in origin.get("resumed", []))]
            ends = [*(part["stopped"] for part in origin.get("resumed", [])), origin["end"]]
            spans += [[datetime.fromisoformat(t) for t in part] for part in zip(starts, ends, strict=True)]
    latest = None
    for start, end in sorted(spans):
        start = start if latest is None else max(start, latest)
        if end > start:
            total += (end - start).total_seconds()
        latest = end if latest is None else max(latest, end)
    return total


def relative(runs: Iterable[Run], records: Iterable[Record], device: str = "cpu") -> dict[Run, float]:
    """What runs of one experiment cost beside each other, in a unit of its own.

    By the records of networks that trained alone on this kind of device, if there are any; networks side by side are told
    equal shares of their time, whatever their width. Else by a model of the time for an image, 1 + (w / a)^b: a = 10, b = 1
    on a GPU, which moves activations (w) more than it multiplies (w^2), and a = 4, b = 1.4 on a CPU, as measured there.
    """
    alone = [r for r in records if r["provenance"].get("side_by_side", r["provenance"].get("at_once", 1)) <= 1]
    a, b = (4.0, 1.4) if device == "cpu" else (10.0, 1.0)
    found = {}
    for run in runs:
        predicted = predict_seconds([run], alone, device)
        found[run] = run.epochs * (1 + (run.width / a) ** b) if predicted is None else predicted
    return found


@functools.cache
def known(root: Path) -> tuple[Record, ...]:
    """The sound records of all experiments below a directory."""
    found = []
    for path in sorted(root.glob("*/*/w*-s*.json")):
        with contextlib.suppress(RecordError):
            found.append(record_format.read_file(path))
    return tuple(found)


def expected(run: Run, records: Iterable[Record], device: str = "cpu") -> tuple[float, int] | None:
    """Seconds that any run takes on a kind of device, and how many records of networks of its kind tell so; None if none.

    A network's time is taken to grow with images times epochs; otherwise as `predict_seconds`. It is that of the records that are
    most like the run, see `LIKENESS`.
    """
    alike = [r for r in _complete(records, device) if r["config"]["model"] == run.model]
    settings = run.canonical()
    groups = ([r for r in alike if all(r["config"].get(n) == settings.get(n) for n in names)] for names in LIKENESS)
    chosen = next(filter(None, groups), [])
    scaled = [(r["config"]["width"], seconds(r) / (r["data"]["n_train"] * max(1, r["epochs_run"]))) for r in chosen]
    n_train = run.n_train or CIFAR.get(run.dataset, (10_000, 0))[0]
    return (_at(run.width, scaled) * n_train * run.epochs, len(scaled)) if scaled else None


def in_words(todo: Sequence[Run], root: Path) -> str:
    """How long runs take where records below `root` tell: "about 3 h 05 min on one CPU thread, or 40 s on one GPU"."""
    times = []
    for device in ("cpu", "cuda"):
        guesses = [expected(run, known(root), device) for run in todo]
        if all(guesses):
            times.append(f"{duration(sum(guess[0] for guess in guesses if guess))} on {workers(1, device)}")
    return f"about {', or '.join(times)}" if times else ""


def predict_seconds(missing: Iterable[Run], records: Iterable[Record], device: str = "cpu") -> float | None:
    """How long the missing runs take on one worker, from the times of the ones done there; None before the first.

    Between measured widths the time is interpolated in the logarithms; beyond them it grows with the slope of the last
    two widths.
    """
    times = [(record["config"]["width"], seconds(record)) for record in _complete(records, device)]
    return sum(_at(run.width, times) for run in missing) if times else None


def _complete(records: Iterable[Record], device: str) -> list[Record]:
    """Of this kind of device: a GPU's times say nothing of a CPU's."""
    return [r for r in records if r["status"] == "complete" and r["provenance"]["device"] == device]


def _at(width: int, times: Iterable[tuple[int, float]]) -> float:
    """What a width takes, from widths and what they took."""
    by_width: dict[int, list[float]] = {}
    for other, taken in times:
        by_width.setdefault(other, []).append(taken)
    x = np.log(sorted(by_width))
    y = np.log([np.mean(by_width[w]) for w in sorted(by_width)])
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2]) if len(x) > 1 else 1.0
    beyond = max(0.0, np.log(width) - x[-1])
    return float(np.exp(np.interp(np.log(width), x, y) + max(slope, 0.0) * beyond))


class Queue:
    """Runs that wait to be dealt, the longest first by predicted costs in any unit."""

    def __init__(self, costs: Mapping[Run, float]):
        self.costs = costs
        self.waiting = sorted(costs, key=lambda run: -costs[run])
        self._begun: dict[int, Hashable] = {}  # by width: who

    def deal(self, loads: Mapping[Worker, dict[Run, float]], slots: int) -> Iterator[tuple[Worker, Run]]:
        """Runs for workers that have fewer than `slots`, as long as there are both; they are put into their loads.

        A load is what is left of each of a worker's runs by predicted cost. A worker gets one of a width that it began, else of
        one that nobody did, else of any.
        """
        while self.waiting and (free := [worker for worker, load in loads.items() if len(load) < slots]):
            worker = min(free, key=lambda worker: sum(loads[worker].values()))
            of_its_own = [run for run in self.waiting if self._begun.get(run.width) == worker]
            of_nobody = [run for run in self.waiting if run.width not in self._begun]
            run = (of_its_own or of_nobody or self.waiting)[0]
            self._begun.setdefault(run.width, worker)
            self.waiting.remove(run)
            loads[worker][run] = self.costs[run]
            yield worker, run


def workers(n: int, device: str) -> str:
    """In words, such as "one GPU"."""
    one = "CPU thread" if device == "cpu" else "GPU"
    return f"one {one}" if n == 1 else f"{n} {one}s"


def duration(seconds: float) -> str:
    """In words; 100 hours and more in days.

    Example:
        >>> duration(65), duration(3900), duration(127e6)
        ('1 min 05 s', '1 h 05 min', '1,470 days')
    """
    if seconds >= 100 * 3600:
        return f"{seconds / 86400:,.0f} days"
    minutes, seconds = divmod(round(seconds) or math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
