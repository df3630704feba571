"""The runs of an experiment that have no record yet, and the engines that do them on one machine.

Each worker process calls `work.do`, which writes a record as soon as it is complete and checkpoints on the way. So a sweep can
be stopped, or killed, at any moment and started again: it goes on where it was. Two sweeps of the same file share its runs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from . import locks, provenance, runs, store, work
from .config import Experiment, Run

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class Outcome:
    """What became of the runs of a sweep."""

    complete: list[Run] = field(default_factory=list)
    diverged: list[Run] = field(default_factory=list)
    failed: list[tuple[Run, str]] = field(default_factory=list)  # with what went wrong
    skipped: list[tuple[Run, str]] = field(default_factory=list)  # with why: done or in progress elsewhere


@dataclass(frozen=True)
class Event:
    """News of one run: its status while it works, then `outcome`: "complete", "diverged", "failed" or "skipped"."""

    run: Run
    status: runs.Status | None = None
    outcome: str | None = None


Watch = Callable[[Event], None]


class Tally:
    """What `work.do` reports, from whatever engine, as an outcome and as events."""

    def __init__(self, watch: Watch = lambda event: None):
        self.outcome, self.watch = Outcome(), watch

    def report(self, run: Run, kind: str, content: Any = None) -> None:
        if kind == "status":
            self.watch(Event(run, content))
        elif kind != "stopped":
            entry = (run, content) if kind in ("failed", "skipped") else run
            getattr(self.outcome, kind).append(entry)
            self.watch(Event(run, outcome=kind))


def plan(experiment: Experiment, root: Path | None = None, device: str = "auto") -> list[Run]:
    """The runs to do, after checking everything that can be checked before any of them starts.

    Raises:
        UserError: for missing data, a device that is not there, a results directory that cannot be written, damaged
            records, and records of other images than those at hand.
    """
    runs.choose_device(device)
    store.check_writable(experiment.runs()[0], root)
    todo = [run for run in experiment.runs() if store.read(run, root) is None]
    if todo:
        store.check_same_data(todo[0], runs.prepare(experiment).dataset.fingerprint, root)
    return todo


def serial(todo: Iterable[Run], *, watch: Watch = lambda event: None, **options: Any) -> Outcome:
    """Do runs in this process, `at_once` of them side by side; `options` are those of `work.Options`."""
    tally = Tally(watch)
    work.do(todo, work.Options(engine="serial", **options), tally.report)
    return tally.outcome


def sweep(
    todo: Iterable[Run], *, workers: int, watch: Watch = lambda event: None, at_once: int = 1, **options: Any
) -> Outcome:
    """Do runs, `workers` processes at a time; a run that fails does not stop those of other processes.

    Each run has a process of its own. With `at_once` above 1 each process does its share of them, so many side by side,
    which is for GPUs: see `runs.run_side_by_side`. On KeyboardInterrupt, and on SIGTERM, the unfinished runs write their
    checkpoints and are stopped, and KeyboardInterrupt goes on to the caller.

    Args:
        todo: the runs, of one experiment.
        workers: processes.
        watch: called with every event.
        at_once: networks that a process trains side by side.
        options: the others of `work.Options`.
    """
    provenance.warn_of_unknown()
    runs_, tally = list(todo), Tally(watch)
    chosen = work.Options(at_once=at_once, **options)
    waiting = [[run] for run in runs_] if at_once == 1 else [runs_[i::workers] for i in range(min(workers, len(runs_)))]
    context = multiprocessing.get_context("spawn")
    observer = locks.Observer()
    active: dict[Connection, tuple[list[Run], multiprocessing.process.BaseProcess]] = {}
    with terminable():
        try:
            while waiting or active:
                while waiting and len(active) < workers:
                    group = waiting.pop(0)
                    why = _left_out(group, chosen, observer)
                    if why:
                        tally.report(group[0], "skipped", why)
                        continue
                    receiver, sender = context.Pipe(duplex=False)
                    arguments = (group, chosen, sender, os.getpid())
                    process = context.Process(target=_work, args=arguments, daemon=True)
                    with _starting():
                        process.start()
                    sender.close()
                    active[receiver] = list(group), process
                    for run in group:
                        watch(Event(run, runs.Status("start", 0, 1)))
                ready: list[Connection] = wait(list(active)) if active else []  # none is ready if all were left out
                for connection in ready:
                    group, process = active[connection]
                    try:
                        run, kind, content = connection.recv()
                    except EOFError:  # the end of the whole process
                        process.join()
                        connection.close()
                        del active[connection]
                        for run in group:
                            tally.report(run, "failed", f"its process ended with code {process.exitcode}")
                        continue
                    if kind not in ("status", "stopped"):
                        group.remove(run)
                    tally.report(run, kind, content)
        finally:
            _stop(active)
    return tally.outcome


def _left_out(group: list[Run], options: work.Options, observer: locks.Observer) -> str | None:
    """Why a run needs no process: another sweep has done it or does it now."""
    if len(group) > 1:
        return None
    if not options.force and store.path_of(group[0], options.root).is_file():
        return "has a record already"
    with contextlib.suppress(OSError):
        verdict, owner = observer.verdict(store.lock_path(group[0], options.root))
        return f"in progress on {owner}" if verdict == "alive" else None
    return None


def _stop(active: dict[Connection, tuple[list[Run], multiprocessing.process.BaseProcess]]) -> None:
    """Have processes write their checkpoints and end; a second Ctrl-C ends them at once."""
    processes = [process for _, process in active.values()]
    for connection in active:
        connection.close()  # nobody listens any more: who tells does not wait
    for process in processes:
        process.terminate()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()


def _work(todo: list[Run], options: work.Options, sender: Connection, parent: int) -> None:
    """The body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us

    def report(run: Run, kind: str, content: Any) -> None:
        with contextlib.suppress(OSError):  # a parent that is gone is noticed by `stop`
            sender.send((run, kind, content))

    with contextlib.suppress(KeyboardInterrupt):
        work.do(todo, options, report, stop=lambda: os.getppid() != parent)


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


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """How a worker starts: with one thread per library, and deaf to Ctrl-C from its first moment on."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
