"""Worker processes of this machine, each on its device, and the handing out of runs to them.

A worker is handed runs through a pipe, as many as it trains side by side, and another whenever one is finished; it reports
through the same pipe. A worker that dies takes the runs with it that it had begun, and no others; a pool of
`concurrent.futures` would be lost as a whole.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from ...config import Run
from .. import cost, limits, locks, store, work
from ..watching import Status, Tally

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # of each library


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
            with contextlib.suppress(OSError):  # of one that has died it is noticed when it is listened to
                self.connection.send(run)
        self.dismissed = self.dismissed or run is None


class Pool:
    """Processes that do runs, and what they report.

    Args:
        options: of their work.
        tally: what is told of the runs.
        runs: what to do.
        costs: of the runs, by which they are dealt to a process on each device; None: each has a process of its own, in
            the order given.
    """

    def __init__(self, options: work.Options, tally: Tally, runs: Iterable[Run], costs: Mapping[Run, float] | None):
        self.options, self.tally = options, tally
        self.own = list(runs) if costs is None else []  # waiting for a process of their own
        self.queue = cost.Queue(costs or {})
        self.observer = locks.Observer()
        self.workers: dict[Any, _Worker] = {}  # by connection
        self.over = False  # it is time to stop

    def run(self, devices: list[str]) -> None:
        """Do all runs on these devices, as many processes at a time as there are devices."""
        until = self.options.until
        try:
            for device in devices if self.queue.waiting else ():
                self._start(device)
            while True:
                self.over = self.over or (until is not None and time.monotonic() + limits.SPARE >= until)
                if not self.over:
                    self._start_own(devices)
                    loads = {worker: worker.load for worker in self.workers.values()}
                    for worker, run in self.queue.deal(loads, self.options.at_once):
                        self._hand(worker, run)
                if self.over or not self.queue.waiting:
                    for worker in self.workers.values():
                        worker.send(None)
                if not self.workers:
                    break
                patience = None if until is None else max(0.0, until - limits.LAST - time.monotonic())
                ready = wait(list(self.workers), patience)
                for connection in ready:
                    self._listen(self.workers[connection])
                if not ready:  # one that cannot stop by itself
                    break
        finally:
            stopped = [run for worker in self.workers.values() for run in worker.load]
            _stop(list(self.workers.values()), until)
        for run in [*stopped, *self.own, *self.queue.waiting]:
            if self.over or stopped:
                done = store.path_of(run, self.options.root).is_file() and not self.options.force
                self.tally.report(run, "skipped" if done else "stopped", "has a record already" if done else None)
            else:
                self.tally.report(run, "failed", "no process is left to do it: see why the others failed")

    def _start(self, device: str) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (replace(self.options, device=device), theirs, os.getpid())
        process = context.Process(target=_work, args=arguments, daemon=True)
        with _starting():
            process.start()
        theirs.close()
        worker = self.workers[ours] = _Worker(process, ours, device)
        return worker

    def _start_own(self, devices: list[str]) -> None:
        """Start processes for single runs, where there is room."""
        while self.own and len(self.workers) < len(devices):
            run = self.own.pop(0)
            why = self._left_out(run)
            if why:
                self.tally.report(run, "skipped", why)
                continue
            worker = self._start(devices[len(self.workers)])
            worker.load[run] = 1.0
            self._hand(worker, run)

    def _hand(self, worker: _Worker, run: Run) -> None:
        worker.send(run)
        self.tally.report(run, "status", Status("start", 0, 1, device=worker.device))

    def _listen(self, worker: _Worker) -> None:
        """Take in one message of a worker, or its end."""
        try:
            run, kind, content = worker.connection.recv()
        except (EOFError, OSError):  # the end of the whole process
            worker.process.join()
            worker.connection.close()
            del self.workers[worker.connection]
            for run in worker.load:  # one that stopped at the limit may not have taken in what it was handed
                stopped = self.over and worker.process.exitcode == 0
                why = f"its process ended with code {worker.process.exitcode}"
                self.tally.report(run, "stopped" if stopped else "failed", why)
            return
        if kind == "status":
            if content.stage == "train":
                worker.load[run] = self.queue.costs.get(run, 1.0) * (1 - content.done / content.total)
            self.tally.report(run, kind, content)
        elif kind == "stopped" and self.options.until is None:  # by whoever; when it ends, the run has failed
            return
        else:
            self.over = self.over or kind == "stopped"
            del worker.load[run]
            self.tally.report(run, kind, content)

    def _left_out(self, run: Run) -> str | None:
        """Why a run needs no process: another sweep has done it or does it now."""
        if not self.options.force and store.path_of(run, self.options.root).is_file():
            return "has a record already"
        with contextlib.suppress(OSError):
            state, owner = self.observer.state(store.lock_path(run, self.options.root))
            return f"in progress on {owner}" if state == "alive" else None
        return None


def _stop(workers: list[_Worker], until: float | None = None) -> None:
    """Have processes write their checkpoints and end; a second Ctrl-C, and the limit of time, ends them at once."""
    for worker in workers:
        worker.connection.close()  # nobody listens any more: who tells does not wait
    for worker in workers:
        worker.process.terminate()
    try:
        for worker in workers:
            worker.process.join(None if until is None else max(0.0, until - time.monotonic()))
    finally:
        for worker in workers:
            worker.process.kill()


def _work(options: work.Options, connection: Connection, parent: int) -> None:
    """The body of a worker process."""
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
