"""What a process does with runs. Every engine calls `do`, in whatever process and on whatever machine, so that all make
records by the same code path:

    do(todo, options, report)

takes each of `todo`, runs of one experiment, through these steps: take its lock; leave it out if it has a record or is in
progress elsewhere; go on from its latest checkpoint; train, `at_once` side by side; measure; write the record; remove
checkpoints and status; release the lock. What fails leaves a log and its checkpoints, and does not stop the others.
`report(run, kind, content)` hears of it, with picklable content:

    "status"                a `watching.Status`
    "complete", "diverged"  None: there is a record now; or the record, where none is kept
    "skipped"               why: a record is there already, or the run is in progress elsewhere
    "failed"                what went wrong, and where its log is
    "stopped"               None: by SIGTERM, SIGINT, `stop` or the limit of time; what was begun has a checkpoint

Every run is reported exactly once besides its status.

Small networks leave most of a GPU idle: side by side their epochs overlap there, and seeds of one width share a captured
graph. On a CPU they take turns. Records are those of networks alone, but for the times.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..config import Run
from ..data.preparation import Prepared, prepare
from ..errors import ConfigError
from ..train import graphs, loop
from ..train.loop import Acceleration
from . import checkpoints, locks, resources
from .jobs import Bench, Hold, Job, Skipped, described, write_log
from .provenance import Spent
from .resources import Limit, Signals, TimeUp
from .watching import Report, Status


@dataclass(frozen=True)
class Options:
    """How runs are done; picklable."""

    at_once: int = 1  # networks in training side by side in the process
    device: str = "auto"
    threads: int = 1
    keep: bool = True  # records, and locks, checkpoints and status on the way; else nothing is written but weights
    root: Path | None = None  # of the records; None: the usual place
    acceleration: Acceleration = Acceleration()  # noqa: RUF009 (frozen)
    checkpoint_seconds: float = checkpoints.SECONDS  # between checkpoints; 0: after every step
    checkpoint_epochs: int | None = None  # between checkpoints, if that is sooner
    checkpoints_kept: int | None = None  # None: two, or one, which is less to move, where there is a limit of time
    force: bool = False  # although there is a record
    reuse: bool | None = None  # kept weights, see `jobs.Job`
    engine: str = "processes"  # for the status files
    until: float | None = None  # by `time.monotonic` of this machine, when everything is over: see `resources`


def do(
    todo: Iterable[Run],
    options: Options = Options(),
    report: Report = lambda run, kind, content: None,
    *,
    prepared: Prepared | None = None,
    stop: Callable[[], bool] = lambda: False,
    more: Callable[[], list[Run] | None] = lambda: None,
    reraise: bool = False,
) -> None:
    """Runs of one experiment, from configuration to record: see the module.

    `stop` is asked after every step (on a GPU: epoch) and every few measured images; once it is true, checkpoints are written and
    KeyboardInterrupt is raised, or `resources.TimeUp` at the limit of time. `more` is asked after every epoch for further runs; None:
    there will be none. With `reraise`, what went wrong with a run is raised after it was logged, instead of reported.
    """
    worker = _Worker(list(todo), options, report, prepared, stop, more, reraise)
    with worker.signals, worker.settings:
        worker.settings.enter_context(resources.threads(options.threads))
        try:
            worker.work()
        except KeyboardInterrupt:
            if worker.limit.reached and not worker.signals.received:
                raise TimeUp from None
            raise
        except Exception as error:  # of all of them
            for run in list(worker.todo):
                worker.fail(run, error)
            if reraise:
                raise
        finally:
            worker.leave()


@dataclass(eq=False)
class _Worker:
    """The runs that this process does, and what each of those under way holds."""

    todo: list[Run]  # those that are not over
    options: Options
    report: Report
    prepared: Prepared | None
    stop_asked: Callable[[], bool]
    more: Callable[[], list[Run] | None]
    reraise: bool
    signals: Signals = field(default_factory=Signals)  # noted as soon as there may be a checkpoint to write
    settings: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  # of the process, to be put back
    open: bool = True  # there may be more
    active: list[Job] = field(default_factory=list)
    held: dict[Run, Hold] = field(default_factory=dict)
    observer: locks.Observer = field(default_factory=locks.Observer)

    def __post_init__(self) -> None:
        self.waiting, self.limit = list(self.todo), Limit(self.options.until)

    def stop(self) -> bool:
        """Is it time to stop?"""
        return self.signals.received or self.stop_asked() or self.limit.up()

    def work(self) -> None:
        """Do them all; KeyboardInterrupt when it is time to stop, or too late for another run."""
        bench, options = None, self.options
        if options.at_once < 1:
            raise ConfigError(f"at_once is {options.at_once}: it must be at least 1.")
        resources.keep_freed_blocks()
        while self.open or self.waiting or self.active:
            new = self.more() if self.open else None
            self.open = new is not None
            self.todo += new or []
            self.waiting += new or []
            if self.waiting or self.active:
                if not bench:
                    device, first = resources.choose(options.device), self.waiting[0]
                    if device.type == "cuda":  # libraries that ask for "the" GPU get this one
                        self.settings.enter_context(torch.cuda.device(device))
                    data = self.prepared or prepare(first)
                    bench = Bench(first, data, device, options.at_once, options.acceleration)
                own = {"width": bench.config.width, "seed": bench.config.seed}
                if any(run.model_copy(update=own) != bench.config for run in self.waiting):
                    raise ConfigError("Runs side by side are of one experiment: they differ in width and seed alone.")
                self._begin(bench)
                self._train_an_epoch()
                for job in [job for job in self.active if job.trainer.done or job.trainer.error]:
                    self._finish(job)
            elif self.open:
                self._stop_if_asked()
                time.sleep(0.05)

    def _begin(self, bench: Bench) -> None:
        """Begin runs as long as there is room for them."""
        while self.waiting and len(self.active) < self.options.at_once:
            if self.limit.too_short_to_begin():
                if self.active:
                    break
                raise TimeUp
            run, since = self.waiting.pop(0), time.monotonic()
            try:
                keeper = None
                if self.options.keep:
                    self.signals.noted = True
                    self.held[run] = Hold.take(run, self.options, self.observer)
                    keeper = self.held[run].keeper
                self.active.append(Job(run, bench, keeper, False if self.options.force else self.options.reuse))
                self.limit.began(time.monotonic() - since)
            except (Skipped, locks.Held) as why:
                self._over(run, "skipped", str(why))
            except locks.Undecided:  # others are tried first
                self.waiting.append(run)
                if self.active:
                    break
                self._stop_if_asked()
                time.sleep(0.1)
            except Exception as error:
                self.fail(run, error)
        if len(self.active) == self.options.at_once or not self.open:  # what nobody will take over needs no memory
            wanted = {run.width for run in self.waiting}
            bench.idle = {width: idle for width, idle in bench.idle.items() if width in wanted}
        self.limit.networks = len(self.active)

    def _train_an_epoch(self) -> None:
        """An epoch of each, with checkpoints where they are due; what must not be lost is written before anything else."""
        jobs = [job for job in self.active if not job.trainer.done]
        if new := [job for job in jobs if job.trainer.graphed and not job.trainer.graph]:
            with Spent() as spent:
                graphs.capture([job.trainer for job in new])
            for job in new:
                job.spend("compile", spent, len(new))
            self.limit.began(spent.wall)
        ended = {}
        with Spent() as spent:
            for _ in loop.steps(job.trainer for job in jobs if not job.trainer.error):
                # At the end of an epoch its evaluation comes first.
                sound = [job for job in jobs if not job.trainer.error]
                within = [job for job in sound if job.trainer.within_epoch and not job.trainer.graph]
                stopping = len(within) == len(sound) and self.stop()
                for job in within:
                    if stopping or job.due(job.trainer.epoch - 1):
                        self._save(job, spent.so_far(), len(jobs))
                if stopping:
                    raise KeyboardInterrupt
            for job in jobs:
                with job.alone():
                    ended[job] = job.trainer.finish()
        for job, progress in ended.items():
            with job.alone():
                self._tell(job.config, job.after_epoch(progress, spent, len(jobs)))
        stopping = self.stop()
        for job in jobs:
            if job.trainer.error:
                continue
            if job.trainer.done == "complete":
                job.keep_weights()
            if stopping or job.trainer.done == "complete" or job.due(job.trainer.epoch):
                self._save(job)
        if stopping:
            raise KeyboardInterrupt

    def _finish(self, job: Job) -> None:
        """Measure what was trained, and keep what was found, or log what went wrong."""
        self.active.remove(job)
        run, trainer = job.config, job.trainer
        try:
            if trainer.error:
                raise trainer.error
            record = job.record(partial(self._after_points, job))
            if run in self.held:
                self.held[run].write(record)
        except KeyboardInterrupt:
            for other in self.active:
                self._save(other)
            raise
        except locks.LockLost as lost:
            self._over(run, "skipped", str(lost))
        except Exception as error:
            self.fail(run, error)
        else:
            if trainer.reusable and (self.open or any(other.width == run.width for other in self.waiting)):
                job.bench.idle.setdefault(run.width, []).append(trainer)
            self._over(run, record["status"], None if self.options.keep else record)

    def _save(self, job: Job, spent: Spent | None = None, shared_by: int = 1) -> None:
        with Spent() as writing:
            job.save(spent, shared_by)
        self.limit.wrote(writing.wall)

    def _after_points(self, job: Job, done: int, n: int) -> None:
        self._tell(job.config, Status("measure", done, n, device=str(job.bench.device)))
        self._stop_if_asked()  # the checkpoint of the last epoch is there already

    def _tell(self, run: Run, status: Status) -> None:
        if run in self.held:
            self.held[run].status.tell(status)
        self.report(run, "status", status)

    def _stop_if_asked(self) -> None:
        if self.stop():
            raise KeyboardInterrupt

    def fail(self, run: Run, error: Exception) -> None:
        path = write_log(run, error, self.options.root) if self.options.keep else None
        if run in self.held:
            self.held[run].status.tell(Status("failed", 0, 1), path)
        text = described(error)
        self._over(run, None if self.reraise else "failed", f"{text}\nIts log: {path}" if path else text)
        if self.reraise:
            raise error

    def leave(self) -> None:
        """Let go of what was begun, and report what was not finished."""
        for run, held in list(self.held.items()):
            held.status.stop()
            self.held.pop(run).lock.release()
        for run in list(self.todo):
            self._over(run, "stopped")

    def _over(self, run: Run, kind: str | None, content: Any = None) -> None:
        """Let go of a run, and report what became of it, if that is to be reported."""
        if run in self.held:
            self.held.pop(run).lock.release()
        self.todo.remove(run)
        if kind:
            self.report(run, kind, content)
