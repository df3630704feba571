"""One run, from configuration to record: for whoever asks for it in Python, and for the command line and the pages."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .. import locations
from ..config import Run
from ..data.preparation import Prepared, TrainingData, prepare
from ..errors import ConfigError, RecordError
from ..train import models
from ..train.loop import Acceleration, Trainer
from ..train.step import Recipe
from . import cost, resources, store, watching, weights, work
from .record_format import Record
from .watching import Report

STEPS = 20  # by which a network of your own is timed


def run(
    config: Run,
    *,
    device: str = "auto",
    threads: int = 1,
    prepared: Prepared | None = None,
    acceleration: Acceleration = Acceleration(),  # noqa: B008 (frozen)
) -> Record:
    """Train and measure one network.

    Args:
        config: what to do.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or another of PyTorch's names.
        threads: CPU threads; records are equal bit by bit only for the same number.
        prepared: the data, if it is at hand already.
        acceleration: parts of it can be turned off.

    Returns:
        The record, not yet written. The final weights are in the cache, see `weights.network`.

    Raises:
        UserError: for what a user can mend; nothing has been trained then.

    Example:
        >>> from smooth_interpolation import config
        >>> small = {"n_train": 50, "n_test": 50, "epochs": 2, "n_clean_points": 2, "n_noisy_points": 2, "n_paths": 1}
        >>> record = run(config.find("demo", "convnet-noise20", small).run(width=2, seed=0))
        >>> record["status"], record["epochs_run"], record["data"]["n_corrupted"]
        ('complete', 2, 10)
    """
    chosen = work.Options(keep=False, device=device, threads=threads, acceleration=acceleration)
    told: list[Record] = []
    work.do([config], chosen, lambda _, kind, content: told.append(content), prepared=prepared, reraise=True)
    return told[-1]


def measure(run: Run, root: Path | None = None, watch: Report | None = None, **options: Any) -> Record:
    """Train and measure one network and keep its record, with `work.Options`; what can be checked is checked first.

    `watch` is told what `work.do` reports; without it a line on a terminal or in a notebook says how far it is.
    """
    resources.choose(options.get("device", "auto"))
    store.check_writable(run, root)
    prepared = prepare(run)
    store.check_same_data(run, prepared.dataset.fingerprint, root)
    line, told = watching.line(), []

    def say(_: Run, kind: str, content: Any) -> None:
        if kind == "status":
            what = "epochs trained" if content.stage == "train" else "points measured"
            text = f"{run.scale}/{run.name}, w = {run.width}, seed {run.seed}: {content.done} of {content.total} {what}"
            line(text, content.done == content.total)

    def report(_: Run, kind: str, content: Any) -> None:
        told.append(content)
        (watch or say)(run, kind, content)

    work.do([run], work.Options(root=root, engine="run", **options), report, prepared=prepared, reraise=True)
    record = store.read(run, root)
    if record is None:
        raise RecordError(f"{run}: {told[-1].removesuffix('.')}; wait for it, or look at smooth-interpolation status.")
    return record


def agreed(
    todo: Sequence[Run],
    minutes: float,
    how: str = "-p train_minutes {minutes}",
    workers: int = 1,
    kind: str | None = None,
) -> None:
    """Refuse runs of one experiment that would train for longer than so many minutes; what weights are kept of is not trained.

    How long is told by committed records of networks of a kind, on a kind of device ("cpu" or "cuda"; None: a GPU if there is
    one), see `cost.expected`; without any, by the first steps of a network. `how` says how to agree to more {minutes}.
    """
    new = [run for run in todo if not (run.measured_otherwise and weights.kept(run))]
    if not new:
        return
    kind, known = kind or resources.choose("auto").type, cost.known(locations.repository() / "results")
    guesses = [cost.expected(run, known, kind) for run in new]
    told = [guess for guess in guesses if guess]
    if told:
        times, n = [seconds for seconds, _ in told], max(n for _, n in told)
        source = "a record from such a device tells" if n == 1 else f"{n} records from such devices tell"
    else:
        here = resources.choose("auto" if kind == "cuda" else kind)  # a cluster's GPUs may be elsewhere
        kind, source = here.type, "their first steps tell"
        times = [_by_first_steps(run, here) for run in new]
    beside = max(1, min(workers, len(new)))
    if (total := sum(times) / beside) <= 60 * minutes:
        return
    networks = "A network" if len(new) == 1 else f"{len(new)} networks"
    which, time = f"{new[0].scale}/{new[0].name}", f"{cost.duration(total)} on {cost.workers(beside, kind)}"
    agree = how.format(minutes=math.ceil(total / 60 * 1.5))
    raise ConfigError(f"{networks} of {which} would train for about {time}, as {source}: to agree, give {agree}.")


def _by_first_steps(run: Run, device: torch.device) -> float:
    """Seconds that a run takes to train, by some steps of it, and a third more for evaluating and measuring."""
    data = prepare(run)
    few = data.train[: STEPS * run.batch_size]
    there = TrainingData.of(few.images, few.labels, data.normalize, run.precision, device)
    model = models.of_run(run, few.images.shape[1:]).to(device)
    trainer = Trainer(model, there, Recipe.of(run), run.seed, Acceleration(cuda_graph=False))
    times = [time.monotonic()]
    with resources.threads(1):
        for _ in trainer.eager_epoch():
            times.append(time.monotonic())
    step = statistics.median(after - before for before, after in itertools.pairwise(times))
    return 4 / 3 * step * math.ceil(len(data.train) / run.batch_size) * run.epochs
