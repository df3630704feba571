"""The runs of an experiment that have no record yet, done on this machine: in this process, or by several.

A worker process is handed runs through a pipe, as many as it trains side by side, and another whenever one is finished; it
reports through the same pipe. Each calls `work.do`, which writes a record as soon as it is complete and checkpoints on the
way. So a sweep can be stopped, or killed, at any moment and started again: it goes on where it was. Two sweeps of the same
file share its runs. A worker that dies takes the runs with it that it had begun, and no others; another takes its place.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..config import Experiment, Run
from ..data import datasets
from ..data.preparation import prepare
from ..errors import DataError
from . import cost, provenance, resources, store, work
from .watching import Outcome, Report, Status

log = logging.getLogger(__name__)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # of each library


def plan(experiment: Experiment, root: Path | None = None, device: str = "auto", *, dry: bool = False) -> list[Run]:
    """The runs to do, after checking everything that can be checked before any of them starts.

    With `dry`, only what can be checked without writing, downloading or decoding anything; missing images are a warning.
    """
    resources.choose(device)
    if not dry:
        store.check_writable(experiment.runs()[0], root)
    todo = [run for run in experiment.runs() if store.read(run, root) is None]
    if todo and dry:
        try:
            datasets.look(experiment.dataset)
        except DataError as error:
            log.warning("%s", error)
    elif todo:
        store.check_same_data(todo[0], prepare(experiment).dataset.fingerprint, root)
    return todo


def serial(todo: Iterable[Run], *, watch: Report = lambda run, kind, content: None, **options: Any) -> Outcome:
    """Do runs in this process, `at_once` of them side by side; `options` are those of `work.Options`."""
    outcome = Outcome(watch)
    with contextlib.suppress(resources.TimeUp):
        work.do(todo, work.Options(engine="serial", **options), outcome.report)
    return outcome


def sweep(
    todo: Iterable[Run],
    *,
    workers: int | None = None,
    devices: Sequence[str] | None = None,
    costs: Mapping[Run, float] | None = None,
    watch: Report = lambda run, kind, content: None,
    **options: Any,
) -> Outcome:
    """Do runs, several processes at a time; what fails does not stop the others.

    On KeyboardInterrupt, and on SIGTERM, the unfinished runs write their checkpoints and are stopped, and
    KeyboardInterrupt goes on to the caller. At the limit of time (`until`, see `resources`) they do so too, and are `left`.

    Args:
        todo: the runs, of one experiment.
        workers: processes; None: one for each of the devices.
        devices: of the processes, in turn, such as ["cuda:0", "cuda:1"]; None: `options["device"]` for all.
        costs: of the runs, predicted in any unit: the longest are first, see `cost`; None: in the order given.
        watch, options: told what `work.do` reports, and the others of `work.Options`.
    """
    provenance.warn_of_unknown()
    runs, chosen = list(todo), work.Options(**options)
    places = [chosen.device] if devices is None else list(devices)
    number = min(workers or len(places), len(runs))
    queue = cost.Queue({run: costs[run] if costs else 1.0 for run in runs})
    pool = _Pool(chosen, Outcome(watch), queue, [places[i % len(places)] for i in range(number)])
    with resources.Signals():
        pool.run()
    return pool.outcome


@dataclass(eq=False)
class _Worker:
    """A process, as its parent sees it."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    device: str
    load: dict[Run, float] = field(default_factory=dict)  # its runs, with what is left of each by predicted cost
    dismissed: bool = False

    def send(self, run: Run | None) -> None:
        """Hand it a run; None: there will be no more."""
        if not self.dismissed:
            self.dismissed = run is None
            with contextlib.suppress(OSError):  # of one that has died it is noticed when it is listened to
                self.connection.send(run)


@dataclass
class _Pool:
    """Processes that do runs, and what they report."""

    options: work.Options
    outcome: Outcome
    queue: cost.Queue
    free: list[str]  # devices, each for a process
    workers: dict[Any, _Worker] = field(default_factory=dict)  # by connection
    over: bool = False  # it is time to stop

    def run(self) -> None:
        """Do all runs on these devices, as many processes at a time as there are devices."""
        until = self.options.until
        try:
            while True:
                self.over = self.over or (until is not None and time.monotonic() + resources.SPARE >= until)
                if not self.over:
                    while self.free and self.queue.waiting:
                        self._start(self.free.pop(0))
                    loads = {worker: worker.load for worker in self.workers.values()}
                    for worker, run in self.queue.deal(loads, self.options.at_once):
                        worker.send(run)
                        self.outcome.report(run, "status", Status("start", 0, 1, device=worker.device))
                if self.over or not self.queue.waiting:
                    for worker in self.workers.values():
                        worker.send(None)
                if not self.workers:
                    break
                patience = None if until is None else max(0.0, until - resources.LAST - time.monotonic())
                ready = wait(list(self.workers), patience)
                for connection in ready:
                    self._listen(self.workers[connection])
                if not ready:  # one that cannot stop by itself
                    break
        finally:
            stopped = [run for worker in self.workers.values() for run in worker.load]
            _stop(list(self.workers.values()), until)
        for run in [*stopped, *self.queue.waiting]:
            done = store.path_of(run, self.options.root).is_file() and not self.options.force
            self.outcome.report(run, "skipped" if done else "stopped", "has a record already" if done else None)

    def _start(self, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (replace(self.options, device=device), theirs, os.getpid())
        process = context.Process(target=_work, args=arguments, daemon=True)
        with _starting():
            process.start()
        theirs.close()
        self.workers[ours] = _Worker(process, ours, device)

    def _listen(self, worker: _Worker) -> None:
        """Take in one message of a worker, or its end."""
        try:
            run, kind, content = worker.connection.recv()
        except (EOFError, OSError):  # the end of the whole process
            worker.process.join()
            worker.connection.close()
            del self.workers[worker.connection]
            self.free.append(worker.device)
            for run in worker.load:  # one that stopped at the limit may not have taken in what it was handed
                stopped = self.over and worker.process.exitcode == 0
                why = f"its process ended with code {worker.process.exitcode}"
                self.outcome.report(run, "stopped" if stopped else "failed", why)
            return
        if kind == "status":
            if content.stage == "train":
                worker.load[run] = self.queue.costs[run] * (1 - content.done / content.total)
            self.outcome.report(run, kind, content)
        elif kind != "stopped" or self.options.until is not None:  # else by whoever: when it ends, the run has failed
            self.over = self.over or kind == "stopped"
            del worker.load[run]
            self.outcome.report(run, kind, content)


def _stop(workers: list[_Worker], until: float | None = None) -> None:
    """Have processes write their checkpoints and end; a second Ctrl-C ends them at once, as the limit of time does."""
    for worker in workers:
        worker.connection.close()  # nobody listens any more: who tells does not wait
    for worker in workers:
        worker.process.terminate()
    try:
        for worker in workers:
            worker.process.join(None if until is None else max(0.0, until - resources.KILL - time.monotonic()))
    finally:
        for worker in workers:
            worker.process.kill()


def _work(options: work.Options, connection: Connection, parent: int) -> None:
    """The body of a worker process."""
    resources.end_quickly()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us
    dismissed = False

    def more() -> list[Run] | None:
        nonlocal dismissed
        found: list[Run] = []
        try:
            while not dismissed and connection.poll():
                run = connection.recv()
                dismissed = run is None
                found += [] if run is None else [run]
        except (EOFError, OSError):
            dismissed = True
        return found if found or not dismissed else None

    def report(run: Run, kind: str, content: Any) -> None:
        with contextlib.suppress(OSError):  # a parent that is gone is noticed by `stop`
            connection.send((run, kind, content))

    with contextlib.suppress(KeyboardInterrupt):
        work.do([], options, report, stop=lambda: os.getppid() != parent, more=more)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """How a worker starts: with one thread per library, and deaf to Ctrl-C from its first moment on."""
    before = {name: os.environ[name] for name in ONE_THREAD if name in os.environ}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name in ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)
