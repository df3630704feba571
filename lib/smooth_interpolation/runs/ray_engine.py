"""The engine beyond one machine: a sweep on a Ray cluster (the extra `[cluster]`).

Each run is one task, in a process of its own, on whichever node has room for what it asks: a core, a share of a GPU,
memory. It does what every engine does, `work.do`, and keeps its record, checkpoints, lock and status below the results'
directory, which all nodes share. The driver knows nothing that is not in those files: it can be killed at any moment
and started again.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import locations
from ..config import Run
from ..errors import ConfigError, UserError
from . import cluster, jobs, locks, provenance, resources, store, sweep, watching, work
from .cluster import Node, Request
from .watching import Outcome, Status

log = logging.getLogger(__name__)

TRIES = 4  # of a run whose worker dies or runs out of memory, in a row and without getting further
AWAIT = 150.0  # seconds for runs that others hold, when nothing else is left: by then a dead holder is known as dead
GRACE = 30.0  # seconds for interrupted runs to write a checkpoint
TICK = 1.0  # seconds between looks at the files
AGAIN = {
    "worker": "its worker or its node died",
    "stopped": "its worker was stopped",
    "memory": "memory ran out",
    "gpu memory": "the GPU's memory ran out",
}


def run_sweep(
    todo: Iterable[Run],
    *,
    address: str | None = None,
    gpus_per_run: float | None = None,
    memory_per_run: int | None = None,
    in_flight: int | None = None,
    watch: watching.Report = lambda run, kind, content: None,
    **options: Any,
) -> Outcome:
    """Do runs on a cluster; where a worker or its node dies, or memory runs out, they go on elsewhere.

    Args:
        todo: what to do, in this order.
        address: of `cluster.connected`.
        gpus_per_run: a run's share of a GPU; None: 0.25 where the cluster has GPUs, unless the device is "cpu".
        memory_per_run: bytes that a node must have left for a run; None: no request.
        in_flight: at most so many runs are with the cluster at a time; None: twice as many as it has room for.
        watch: told of each run, as its files tell.
        options: of `work.Options`. At `until`, by this machine's clock, runs under way write their checkpoints, and are left.
    """
    if in_flight is not None and in_flight < 1:
        raise ConfigError(f"--in-flight is {in_flight}: it must be at least 1.")
    provenance.warn_of_unknown()
    request = Request(gpus_per_run or 0.0, memory_per_run or 0)
    root = locations.expanded(options.pop("root", None) or locations.results()).absolute()
    until = options.pop("until", None)  # by this machine's clock
    if until is not None:
        options["checkpoints_kept"] = 1
    chosen = work.Options(**options | {"root": root, "engine": "ray"})
    with cluster.connected(address) as (ray, alone), resources.Signals():
        if gpus_per_run is None and chosen.device != "cpu" and any(node.get("GPU") for node in cluster.nodes(ray)):
            request = replace(request, gpus=0.25)
        if chosen.device == "auto":
            chosen = replace(chosen, device="cuda" if request.gpus else "cpu")
        cluster.wait_for_room(ray, request, 0.0 if alone else cluster.PATIENCE)
        driver = _Driver(ray, chosen, request, in_flight, Outcome(watch), until)
        return driver.drive([_Flight(run, request) for run in todo])


@dataclass
class _Flight:
    """A run on its way: what it asks, and how far it came."""

    run: Run
    request: Request
    tries: int = 0  # in a row, without getting further
    stage: tuple[bool, int] = (False, 0)  # whether it is being measured, and the epochs or points done
    furthest: tuple[bool, int] = (False, 0)  # of earlier tries
    held_by: locks.Owner | None = None


@dataclass
class _Driver:
    """Hands runs to the cluster, watches their files, and takes in what became of them."""

    ray: Any
    options: work.Options
    request: Request
    in_flight: int | None
    outcome: Outcome
    until: float | None = None  # by `time.monotonic`
    waiting: list[_Flight] = field(default_factory=list)
    flying: dict[Any, _Flight] = field(default_factory=dict)  # by Ray's reference to the answer
    observer: locks.Observer = field(default_factory=locks.Observer)
    warned: bool = False  # that there is no room

    def drive(self, waiting: list[_Flight]) -> Outcome:
        ray, self.waiting = self.ray, waiting
        # A process for each run. Ray does not try again by itself: how often, and with what, is decided here.
        task = ray.remote(max_calls=1, max_retries=0, runtime_env={"env_vars": _variables()})(_task)
        flown = time.monotonic()
        try:
            while self.waiting or self.flying:
                if self.until is not None and time.monotonic() + GRACE + resources.SPARE >= self.until:
                    break
                nodes = cluster.nodes(ray)
                if self.flying and not self.warned and not any(self.request.fits(node) for node in nodes):
                    log.warning("No node has room for a run any more (%s): waiting for one to join.", self.request)
                    self.warned = True
                self._submit(task, self.in_flight or max(2, 2 * sum(self.request.fits(node) for node in nodes)))
                if self.flying:
                    flown = time.monotonic()
                    ready, _ = ray.wait(list(self.flying), num_returns=len(self.flying), timeout=TICK)
                    self._look()
                    for reference in ready:
                        self._land(self.flying.pop(reference), reference, nodes)
                elif time.monotonic() - flown < AWAIT:
                    time.sleep(TICK)
                else:
                    for flight in self.waiting:
                        self.outcome.report(flight.run, "skipped", f"in progress on {flight.held_by}")
                    self.waiting = []
        finally:
            left = [*self.flying.values(), *self.waiting]
            self._interrupt()
        for flight in left:
            if not store.path_of(flight.run, self.options.root).is_file():
                self.outcome.report(flight.run, "stopped")
        return self.outcome

    def _interrupt(self) -> None:
        """Where Ctrl-C or SIGTERM stops the sweep: have runs under way write a checkpoint, and ask twice who does not."""
        left = list(self.flying)
        for _ in range(2 if left else 0):
            for reference in left:
                self.ray.cancel(reference)
            _, left = self.ray.wait(left, num_returns=len(left), timeout=GRACE / 2)
            if not left:
                return

    def _submit(self, task: Any, limit: int) -> None:
        """Hand over runs that nobody holds, up to `limit` at a time."""
        for flight in list(self.waiting):
            if len(self.flying) >= limit:
                return
            state, flight.held_by = self.observer.state(store.lock_path(flight.run, self.options.root))
            if state in ("alive", "undecided"):  # by another sweep, or a worker that outlived its driver for a moment
                continue
            request = flight.request
            asked = {"num_cpus": 1, "num_gpus": request.gpus, "name": str(flight.run)}
            asked |= {"memory": request.memory} if request.memory else {}
            self.waiting.remove(flight)
            token = _token(store.work_directory(store.path_of(flight.run, self.options.root)))
            self.flying[task.options(**asked).remote(flight.run, self.options, token)] = flight
            self.outcome.report(flight.run, "status", Status("start", 0, 1))

    def _look(self) -> None:
        """Tell of runs under way what their status files tell."""
        under_way = {(flight.run.width, flight.run.seed): flight for flight in self.flying.values()}
        for directory in {store.path_of(flight.run, self.options.root).parent for flight in self.flying.values()}:
            for found in watching.under_way(directory):
                flight = under_way.get((found.width, found.seed))
                if flight and found.stage in ("train", "measure"):
                    flight.stage = (found.stage == "measure", found.done)
                    loss, error = (float("nan") if value is None else value for value in (found.loss, found.error))
                    self.outcome.report(flight.run, "status", Status(found.stage, found.done, found.total, loss, error))

    def _land(self, flight: _Flight, reference: Any, nodes: list[Node]) -> None:
        """Take in the end of a task: what became of the run, or another try."""
        run = flight.run
        try:
            kind, content = self.ray.get(reference)
        except Exception as error:
            kind, content = cluster.cause(self.ray, error), cluster.told(error)
        unfinished = False
        if kind == "skipped":
            try:
                unfinished = store.read(run, self.options.root) is None
            except UserError as error:  # a damaged record there
                kind, content = "failed", str(error)
        if unfinished:
            self.waiting.append(flight)  # somebody began it a moment before
        elif kind not in AGAIN:
            self.outcome.report(run, kind, content)
        else:
            flight.tries = 1 if flight.stage > flight.furthest else flight.tries + 1
            flight.furthest = max(flight.furthest, flight.stage)
            if kind in ("memory", "gpu memory"):
                flight.request = flight.request.more(kind, nodes)
            if flight.tries >= TRIES:
                why = f"{AGAIN[kind]}, {TRIES} times without getting further. {content or ''}"
                self.outcome.report(run, "failed", why)
            else:
                log.warning("%s: %s; it goes on where there is %s.", run, AGAIN[kind], flight.request)
                self.waiting.insert(0, flight)


def _task(run: Run, options: work.Options, token: Path) -> tuple[str, Any]:
    """The body of a worker: kind and content of what `work.do` tells at last."""
    import torch

    if not token.exists():
        where = f"the node {socket.gethostname()} does not see {options.root}"
        return "failed", f"{where}: the results must be on a file system that all nodes share."
    told: list[tuple[str, Any]] = []
    try:
        work.do([run], options, lambda _, kind, content: told.append((kind, content)), reraise=True)
    except KeyboardInterrupt:
        return "stopped", None
    except Exception as error:
        cause = error.__cause__ or error  # `measure.foreign` says in a sentence of ours what a network raised
        if isinstance(cause, torch.OutOfMemoryError):
            return "gpu memory", str(error)
        if isinstance(cause, MemoryError) or "can't allocate memory" in str(error):  # as PyTorch says it on a CPU
            return "memory", str(error)
        return "failed", f"{jobs.described(error)}\nIts log: {jobs.log_path(run, options.root)}"
    return told[-1]


def _token(directory: Path) -> Path:
    """A file in a directory by which a node proves that it sees this one and not another of that name."""
    directory.mkdir(parents=True, exist_ok=True)
    known = sorted(directory.glob(".place-*"))
    token = known[0] if known else directory / f".place-{uuid.uuid4().hex}"
    token.touch()
    return token


def _variables() -> dict[str, str]:
    """The environment of the workers: libraries of one thread, and the driver's places."""
    places = {
        locations.DATA_VARIABLE: locations.data_directories()[0],
        locations.CACHE_VARIABLE: locations.cache(),
        locations.RESULTS_VARIABLE: locations.results(),
    }
    values = sweep.ONE_THREAD | {name: str(place.absolute()) for name, place in places.items()}
    return values | {name: os.environ[name] for name in ("PYTHONPATH",) if os.environ.get(name)}
