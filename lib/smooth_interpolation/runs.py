"""One run from configuration to record: load the data, train, evaluate, measure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator

import torch

from . import memory, store
from .checkpoints import Keeper
from .config import Run
from .errors import ConfigError
from .jobs import Bench, Job, Later, Status, Watch, train_an_epoch
from .preparation import Prepared
from .preparation import prepare as prepare
from .training import Acceleration
from .weights import network as network
from .weights import weights_path as weights_path


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

    Example:
        >>> from smooth_interpolation import config
        >>> small = {"n_train": 50, "n_test": 50, "epochs": 2, "n_clean_points": 2, "n_noisy_points": 2, "n_paths": 1}
        >>> record = run(config.find("demo", "convnet-noise20", small).run(width=2, seed=0))
        >>> record["status"], record["epochs_run"], record["data"]["n_corrupted"]
        ('complete', 2, 10)
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
    begin: Callable[[Run], Keeper | None] = lambda run: Keeper(),
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Run, store.Record | Exception]]:
    """Runs of one experiment in one process, `at_once` of them in training at any time, as each is finished.

    Yields each run with its record, or with what went wrong while it was begun, trained, kept or measured; those beside it go on.

    Small networks leave most of a GPU idle: their epochs overlap there, and seeds of one width share a captured graph. On
    a CPU they take turns. Records are those of `run`, but for the times.

    Args:
        begin: called when a run's turn comes; returns where its checkpoints are kept, or None to leave it out. It may
            raise `Later` as long as there are others to do first.
        stop: asked after every step (on a GPU: epoch) and every few measured images. Once it is true, a checkpoint of
            each run is written and KeyboardInterrupt raised.

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
        bench = Bench(waiting[0], prepared or prepare(waiting[0]), place, at_once, acceleration)
        active: list[Job] = []
        while waiting or active:
            while waiting and len(active) < at_once:
                config = waiting.pop(0)
                try:
                    keeper = begin(config)
                    if keeper is not None:
                        active.append(Job(config, bench, watch, keeper, stop))
                except Later:
                    waiting.append(config)
                    if active:
                        break
                    if stop():
                        raise KeyboardInterrupt from None
                    time.sleep(0.1)
                except Exception as error:
                    yield config, error
            train_an_epoch([job for job in active if not job.trainer.done], stop)
            finished = [job for job in active if job.trainer.done or job.error]
            for job in finished:
                active.remove(job)
                try:
                    if job.error:
                        raise job.error
                    result: store.Record | Exception = job.record()
                except KeyboardInterrupt:
                    for other in active:
                        other.save()
                    raise
                except Exception as error:
                    result = error
                if (
                    not job.error
                    and job.trainer.reusable
                    and any(config.width == job.config.width for config in waiting)
                ):
                    bench.idle.setdefault(job.config.width, []).append(job.trainer)
                yield job.config, result
    finally:
        torch.set_num_threads(threads_before)


def choose_device(name: str = "auto") -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "meta":  # it computes nothing
            raise RuntimeError
    except (RuntimeError, AssertionError):
        raise ConfigError(f"There is no device '{name}' here: use cpu, or auto to take what there is.") from None
    return device
