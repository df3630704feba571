"""One run from configuration to record: load the data, train, evaluate, measure."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import files, locations, memory, models, provenance, store, training
from .config import SCHEMA, Measurement, Run
from .errors import ConfigError, RecordError
from .evaluation import Evaluator
from .preparation import Prepared, prepare
from .training import Acceleration, Trainer, TrainingData

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """What a run is doing, for progress displays."""

    stage: str  # "train" or "measure"
    done: int
    total: int
    loss: float = float("nan")
    error: float = float("nan")  # of the epoch's batches, in percent


Watch = Callable[[Status], None]


def run(
    config: Run,
    *,
    device: str = "auto",
    threads: int = 1,
    watch: Watch = lambda status: None,
    prepared: Prepared | None = None,
    acceleration: Acceleration = Acceleration(),  # noqa: B008 (frozen)
) -> store.Record:
    """Train and measure one network.

    Args:
        config: what to do.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or another of PyTorch's names.
        threads: CPU threads; records are equal bit by bit only for the same number.
        watch: called after every epoch and every few measured images.
        prepared: the data, if it is at hand already.
        acceleration: parts of it can be turned off.

    Returns:
        The record, not yet written. The final weights are in the cache, see `network`.

    Raises:
        UserError: for what a user can mend; nothing has been trained then.
    """
    [(_, record)] = run_side_by_side(
        [config],
        device=device,
        threads=threads,
        watch=lambda _, status: watch(status),
        prepared=prepared,
        acceleration=acceleration,
    )
    if isinstance(record, Exception):
        raise record
    return record


def run_side_by_side(
    configs: Iterable[Run],
    *,
    at_once: int = 1,
    device: str = "auto",
    threads: int = 1,
    watch: Callable[[Run, Status], None] = lambda run, status: None,
    prepared: Prepared | None = None,
    acceleration: Acceleration = Acceleration(),  # noqa: B008 (frozen)
) -> Iterator[tuple[Run, store.Record | Exception]]:
    """Runs of one experiment in one process, `at_once` of them in training at any time, as each is finished.

    Yields each run with its record, or with what went wrong while it was measured; those beside it go on.

    Small networks leave most of a GPU idle: their epochs overlap there, and seeds of one width share a captured graph. On
    a CPU they take turns. Records are those of `run`, but for the times.

    Raises:
        ConfigError: if the runs differ in more than width and seed, or `at_once` is below 1.
        UserError: as `run`.
    """
    waiting = list(configs)
    if at_once < 1:
        raise ConfigError(f"at_once is {at_once}: it must be at least 1.")
    if not waiting:
        return
    if len({json.dumps(c.model_dump(mode="json", exclude={"width", "seed"}), sort_keys=True) for c in waiting}) > 1:
        raise ConfigError("Runs side by side must be of one experiment: they may differ in width and seed alone.")
    memory.keep_freed_blocks()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        place = choose_device(device)
        bench = _Bench(waiting[0], prepared or prepare(waiting[0]), place, at_once, acceleration)
        active: list[_Job] = []
        while waiting or active:
            while waiting and len(active) < at_once:
                active.append(_Job(waiting.pop(0), bench, watch))
            with _timed() as spent:
                training.launch(job.trainer for job in active)
                epochs = [job.trainer.finish() for job in active]
            for job, progress in zip(active, epochs, strict=True):
                job.after_epoch(progress, spent, len(active))
            finished = [job for job in active if job.trainer.done]
            for job in finished:  # before anything is measured, which may fail
                if job.trainer.done == "complete":
                    save_network(job.trainer.model, job.config)
            for job in finished:
                active.remove(job)
                try:
                    result: store.Record | Exception = job.record()
                except Exception as error:
                    result = error
                if any(config.width == job.config.width for config in waiting):
                    bench.idle.setdefault(job.config.width, []).append(job.trainer)
                yield job.config, result
    finally:
        torch.set_num_threads(threads_before)


class _Bench:
    """What runs of one experiment share: the data where it is trained on, the evaluator, captured graphs."""

    def __init__(
        self, config: Run, data: Prepared, device: torch.device, at_once: int, acceleration: Acceleration
    ) -> None:
        self.data, self.device, self.at_once, self.acceleration = data, device, at_once, acceleration
        self.code = provenance.code()
        self.evaluator = Evaluator(data, config, device)
        place = device if acceleration.data_on_device else torch.device("cpu")
        train = data.train
        self.training_data = TrainingData.of(train.images, train.labels, data.normalize, config.precision, place)
        self.idle: dict[int, list[Trainer]] = {}  # by width, for the next seed

    def trainer(self, config: Run) -> Trainer:
        model = models.create(config.model, config.width, config.n_classes, config.seed)
        if self.idle.get(config.width):
            trainer = self.idle[config.width].pop()
            trainer.start(config.seed, model.state_dict())
            return trainer
        return Trainer(model.to(self.device), self.training_data, config, config.seed, self.acceleration)


class _Job:
    """A run under way."""

    def __init__(self, config: Run, bench: _Bench, watch: Callable[[Run, Status], None]) -> None:
        self.config, self.bench, self.watch = config, bench, watch
        self.origin = {
            **bench.code,
            **provenance.machine(bench.device),
            "precision": config.precision,
            "at_once": bench.at_once,
            "acceleration": dataclasses.asdict(bench.acceleration),
            "start": provenance.now(),
        }
        self.seconds = {"train": 0.0, "evaluate": 0.0, "measure": 0.0}
        self.cpu_seconds = self.networks = 0.0
        self.history: list[dict[str, Any]] = []
        self.evaluate_at = set(training.evaluation_epochs(config.epochs, config.n_evaluations))
        self.trainer = bench.trainer(config)

    def after_epoch(self, progress: training.Progress, spent: _Spent, active: int) -> None:
        """Evaluate where it is time; the time of the epoch is shared among the networks that trained in it."""
        self._spend("train", spent, active)
        self.networks += active / self.config.epochs
        if progress.epoch in self.evaluate_at and not progress.diverged:
            with _timed() as spent:
                entry = self.bench.evaluator.epoch(self.trainer.model)
            self._spend("evaluate", spent)
            self.history.append({"epoch": progress.epoch, **entry})
        self._tell(Status("train", progress.epoch, self.config.epochs, progress.loss, progress.error))

    def record(self) -> store.Record:
        """Measure the trained network and put everything together."""
        config, trainer, bench = self.config, self.trainer, self.bench
        measured = None
        if trainer.done == "complete":
            with _timed() as spent:
                measured = bench.evaluator.volumes(
                    trainer.model, lambda done, n: self._tell(Status("measure", done, n))
                )
            self._spend("measure", spent)
        data = bench.data
        origin = self.origin | {
            "end": provenance.now(),
            "wall_s": {stage: round(value, 2) for stage, value in self.seconds.items()},
            "cpu_s": round(self.cpu_seconds, 2),
            "side_by_side": round(self.networks, 2),
            "images_per_s": round(trainer.epoch * len(data.train) / self.seconds["train"], 1),
            "peak_memory_mib": provenance.peak_memory_mib(bench.device),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
        }
        return {
            "schema": SCHEMA,
            "status": trainer.done,
            "digest": config.digest,
            "config": config.model_dump(mode="json"),
            "data": data.description(),
            "epochs_run": trainer.epoch,
            "history": self.history,
            "volumes": measured,
            "provenance": origin,
        }

    def _tell(self, status: Status) -> None:
        self.watch(self.config, status)

    def _spend(self, stage: str, spent: _Spent, shared_by: int = 1) -> None:
        self.seconds[stage] += spent.wall / shared_by
        self.cpu_seconds += spent.cpu / shared_by


@dataclass
class _Spent:
    """Seconds by the clock, and of the processor."""

    wall: float = 0.0
    cpu: float = 0.0


@contextlib.contextmanager
def _timed() -> Iterator[_Spent]:
    spent = _Spent()
    wall, cpu = time.perf_counter(), time.process_time()
    yield spent
    spent.wall, spent.cpu = time.perf_counter() - wall, time.process_time() - cpu


def choose_device(name: str = "auto") -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(f"There is no device '{name}' here: use cpu, or auto to take what there is.") from None
    return device


def weights_path(config: Run) -> Path:
    """Where the final weights of this run are kept: the same for all ways of measuring it."""
    values = config.model_dump(mode="json", exclude=set(Measurement.model_fields) | {"overrides"})
    key = hashlib.sha256(json.dumps([SCHEMA, values], sort_keys=True).encode()).hexdigest()[:16]
    return locations.cache() / "weights" / f"{config.experiment}-w{config.width:03d}-s{config.seed}-{key}.safetensors"


def save_network(model: nn.Module, config: Run) -> None:
    """Keep the weights in the cache; a full disk there is no reason to lose the record."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        files.write_tensors(weights_path(config), tensors, {"run": str(config)})
    except OSError as error:
        log.warning("The final weights of %s could not be kept (%s).", config, error.strerror)


def network(config: Run) -> nn.Module:
    """The trained network of a run, from the cache, on the CPU.

    Raises:
        RecordError: if its weights are not there.
    """
    path = weights_path(config)
    model = models.create(config.model, config.width, config.n_classes, config.seed)
    try:
        tensors, _ = files.read_tensors(path)
        model.load_state_dict(tensors)
    except (OSError, ValueError, RuntimeError):
        raise RecordError(f"No weights of {config} in the cache ({path.parent}): run it again to make them.") from None
    return model.to(memory_format=torch.channels_last)
