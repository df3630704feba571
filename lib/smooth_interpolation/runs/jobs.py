"""A run under way: its network in training, its history, its time. It writes nothing but checkpoints, and asks nobody."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
from collections.abc import Callable, Iterable, Iterator

import torch

from ..config import SCHEMA, Run
from ..data.inputs import TrainingData
from ..data.preparation import Prepared
from ..errors import ConfigError, RecordError, UserError
from ..train import loop, models
from ..train.evaluation import Evaluator
from ..train.loop import Acceleration, Trainer
from ..train.step import Recipe
from . import checkpoints, provenance, weights
from .checkpoints import DiskKeeper, State
from .provenance import Spent, timed
from .record_format import Record
from .watching import Status


class Bench:
    """What runs of one experiment share: the data where it is trained on, the evaluator, captured graphs."""

    def __init__(
        self, config: Run, data: Prepared, device: torch.device, at_once: int, acceleration: Acceleration
    ) -> None:
        self.data, self.device, self.at_once, self.acceleration = data, device, at_once, acceleration
        self.config, self.code = config, provenance.code()
        if multiprocessing.parent_process() is None:  # a sweep says it for its workers
            provenance.warn_of_unknown()
        self.evaluator = Evaluator(data, config, device)
        place = device if acceleration.data_on_device else torch.device("cpu")
        train = data.train
        self.training_data = TrainingData.of(train.images, train.labels, data.normalize, config.precision, place)
        self.idle: dict[int, list[Trainer]] = {}  # by width, for the next seed

    def refuse_others(self, runs: Iterable[Run]) -> None:
        """Raises ConfigError if they are not of this experiment."""
        first = self.config
        if any(run.model_copy(update={"width": first.width, "seed": first.seed}) != first for run in runs):
            raise ConfigError("Runs side by side must be of one experiment: they may differ in width and seed alone.")

    def trainer(self, config: Run) -> Trainer:
        model = models.of_run(config, self.data.train.images.shape[1:])
        if self.idle.get(config.width):
            trainer = self.idle[config.width].pop()
            trainer.start(config.seed, model.state_dict())
            return trainer
        return Trainer(model.to(self.device), self.training_data, Recipe.of(config), config.seed, self.acceleration)


class Job:
    """A run under way.

    Args:
        config: the run.
        bench: what it shares with others.
        keeper: of its checkpoints; None: it has none.
        reuse: kept weights: True: nothing is trained, None: where only the measuring differs, False: never.
    """

    def __init__(self, config: Run, bench: Bench, keeper: DiskKeeper | None, reuse: bool | None) -> None:
        self.config, self.bench, self.keeper = config, bench, keeper
        origin = {
            **bench.code,
            **provenance.machine(bench.device),
            "precision": config.precision,
            "at_once": bench.at_once,
            "acceleration": dataclasses.asdict(bench.acceleration),
            "start": provenance.now(),
        }
        seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0, "measure": 0.0}
        self.so_far = State(
            epoch=0, step=0, done=None, history=[], seconds=seconds, cpu_seconds=0.0, networks=0.0, origin=origin
        )
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
        self.trainer.start(self.config.seed, tensors)
        self.trainer.epoch, self.trainer.done = found.epoch, found.done
        self.trainer.step = found.epoch * self.trainer.steps_per_epoch
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
        if self.keeper is None:
            return
        tensors, state = checkpoints.capture(self.trainer), self.state(spent, shared_by)
        try:
            self.keeper.save(tensors, state, self.bench.data.dataset.fingerprint)
        except UserError as error:
            self.trainer.error = error

    def keep_weights(self, epoch: int | None = None) -> None:
        """Keep the network as it is now, for whoever measures it again."""
        data, state = self.bench.data, self.state() if epoch is None else None
        shape = data.train.images.shape[1:]
        model, fingerprint = self.trainer.model, data.dataset.fingerprint
        weights.save_network(model, self.config, fingerprint, epoch=epoch, image_shape=shape, state=state)

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
            with timed() as spent:
                measured = bench.evaluator.volumes(trainer.model, after_points)
            self.spend("measure", spent)
        data = bench.data
        origin = so_far.origin | {
            "end": provenance.now(),
            "resumed": so_far.resumed,
            "wall_s": {stage: round(value, 2) for stage, value in so_far.seconds.items()},
            "cpu_s": round(so_far.cpu_seconds, 2),
            "side_by_side": round(so_far.networks, 2),
            "images_per_s": round(trainer.epoch * len(data.train) / max(so_far.seconds["train"], 1e-9), 1),
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
            "history": so_far.history,
            "volumes": measured,
            "provenance": origin,
        }

    def spend(self, stage: str, spent: Spent, shared_by: int = 1) -> None:
        self.so_far.seconds[stage] += spent.wall / shared_by
        self.so_far.cpu_seconds += spent.cpu / shared_by

    def _evaluate(self, epoch: int) -> None:
        with timed() as spent:
            entry = self.bench.evaluator.epoch(self.trainer.model)
        self.spend("evaluate", spent)
        self.so_far.history.append({"epoch": epoch, **entry})
