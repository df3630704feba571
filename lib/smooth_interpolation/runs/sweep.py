"""The runs of an experiment that have no record yet, and the engines that do them on one machine.

Each worker process calls `work.do`, which writes a record as soon as it is complete and checkpoints on the way. So a sweep can
be stopped, or killed, at any moment and started again: it goes on where it was. Two sweeps of the same file share its runs.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .. import locations
from ..config import Experiment, Run
from ..data import datasets
from ..data.inputs import TrainingData
from ..data.preparation import prepare
from ..errors import ConfigError, DataError
from ..train import models
from ..train.loop import Acceleration, Trainer
from ..train.step import Recipe
from . import cost, devices, limits, provenance, store, weights, work
from .engines.processes import Pool
from .watching import Outcome, Report, Tally

log = logging.getLogger(__name__)
STEPS = 20  # by which a network of your own is timed


def plan(experiment: Experiment, root: Path | None = None, device: str = "auto", *, dry: bool = False) -> list[Run]:
    """The runs to do, after checking everything that can be checked before any of them starts.

    With `dry`, only what can be checked without writing, downloading or decoding anything; missing images are a warning.

    Raises:
        UserError: for missing data, a device that is not there, a results directory that cannot be written, damaged
            records, and records of other images than those at hand.
    """
    devices.choose(device)
    if not dry:
        store.check_writable(experiment.runs()[0], root)
    todo = [run for run in experiment.runs() if store.read(run, root) is None]
    if todo and dry:
        try:
            datasets.look(experiment.dataset)
        except DataError as error:
            log.warning("%s", error)
    elif todo:
        store.check_same_data(todo[0], prepare(experiment).dataset.fingerprint, root)
    return todo


def serial(todo: Iterable[Run], *, watch: Report = lambda run, kind, content: None, **options: Any) -> Outcome:
    """Do runs in this process, `at_once` of them side by side; `options` are those of `work.Options`."""
    tally = Tally(watch)
    with contextlib.suppress(limits.TimeUp):
        work.do(todo, work.Options(engine="serial", **options), tally.report)
    return tally.outcome


def sweep(
    todo: Iterable[Run],
    *,
    workers: int | None = None,
    devices: Sequence[str] | None = None,
    costs: Mapping[Run, float] | None = None,
    watch: Report = lambda run, kind, content: None,
    at_once: int = 1,
    **options: Any,
) -> Outcome:
    """Do runs, several processes at a time; a run that fails does not stop those of other processes.

    Each run has a process of its own, in the order given. With `devices`, or with `at_once` above 1, each process does run
    after run, `at_once` of them side by side, as they are handed out: see `cost` and `work`.
    On KeyboardInterrupt, and on SIGTERM, the unfinished runs write their checkpoints and are stopped, and
    KeyboardInterrupt goes on to the caller. At the limit of time (`until`, see `limits`) they do so too, and are `left`.

    Args:
        todo: the runs, of one experiment.
        workers: processes; None: one for each of the devices.
        devices: of the processes, in turn, such as ["cuda:0", "cuda:1"]; None: `options["device"]` for all.
        costs: of the runs, predicted in any unit; None: see `cost.relative`.
        watch: told what `work.do` reports.
        at_once: networks that a process trains side by side.
        options: the others of `work.Options`.
    """
    provenance.warn_of_unknown()
    runs_, chosen = list(todo), work.Options(at_once=at_once, **options)
    own = devices is None and at_once == 1  # a process for each run
    places = [chosen.device] if devices is None else list(devices)
    number = min(workers or len(places), len(runs_))
    if costs is None and not own:
        costs = cost.relative(runs_, [], "cpu" if places[0] == "cpu" else "cuda")
    dealt = None if own or costs is None else {run: costs[run] for run in runs_}
    pool = Pool(chosen, Tally(watch), runs_, dealt)
    with limits.Signals():
        pool.run([places[i % len(places)] for i in range(number)])
    return pool.tally.outcome


def agreed(
    todo: Sequence[Run],
    minutes: float,
    how: str = "-p train_minutes {minutes}",
    workers: int = 1,
    kind: str | None = None,
) -> None:
    """Refuse what would train for longer than so many minutes; what weights are kept of is not trained.

    How long is told by committed records of networks of a kind, on a kind of device, see `cost.expected`; without any,
    by the first steps of a network.

    Args:
        todo: the runs, of one experiment.
        minutes: that may be spent.
        how: more is agreed to; {minutes} is what it takes.
        workers: side by side.
        kind: of device, "cpu" or "cuda"; None: a GPU if there is one.

    Raises:
        ConfigError: naming the time, what tells it, and how to agree.
    """
    new = [run for run in todo if not (run.measured_otherwise and weights.kept(run))]
    if not new:
        return
    kind, known = kind or devices.choose("auto").type, cost.known(locations.repository() / "results")
    guesses = [cost.expected(run, known, kind) for run in new]
    told = [guess for guess in guesses if guess]
    if told:
        times, n = [seconds for seconds, _ in told], max(n for _, n in told)
        source = "a record from such a device tells" if n == 1 else f"{n} records from such devices tell"
    else:
        here = devices.choose("auto" if kind == "cuda" else kind)  # a cluster's GPUs may be elsewhere
        kind, source = here.type, "their first steps tell"
        times = [_by_first_steps(run, here) for run in new]
    beside = max(1, min(workers, len(new)))
    if (total := sum(times) / beside) <= 60 * minutes:
        return
    networks = "A network" if len(new) == 1 else f"{len(new)} networks"
    raise ConfigError(
        f"{networks} of {new[0].scale}/{new[0].name} would train for about {cost.duration(total)} on "
        f"{cost.workers(beside, kind)}, as {source}: to agree, give {how.format(minutes=math.ceil(total / 60 * 1.5))}."
    )


def _by_first_steps(run: Run, device: torch.device) -> float:
    """Seconds that a run takes to train, by some steps of it, and a third more for evaluating and measuring."""
    data = prepare(run)
    few = data.train[: STEPS * run.batch_size]
    there = TrainingData.of(few.images, few.labels, data.normalize, run.precision, device)
    model = models.of_run(run, few.images.shape[1:]).to(device)
    trainer = Trainer(model, there, Recipe.of(run), run.seed, Acceleration(cuda_graph=False))
    times, threads = [time.monotonic()], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in trainer.eager_epoch():
            times.append(time.monotonic())
    finally:
        torch.set_num_threads(threads)
    step = statistics.median(after - before for before, after in itertools.pairwise(times))
    return 4 / 3 * step * math.ceil(len(data.train) / run.batch_size) * run.epochs
