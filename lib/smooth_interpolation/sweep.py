"""The runs of an experiment that have no record yet, done side by side by single-threaded processes.

Each run is a process of its own that writes its record when it is complete, so a sweep can be stopped at any moment
and started again: it redoes only what was unfinished.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from . import runs, store
from .config import Experiment, Run
from .errors import UserError
from .training import Acceleration

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class Outcome:
    """What became of the runs of a sweep."""

    complete: list[Run] = field(default_factory=list)
    diverged: list[Run] = field(default_factory=list)
    failed: list[tuple[Run, str]] = field(default_factory=list)  # with what went wrong


@dataclass(frozen=True)
class Event:
    """News of one run: its status while it works, then `outcome`: "complete", "diverged" or "failed"."""

    run: Run
    status: runs.Status | None = None
    outcome: str | None = None


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


def sweep(
    todo: Iterable[Run],
    *,
    workers: int,
    at_once: int = 1,
    device: str = "auto",
    root: Path | None = None,
    acceleration: Acceleration = Acceleration(),  # noqa: B008 (frozen)
    watch: Callable[[Event], None] = lambda event: None,
) -> Outcome:
    """Do runs, `workers` processes at a time; a run that fails does not stop those of other processes.

    Each run has a process of its own. With `at_once` above 1 each process does its share of them, so many side by side,
    which is for GPUs: see `runs.run_side_by_side`. On KeyboardInterrupt the unfinished runs are stopped, and the interrupt goes on
    to the caller.
    """
    runs_, outcome = list(todo), Outcome()
    waiting = [[run] for run in runs_] if at_once == 1 else [runs_[i::workers] for i in range(min(workers, len(runs_)))]
    context = multiprocessing.get_context("spawn")
    active: dict[Connection, tuple[list[Run], multiprocessing.process.BaseProcess]] = {}
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                group = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                arguments = (group, at_once, device, root, acceleration, sender, os.getpid())
                process = context.Process(target=_work, args=arguments, daemon=True)
                with _starting():
                    process.start()
                sender.close()
                active[receiver] = list(group), process
                for run in group:
                    watch(Event(run, runs.Status("start", 0, 1)))
            ready: list[Connection] = wait(list(active))
            for connection in ready:
                group, process = active[connection]
                try:
                    run, kind, content = connection.recv()
                except EOFError:
                    run, kind, content = None, "ended", None
                if kind == "status":
                    watch(Event(run, content))
                elif run is not None:
                    group.remove(run)
                    getattr(outcome, kind).append((run, content) if kind == "failed" else run)
                    watch(Event(run, outcome=kind))
                else:  # an error, or the end, of the whole process
                    process.join()
                    connection.close()
                    del active[connection]
                    for run in group:
                        outcome.failed.append((run, content or f"its process ended with code {process.exitcode}"))
                        watch(Event(run, outcome="failed"))
    finally:
        for _, process in active.values():
            process.terminate()
        for _, process in active.values():
            process.join()
    return outcome


def _work(
    todo: list[Run],
    at_once: int,
    device: str,
    root: Path | None,
    acceleration: Acceleration,
    sender: Connection,
    parent: int,
) -> None:
    """The body of a worker process: runs, from configuration to record."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us

    def watch(run: Run, status: runs.Status) -> None:
        if os.getppid() != parent:  # the sweep was killed: nobody waits for this run
            os._exit(1)
        sender.send((run, "status", status))

    try:
        options = {"at_once": at_once, "device": device, "acceleration": acceleration}
        for run, record in runs.run_side_by_side(todo, watch=watch, **options):
            try:
                if isinstance(record, Exception):
                    raise record
                store.write(record, run, root)
            except Exception as error:  # those beside it go on
                sender.send((run, "failed", _text(error)))
            else:
                sender.send((run, record["status"], None))
    except Exception as error:
        sender.send((None, "failed", _text(error)))


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error))


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
