"""Reliability: processes that want the same runs, on one machine and on several."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from smooth_interpolation.runs import locks, store, sweep

from . import torture
from .scenarios import Count, count, scenario


@scenario("Eight processes take the lock of a dead one at once: one gets it")
def dead_lock_is_taken_over_once(directory: Path, quick: bool) -> Count:
    held = []
    for i in range(8 if quick else 40):
        path = directory / f"{i}.lock"
        _leave_dead_lock(path)
        barrier, results = torture.FORK.Barrier(8), torture.FORK.SimpleQueue()
        takers = [torture.start(_take, path, barrier, results) for _ in range(8)]
        got = [results.get() for _ in takers]
        for taker in takers:
            taker.join()
        held.append(sum(got) == 1)
    return count(held)


def _leave_dead_lock(path: Path) -> None:
    """Make the lock of a process whose number another one has by now."""
    locks.acquire(path, locks.Observer())  # never released
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "0"}))


def _take(path: Path, barrier: Any, results: Any) -> None:
    observer = locks.Observer()
    barrier.wait()
    try:
        lock = locks.acquire(path, observer)
    except locks.Held:
        lock = None
    results.put(lock is not None)
    barrier.wait()  # the winner holds it until all have tried
    if lock:
        lock.release()


@scenario("Sweeps of the same file at once, three of them: every run is done, none twice")
def sweeps_of_the_same_file(directory: Path, quick: bool) -> Count:
    held = []
    for i in range(1 if quick else 5):
        experiment = torture.tiny(epochs=3, widths=[1, 2, 3])
        root, results = directory / str(i), torture.FORK.SimpleQueue()
        sweep.plan(experiment, root, "cpu")
        sweeps = [torture.start(_sweep, experiment, root, k, results) for k in range(3)]
        done = [key for _ in sweeps for key in results.get()]
        for process in sweeps:
            process.join()
        for run in experiment.runs():
            held.append(done.count((run.width, run.seed)) == 1 and store.read(run, root) is not None)
    return count(held)


def _sweep(experiment: Any, root: Path, shift: int, results: Any) -> None:
    todo = experiment.runs()
    outcome = sweep.serial(todo[shift:] + todo[:shift], root=root, device="cpu", at_once=2)
    results.put([(run.width, run.seed) for run in outcome.complete])


def _elsewhere(machine: str) -> None:
    """Have this process think that it is on another machine, whose hearts beat fast."""
    locks._machine = lambda: machine  # type: ignore[assignment]
    locks.HEARTBEAT, locks.STALE = 0.05, 1.0


def _hold(path: Path, ready: Any, clock: float) -> None:
    """Hold a lock on a machine whose clock is wrong, and set at every touch anew."""
    _elsewhere("holder")
    touch, wrong = os.utime, [clock]

    def utime(path: Any) -> None:
        wrong[0] -= 60
        touch(path, (wrong[0], wrong[0]))

    locks.os.utime = utime  # type: ignore[attr-defined]
    lock = locks.acquire(path, locks.Observer())
    ready.put(True)
    time.sleep(60)
    lock.release()


def _watch(path: Path, results: Any) -> None:
    _elsewhere("watcher")
    observer, began = locks.Observer(), time.monotonic()
    while True:
        try:
            locks.acquire(path, observer).release()
            results.put(("taken over", time.monotonic() - began))
            return
        except locks.Undecided:
            time.sleep(0.02)
        except locks.Held:
            results.put(("alive", time.monotonic() - began))
            return


@scenario(
    "On another machine, with a clock that is wrong and set back: who lives is left alone, who died is taken over"
)
def locks_of_other_machines(directory: Path, quick: bool) -> Count:
    held = []
    clocks = [time.time() - 1e8, time.time() + 1e8]
    for i, clock in enumerate(clocks if quick else clocks * 3):
        path, ready, results = directory / f"{i}.lock", torture.FORK.SimpleQueue(), torture.FORK.SimpleQueue()
        holder = torture.start(_hold, path, ready, clock)
        ready.get()
        torture.start(_watch, path, results).join()
        held.append(results.get()[0] == "alive")
        holder.kill()
        holder.join()
        torture.start(_watch, path, results).join()
        answer, seconds = results.get()
        held.append(answer == "taken over" and seconds >= 1.0)
    return count(held)
