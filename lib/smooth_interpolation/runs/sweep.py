"""The runs of an experiment that have no record yet, and the engines that do them on one machine.

Each worker process calls `work.do`, which writes a record as soon as it is complete and checkpoints on the way. So a sweep can
be stopped, or killed, at any moment and started again: it goes on where it was. Two sweeps of the same file share its runs.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import Experiment, Run
from ..data import datasets
from . import cost, hand_out, limits, provenance, single, store, work
from .engines.processes import Pool
from .outcomes import Event, Outcome, Tally, Watch

__all__ = ["Event", "Outcome", "Tally", "Watch", "plan", "serial", "sweep", "terminable"]


def plan(experiment: Experiment, root: Path | None = None, device: str = "auto", *, dry: bool = False) -> list[Run]:
    """The runs to do, after checking everything that can be checked before any of them starts.

    With `dry`, only what can be checked without writing, downloading or decoding anything.

    Raises:
        UserError: for missing data, a device that is not there, a results directory that cannot be written, damaged
            records, and records of other images than those at hand.
    """
    single.choose_device(device)
    if not dry:
        store.check_writable(experiment.runs()[0], root)
    todo = [run for run in experiment.runs() if store.read(run, root) is None]
    if todo and dry:
        datasets.look(experiment.dataset)
    elif todo:
        store.check_same_data(todo[0], single.prepare(experiment).dataset.fingerprint, root)
    return todo


def serial(todo: Iterable[Run], *, watch: Watch = lambda event: None, **options: Any) -> Outcome:
    """Do runs in this process, `at_once` of them side by side; `options` are those of `work.Options`."""
    tally = Tally(watch)
    with contextlib.suppress(limits.TimeUp):
        work.do(todo, work.Options(engine="serial", **options), tally.report)
    return tally.outcome


def sweep(
    todo: Iterable[Run],
    *,
    workers: int | None = None,
    devices: Sequence[str] | None = None,
    costs: Mapping[Run, float] | None = None,
    watch: Watch = lambda event: None,
    at_once: int = 1,
    **options: Any,
) -> Outcome:
    """Do runs, several processes at a time; a run that fails does not stop those of other processes.

    Each run has a process of its own, in the order given. With `devices`, or with `at_once` above 1, each process does run
    after run, `at_once` of them side by side, as they are handed out: see `hand_out` and `runs.run_side_by_side`.
    On KeyboardInterrupt, and on SIGTERM, the unfinished runs write their checkpoints and are stopped, and
    KeyboardInterrupt goes on to the caller. At the limit of time (`until`, see `limits`) they do so too, and are `left`.

    Args:
        todo: the runs, of one experiment.
        workers: processes; None: one for each of the devices.
        devices: of the processes, in turn, such as ["cuda:0", "cuda:1"]; None: `options["device"]` for all.
        costs: of the runs, predicted in any unit; None: see `cost.relative`.
        watch: called with every event.
        at_once: networks that a process trains side by side.
        options: the others of `work.Options`.
    """
    provenance.warn_of_unknown()
    runs_, chosen = list(todo), work.Options(at_once=at_once, **options)
    own = devices is None and at_once == 1  # a process for each run
    places = [chosen.device] if devices is None else list(devices)
    number = min(workers or len(places), len(runs_))
    if costs is None and not own:
        costs = cost.relative(runs_, [], "cpu" if places[0] == "cpu" else "cuda")
    pool = Pool(chosen, Tally(watch), hand_out.Queue(runs_, None if own else costs), own)
    with terminable():
        pool.run([places[i % len(places)] for i in range(number)])
    return pool.tally.outcome


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt: a batch system's end of time is a Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
