"""One run from configuration to record: load the data, train, evaluate, measure."""

from __future__ import annotations

import ctypes
import functools
import json
import time
from collections.abc import Iterable, Iterator

import torch

from ..config import Run
from ..data.preparation import Prepared, prepare
from ..errors import ConfigError
from ..train.loop import Acceleration
from .jobs import Bench, Host, Job, Later, train_an_epoch
from .record_format import Record

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


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
    options = {"device": device, "threads": threads, "prepared": prepared, "acceleration": acceleration}
    [(_, record)] = run_side_by_side([config], **options)
    if isinstance(record, Exception):
        raise record
    return record


def run_side_by_side(
    configs: Iterable[Run],
    *,
    host: Host | None = None,
    at_once: int = 1,
    device: str = "auto",
    threads: int = 1,
    prepared: Prepared | None = None,
    acceleration: Acceleration = Acceleration(),  # noqa: B008 (frozen)
) -> Iterator[tuple[Run, Record | Exception]]:
    """Runs of one experiment in one process, `at_once` of them in training at any time, as each is finished.

    Yields each run with its record, or with what went wrong while it was begun, trained, kept or measured; those beside it go on.
    When `host` has it stopped, a checkpoint of each run is written and KeyboardInterrupt raised. Where its limit of time is
    too short for another run, none is begun, and after the last one in training KeyboardInterrupt is raised.

    Small networks leave most of a GPU idle: their epochs overlap there, and seeds of one width share a captured graph. On
    a CPU they take turns. Records are those of `run`, but for the times.

    Raises:
        ConfigError: if the runs differ in more than width and seed, or `at_once` is below 1.
        UserError: as `run`.
    """
    waiting, open_ = list(configs), True
    if at_once < 1:
        raise ConfigError(f"at_once is {at_once}: it must be at least 1.")
    _check_one_experiment(waiting)
    host = host or Host()
    keep_freed_blocks()
    threads_before, gpu_before = torch.get_num_threads(), None
    torch.set_num_threads(threads)
    bench: Bench | None = None
    active: list[Job] = []
    try:
        while True:
            new = host.more() if open_ else None
            open_ = new is not None
            waiting += new or []
            if not (waiting or active):
                if not open_:
                    break
                if host.stop():
                    raise KeyboardInterrupt
                time.sleep(0.05)
                continue
            if bench is None:
                place = choose_device(device)
                if place.type == "cuda" and place.index is not None:  # libraries that ask for "the" GPU get this one
                    gpu_before = torch.cuda.current_device()
                    torch.cuda.set_device(place)
                bench = Bench(waiting[0], prepared or prepare(waiting[0]), place, at_once, acceleration, host)
            elif new:
                _check_one_experiment([bench.config, *new])
            while waiting and len(active) < at_once:
                if host.limit.too_short_to_begin():
                    if active:
                        break
                    host.limit.reached = True
                    raise KeyboardInterrupt
                config, since = waiting.pop(0), time.monotonic()
                try:
                    keeper = host.begin(config)
                    if keeper is not None:
                        active.append(Job(config, bench, keeper))
                        host.limit.began(time.monotonic() - since)
                except Later:
                    waiting.append(config)
                    if active:
                        break
                    if host.stop():
                        raise KeyboardInterrupt from None
                    time.sleep(0.1)
                except Exception as error:
                    yield config, error
            if len(active) == at_once or not open_:  # what nobody will take over needs no memory
                kept = {config.width for config in waiting}
                bench.idle = {width: idle for width, idle in bench.idle.items() if width in kept}
            host.limit.networks = len(active)
            train_an_epoch([job for job in active if not job.trainer.done], host)
            finished = [job for job in active if job.trainer.done or job.error]
            for job in finished:
                active.remove(job)
                try:
                    if job.error:
                        raise job.error
                    result: Record | Exception = job.record()
                except KeyboardInterrupt:
                    for other in active:
                        other.save()
                    raise
                except Exception as error:
                    result = error
                wanted = open_ or any(config.width == job.config.width for config in waiting)
                if not job.error and job.trainer.reusable and wanted:
                    bench.idle.setdefault(job.config.width, []).append(job.trainer)
                yield job.config, result
    finally:
        torch.set_num_threads(threads_before)
        if gpu_before is not None:
            torch.cuda.set_device(gpu_before)


def _check_one_experiment(configs: Iterable[Run]) -> None:
    if len({json.dumps(c.model_dump(mode="json", exclude={"width", "seed"}), sort_keys=True) for c in configs}) > 1:
        raise ConfigError("Runs side by side must be of one experiment: they may differ in width and seed alone.")


def devices(name: str = "auto") -> list[str]:
    """The devices that a name means: of "cuda", and of "auto" where there is one, every GPU that is visible.

    Example:
        >>> devices("cpu")
        ['cpu']
    """
    device = choose_device(name)
    if device.type == "cuda" and device.index is None:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [str(device)]


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


@functools.cache
def keep_freed_blocks() -> bool:
    """Have glibc keep large freed blocks for the next step, where else it returns them and faults them in anew.

    Saves 5 to 10% of training on a CPU. For processes that train; returns whether the C library could be told.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
