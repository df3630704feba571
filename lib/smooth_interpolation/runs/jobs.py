"""A run under way: its network in training, its history, its time, its checkpoints."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch

from ..config import SCHEMA, Run
from ..data.inputs import TrainingData
from ..data.preparation import Prepared
from ..errors import RecordError, UserError
from ..train import loop, models
from ..train.evaluation import Evaluator
from ..train.loop import Acceleration, Trainer
from ..train.step import Recipe
from . import checkpoints, provenance, store, weights
from .checkpoints import Keeper
from .limits import Limit
from .provenance import Spent, timed
from .watching import Status

Result = TypeVar("Result")


class Later(Exception):
    """Whether a run may begin is not known yet: others are to be tried first."""


class Host:
    """Whom runs are done for: asked and told on the way. This one has all that were given done, and keeps nothing.

    Args:
        until: when everything must be over, see `limits.Limit`; that it is up, `stop` has to say.
    """

    def __init__(self, until: float | None = None):
        self.limit = Limit(until)

    reuse: bool | None = (
        None  # kept weights: True: nothing is trained, None: where only the measuring differs, False: never
    )

    def begin(self, run: Run) -> Keeper | None:
        """Where the checkpoints of a run go, as its turn comes; None: leave it out.

        Raises:
            Later: as long as there are others to do first.
        """
        return Keeper()

    def watch(self, run: Run, status: Status) -> None:
        """Told after every epoch and every few measured images."""

    def stop(self) -> bool:
        """Is it time to stop? Asked after every step (on a GPU: epoch) and every few measured images."""
        return False

    def more(self) -> list[Run] | None:
        """Runs of the same experiment that have come up since, asked after every epoch; None: there will be no more."""
        return None


def train_an_epoch(jobs: list[Job], host: Host) -> None:
    """An epoch of each, with checkpoints where they are due; what must not be lost is written before anything else."""

    def failed(trainer: Trainer, error: Exception) -> None:
        next(job for job in jobs if job.trainer is trainer).error = error

    new = [job for job in jobs if job.trainer.graphed and not job.trainer.graph]
    if new:
        with timed() as spent:
            loop.capture([job.trainer for job in new], failed)
        for job in new:
            job._spend("compile", spent, len(new))
        host.limit.began(spent.wall)
    with timed() as spent:

        def between() -> None:
            # At the end of an epoch its evaluation comes first.
            sound = [job for job in jobs if not job.error]
            within = [job for job in sound if job.trainer.within_epoch and not job.trainer.graph]
            stopping = len(within) == len(sound) and host.stop()
            for job in within:
                if stopping or job.keeper.due(job.trainer.epoch - 1):
                    job.save(spent.so_far(), len(jobs))
            if stopping:
                raise KeyboardInterrupt

        loop.launch((job.trainer for job in jobs if not job.error), between, failed)
        epochs = {job: job.guarded(job.trainer.finish) for job in jobs if not job.error}
    for job, progress in epochs.items():
        if progress:
            job.guarded(partial(job.after_epoch, progress, spent, len(jobs)))
    stopping = host.stop()
    for job in jobs:
        if job.error:
            continue
        if job.trainer.done == "complete":
            job.keep_weights()
        if stopping or job.trainer.done == "complete" or job.keeper.due(job.trainer.epoch):
            job.save()
    if stopping:
        raise KeyboardInterrupt


class Bench:
    """What runs of one experiment share: the data where it is trained on, the evaluator, captured graphs."""

    def __init__(
        self, config: Run, data: Prepared, device: torch.device, at_once: int, acceleration: Acceleration, host: Host
    ) -> None:
        self.data, self.device, self.at_once, self.acceleration = data, device, at_once, acceleration
        self.config, self.host = config, host
        self.code = provenance.code()
        if multiprocessing.parent_process() is None:  # a sweep says it for its workers
            provenance.warn_of_unknown()
        self.evaluator = Evaluator(data, config, device)
        place = device if acceleration.data_on_device else torch.device("cpu")
        train = data.train
        self.training_data = TrainingData.of(train.images, train.labels, data.normalize, config.precision, place)
        self.idle: dict[int, list[Trainer]] = {}  # by width, for the next seed

    def trainer(self, config: Run) -> Trainer:
        model = models.of_run(config, self.data.train.images.shape[1:])
        if self.idle.get(config.width):
            trainer = self.idle[config.width].pop()
            trainer.start(config.seed, model.state_dict())
            return trainer
        return Trainer(model.to(self.device), self.training_data, Recipe.of(config), config.seed, self.acceleration)


class Job:
    """A run under way."""

    def __init__(self, config: Run, bench: Bench, keeper: Keeper) -> None:
        self.config, self.bench, self.host, self.keeper = config, bench, bench.host, keeper
        self.place = str(bench.device)
        self.error: Exception | None = None  # what ended the run, while those beside it go on
        self.origin = {
            **bench.code,
            **provenance.machine(bench.device),
            "precision": config.precision,
            "at_once": bench.at_once,
            "acceleration": dataclasses.asdict(bench.acceleration),
            "start": provenance.now(),
        }
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0, "measure": 0.0}
        self.cpu_seconds = self.networks = 0.0
        self.history: list[dict[str, Any]] = []
        self.resumed: list[dict[str, Any]] = []
        self.evaluate_at = set(loop.evaluation_epochs(config.epochs, config.n_evaluations, config.n_last_evaluations))
        found = keeper.load(bench.data.dataset.fingerprint)
        self.trainer = bench.trainer(config)
        if found:
            checkpoints.restore(self.trainer, *found)
            self._resume(found[1])
        elif self.host.reuse or (self.host.reuse is None and config.measured_otherwise):
            self._measure_only()

    def _measure_only(self) -> None:
        """Take the kept weights of a network that was trained as this one is to be."""
        kept = weights.trained(self.config, self.bench.data.dataset.fingerprint)
        if kept is None:
            if self.host.reuse:
                raise RecordError(f"{self.config}: no weights of such a training are kept here; sweep trains it first.")
            return
        tensors, found = kept
        self.trainer.start(self.config.seed, tensors)
        self.trainer.epoch, self.trainer.done = found.epoch, found.done
        self.trainer.step = found.epoch * self.trainer.steps_per_epoch
        self._resume(found)
        with timed() as spent:
            entry = self.bench.evaluator.epoch(self.trainer.model)
        self._spend("evaluate", spent)
        self.history = [*self.history[:-1], {"epoch": found.epoch, **entry}]

    def _resume(self, found: checkpoints.State) -> None:
        self.seconds, self.cpu_seconds, self.networks = found.seconds, found.cpu_seconds, found.networks
        self.history = found.history
        before = {name: found.origin[name] for name in ("commit", "device_name", "threads")}
        self.resumed = [
            *found.resumed,
            {"epoch": found.epoch, "stopped": found.stopped, "start": self.origin["start"], **before},
        ]
        self.origin["start"] = found.origin["start"]

    def guarded(self, step: Callable[[], Result]) -> Result | None:
        """A step of this run alone: what goes wrong in it ends the run, and none beside it."""
        try:
            return step()
        except Exception as error:
            self.error = error
            return None

    def save(self, spent: Spent | None = None, shared_by: int = 1) -> None:
        """A checkpoint, `spent` after the last epoch; that the run is not ours any more ends it, beside others."""
        state = self.state(spent, shared_by)
        try:
            with timed() as writing:
                self.keeper.save(checkpoints.capture(self.trainer), state, self.bench.data.dataset.fingerprint)
            self.host.limit.wrote(writing.wall)
        except UserError as error:
            self.error = error

    def keep_weights(self, epoch: int | None = None) -> None:
        """Keep the network as it is now, for whoever measures it again."""
        data, state = self.bench.data, self.state() if epoch is None else None
        shape = data.train.images.shape[1:]
        model, fingerprint = self.trainer.model, data.dataset.fingerprint
        weights.save_network(model, self.config, fingerprint, epoch=epoch, image_shape=shape, state=state)

    def state(self, spent: Spent | None = None, shared_by: int = 1) -> checkpoints.State:
        """How far the run is, `spent` after the last epoch."""
        seconds, cpu_seconds = dict(self.seconds), self.cpu_seconds
        if spent:
            seconds["train"] += spent.wall / shared_by
            cpu_seconds += spent.cpu / shared_by
        return checkpoints.State(
            epoch=self.trainer.epoch,
            step=self.trainer.step,
            done=self.trainer.done,
            history=self.history,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            networks=self.networks,
            origin=self.origin,
            stopped=provenance.now(),
            resumed=self.resumed,
        )

    def after_epoch(self, progress: loop.Progress, spent: Spent, active: int) -> None:
        """Evaluate where it is time; the time of the epoch is shared among the networks that trained in it."""
        self._spend("train", spent, active)
        self.networks += active / self.config.epochs
        if progress.epoch in self.evaluate_at and not progress.diverged:
            with timed() as spent:
                entry = self.bench.evaluator.epoch(self.trainer.model)
            self._spend("evaluate", spent)
            self.history.append({"epoch": progress.epoch, **entry})
        if progress.epoch in self.config.keep_epochs and not progress.diverged:
            self.keep_weights(progress.epoch)
        status = Status("train", progress.epoch, self.config.epochs, progress.loss, progress.error, self.place)
        self.host.watch(self.config, status)

    def record(self) -> store.Record:
        """Measure the trained network and put everything together."""
        config, trainer, bench = self.config, self.trainer, self.bench
        measured = None
        if trainer.done == "complete":
            with timed() as spent:
                measured = bench.evaluator.volumes(trainer.model, self._after_points)
            self._spend("measure", spent)
        data = bench.data
        origin = self.origin | {
            "end": provenance.now(),
            "resumed": self.resumed,
            "wall_s": {stage: round(value, 2) for stage, value in self.seconds.items()},
            "cpu_s": round(self.cpu_seconds, 2),
            "side_by_side": round(self.networks, 2),
            "images_per_s": round(trainer.epoch * len(data.train) / max(self.seconds["train"], 1e-9), 1),
            "peak_memory_mib": provenance.peak_memory_mib(bench.device),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
        }
        return {
            "schema": SCHEMA,
            "status": trainer.done,
            "digest": config.digest,
            "config": config.canonical(),
            "data": data.description(),
            "epochs_run": trainer.epoch,
            "history": self.history,
            "volumes": measured,
            "provenance": origin,
        }

    def _after_points(self, done: int, n: int) -> None:
        self.host.watch(self.config, Status("measure", done, n, device=self.place))
        if self.host.stop():  # the checkpoint of the last epoch is there already
            raise KeyboardInterrupt

    def _spend(self, stage: str, spent: Spent, shared_by: int = 1) -> None:
        self.seconds[stage] += spent.wall / shared_by
        self.cpu_seconds += spent.cpu / shared_by
