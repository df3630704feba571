"""A run under way: its network in training, its history, its time; and what it holds beside its record: a lock, checkpoints,
its status, and a log where it failed."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import files, locations
from ..config import SCHEMA, Run
from ..data.preparation import Prepared, TrainingData
from ..errors import RecordError, UserError
from ..train import loop, models
from ..train.evaluation import Evaluator
from ..train.loop import Acceleration, Trainer
from ..train.step import Recipe
from . import checkpoints, locks, provenance, resources, store, weights
from .checkpoints import DiskKeeper, State
from .provenance import Spent
from .record_format import Record
from .watching import Status, StatusFile

if TYPE_CHECKING:
    from .work import Options


class Skipped(Exception):
    """A run is not to be done here, and why: it is done."""


@dataclass
class Hold:
    """What a run of this process holds, as long as the lock is its own."""

    run: Run
    root: Path | None  # of the records
    lock: locks.Lock
    keeper: DiskKeeper
    status: StatusFile

    @classmethod
    def take(cls, run: Run, options: Options, observer: locks.Observer) -> Hold:
        """Make a run ours. Raises Skipped or `locks.Held` if it is not to be done here, `locks.Undecided` as long as that is not
        known, RecordError if nothing can be written there.
        """
        path = store.lock_path(run, options.root)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = locks.acquire(path, observer)
        except OSError as error:
            raise RecordError(f"Cannot write to {path.parent}: {files.unwritable(error)}.") from None
        try:  # another process may have finished it a moment ago
            if not options.force and store.read(run, options.root) is not None:
                raise Skipped("has a record already")
            kept = options.checkpoints_kept or (checkpoints.KEPT if options.until is None else 1)
            every = options.checkpoint_seconds, options.checkpoint_epochs
            keeper = DiskKeeper(run, options.root, *every, lock.check, kept)
            status = StatusFile(run, options.root, options.engine, str(resources.choose(options.device)))
            return cls(run, options.root, lock, keeper, status)
        except BaseException:
            lock.release()
            raise

    def write(self, record: Record) -> None:
        """Keep the run's record, and nothing else of it. Raises RecordError if that cannot be; `locks.LockLost` if the
        run is not ours any more.
        """
        path = store.path_of(self.run, self.root)
        if not path.parent.is_dir():
            raise RecordError(f"{path.parent} vanished while {self.run} was measured: the record cannot be written.")
        try:
            self.lock.check()
            store.write(record, self.run, self.root)
        except locks.LockLost:
            raise
        except (OSError, RecordError) as error:
            why = f"Cannot write to {path.parent} ({error.strerror})" if isinstance(error, OSError) else str(error)
            kept = "; the trained network is kept: started again, the run is measured only"
            raise RecordError(f"{why.removesuffix('.')}{kept if self.keeper.paths() else ''}.") from None
        with contextlib.suppress(OSError):
            self.keeper.discard()
            for left in [*path.parent.glob(f".{path.name}.*.tmp"), log_path(self.run, self.root)]:
                left.unlink(missing_ok=True)
        self.status.remove()


def described(error: Exception) -> str:
    """What went wrong, for whoever asked for the run: a sentence, or where it is no user's to mend, with its stack."""
    return str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error)).rstrip()


def log_path(run: Run, root: Path | None = None) -> Path:
    """Where the log of a failed run is."""
    return store.lock_path(run, root).with_suffix(".log")


def write_log(run: Run, error: Exception, root: Path | None = None) -> Path | None:
    """What went wrong with a run, beside its checkpoints or else in the cache; where it was written, if it could be."""
    text = f"{provenance.now()} {locks.here()}: {run} failed\n" + "".join(traceback.format_exception(error))
    path, cache = log_path(run, root), locations.cache() / "logs"
    for place in (path, cache / f"{run.scale}-{run.name}-{path.name}"):
        with contextlib.suppress(OSError):
            if place is not path:
                cache.mkdir(parents=True, exist_ok=True)
            with open(place, "a", encoding="utf-8") as file:
                file.write(text)
            return place
    return None


@dataclass
class Bench:
    """What runs of one experiment share: the data where it is trained on, the evaluator, captured graphs."""

    config: Run  # the first of them
    data: Prepared
    device: torch.device
    at_once: int
    acceleration: Acceleration

    def __post_init__(self) -> None:
        self.code, train = provenance.code(), self.data.train
        if multiprocessing.parent_process() is None:  # a sweep says it for its workers
            provenance.warn_of_unknown()
        self.evaluator = Evaluator(self.data, self.config, self.device)
        place = self.device if self.acceleration.data_on_device else torch.device("cpu")
        how = self.data.normalize, self.config.precision, place
        self.training_data = TrainingData.of(train.images, train.labels, *how)
        self.idle: dict[int, list[Trainer]] = {}  # by width, for the next seed

    def trainer(self, config: Run) -> Trainer:
        model = models.of_run(config, self.data.train.images.shape[1:])
        if self.idle.get(config.width):
            trainer = self.idle[config.width].pop()
            trainer.start(config.seed, model.state_dict())
            return trainer
        return Trainer(model.to(self.device), self.training_data, Recipe.of(config), config.seed, self.acceleration)


class Job:
    """A run under way, with a keeper of its checkpoints or none.

    With `reuse` kept weights are measured and nothing is trained; with None that is so where only the measuring differs.
    """

    def __init__(self, config: Run, bench: Bench, keeper: DiskKeeper | None, reuse: bool | None) -> None:
        self.config, self.bench, self.keeper = config, bench, keeper
        origin = bench.code | provenance.machine(bench.device) | {"precision": config.precision}
        origin |= {"at_once": bench.at_once, "acceleration": dataclasses.asdict(bench.acceleration)}
        origin["start"] = provenance.now()
        seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0, "measure": 0.0}
        self.so_far = State(epoch=0, step=0, done=None, history=[], seconds=seconds, origin=origin)
        self.evaluate_at = set(loop.evaluation_epochs(config.epochs, config.n_evaluations, config.n_last_evaluations))
        found = keeper.load(bench.data.dataset.fingerprint) if keeper else None
        self.trainer = bench.trainer(config)
        if found:
            checkpoints.restore(self.trainer, *found)
            self._resume(found[1])
        elif reuse or (reuse is None and config.measured_otherwise):
            self._measure_only(required=bool(reuse))

    def _measure_only(self, required: bool) -> None:
        """Take the kept weights of a network that was trained as this one is to be."""
        kept = weights.trained(self.config, self.bench.data.dataset.fingerprint)
        if kept is None:
            if required:
                raise RecordError(f"{self.config}: no weights of such a training are kept here; sweep trains it first.")
            return
        tensors, found = kept
        trainer = self.trainer
        trainer.start(self.config.seed, tensors)
        trainer.epoch, trainer.done, trainer.step = found.epoch, found.done, found.epoch * trainer.steps_per_epoch
        self._resume(found)
        self.so_far.history = self.so_far.history[:-1]
        self._evaluate(found.epoch)

    def _resume(self, found: State) -> None:
        origin = self.so_far.origin
        before = {name: found.origin[name] for name in ("commit", "device_name", "threads")}
        resumed = {"epoch": found.epoch, "stopped": found.stopped, "start": origin["start"], **before}
        origin |= {"start": found.origin["start"]}
        self.so_far = found.model_copy(update={"origin": origin, "resumed": [*found.resumed, resumed]})

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """What goes wrong in the body ends this run, and none beside it."""
        try:
            yield
        except Exception as error:
            self.trainer.error = error

    def due(self, epoch: int) -> bool:
        """Is it time for a checkpoint?"""
        return self.keeper is not None and self.keeper.due(epoch)

    def save(self, spent: Spent | None = None, shared_by: int = 1) -> None:
        """A checkpoint, `spent` after the last epoch; that the run is not ours any more ends it, beside others."""
        if self.keeper is not None:
            tensors, state = checkpoints.capture(self.trainer), self.state(spent, shared_by)
            with self.alone():
                self.keeper.save(tensors, state, self.bench.data.dataset.fingerprint)

    def keep_weights(self, epoch: int | None = None) -> None:
        """Keep the network as it is now, for whoever measures it again."""
        data, state = self.bench.data, self.state() if epoch is None else None
        shape, fingerprint = data.train.images.shape[1:], data.dataset.fingerprint
        weights.save_network(self.trainer.model, self.config, fingerprint, epoch=epoch, image_shape=shape, state=state)

    def state(self, spent: Spent | None = None, shared_by: int = 1) -> State:
        """How far the run is, `spent` after the last epoch."""
        trainer = self.trainer
        now = {"epoch": trainer.epoch, "step": trainer.step, "done": trainer.done, "stopped": provenance.now()}
        found = self.so_far.model_copy(update=now, deep=True)
        if spent:
            found.seconds["train"] += spent.wall / shared_by
            found.cpu_seconds += spent.cpu / shared_by
        return found

    def after_epoch(self, progress: loop.Progress, spent: Spent, active: int) -> Status:
        """Evaluate where it is time; the time of the epoch is shared among the networks that trained in it."""
        self.spend("train", spent, active)
        self.so_far.networks += active / self.config.epochs
        if progress.epoch in self.evaluate_at and not progress.diverged:
            self._evaluate(progress.epoch)
        if progress.epoch in self.config.keep_epochs and not progress.diverged:
            self.keep_weights(progress.epoch)
        place = str(self.bench.device)
        return Status("train", progress.epoch, self.config.epochs, progress.loss, progress.error, place)

    def record(self, after_points: Callable[[int, int], None]) -> Record:
        """Measure the trained network and put everything together; told are the points done, and how many there are."""
        config, trainer, bench, so_far = self.config, self.trainer, self.bench, self.so_far
        measured = None
        if trainer.done == "complete":
            with Spent() as spent:
                measured = bench.evaluator.volumes(trainer.model, after_points)
            self.spend("measure", spent)
        origin = so_far.origin | {
            "end": provenance.now(),
            "resumed": so_far.resumed,
            "wall_s": {stage: round(value, 2) for stage, value in so_far.seconds.items()},
            "cpu_s": round(so_far.cpu_seconds, 2),
            "side_by_side": round(so_far.networks, 2),
            "images_per_s": round(trainer.epoch * len(bench.data.train) / max(so_far.seconds["train"], 1e-9), 1),
            "peak_memory_mib": provenance.peak_memory_mib(bench.device),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
        }
        record: Record = {
            "schema": SCHEMA,
            "status": trainer.done,
            "digest": config.digest,
            "config": config.canonical(),
        }
        record |= {"data": bench.data.description(), "epochs_run": trainer.epoch, "history": so_far.history}
        return record | {"volumes": measured, "provenance": origin}

    def spend(self, stage: str, spent: Spent, shared_by: int = 1) -> None:
        self.so_far.seconds[stage] += spent.wall / shared_by
        self.so_far.cpu_seconds += spent.cpu / shared_by

    def _evaluate(self, epoch: int) -> None:
        with Spent() as spent:
            entry = self.bench.evaluator.epoch(self.trainer.model)
        self.spend("evaluate", spent)
        self.so_far.history.append({"epoch": epoch, **entry})
