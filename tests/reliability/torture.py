"""Small runs in processes of their own, cheaply: forked from one that has PyTorch and the images already."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # optimisers import it, in every fork if not here

from smooth_interpolation import config, files, locations
from smooth_interpolation.config import Run
from smooth_interpolation.data import datasets, preparation
from smooth_interpolation.runs import store, weights, work

FORK = multiprocessing.get_context("fork")
TINY = {
    "n_train": 160, "n_test": 40, "batch_size": 64, "epochs": 8, "n_evaluations": 4, "n_clean_points": 4,
    "n_noisy_points": 4, "strengths": [5, 20], "n_paths": 1, "n_tangents": 1,
}  # fmt: skip


def tiny(**changes: Any) -> config.Experiment:
    return config.find("demo", "convnet-noise20", {**TINY, "widths": [1, 2], "seeds": [0, 1], **changes})


def start(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Call a function in a fork, deaf to nothing and on one thread."""
    process = FORK.Process(target=_body, args=(function, arguments))
    process.start()
    return process


def _body(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    torch.set_num_threads(1)
    code = 1
    try:
        function(*arguments)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(todo: Iterable[Run], root: Path, **options: Any) -> dict[Run, list[tuple[str, Any]]]:
    """Do runs in a fork, to their end; what was reported of each, without its status."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = start(_do, list(todo), root, options, sender)
    sender.close()
    said: dict[Run, list[tuple[str, Any]]] = {}
    with contextlib.suppress(EOFError):
        while True:
            run, kind, content = receiver.recv()
            said.setdefault(run, []).append((kind, content))
    process.join()
    return said


def _do(todo: list[Run], root: Path, options: dict[str, Any], sender: Any = None) -> None:
    options = dict(options)
    hook = options.pop("hook", None)
    prepared = options.pop("prepared", None)
    if "cache" in options:
        os.environ[locations.CACHE_VARIABLE] = str(options.pop("cache"))
    if "room" in options:
        from .disks import fill_disk

        fill_disk(options.pop("room"))

    def report(run: Run, kind: str, content: Any) -> None:
        if hook:
            hook(run, kind, content)
        if sender and kind != "status":
            sender.send((run, kind, content))

    work.do(todo, work.Options(root=root, **options), report, prepared=prepared)


def killed(todo: list[Run], root: Path, seconds: float, number: int = signal.SIGKILL, **options: Any) -> int | None:
    """Do runs in a fork that gets a signal after so many seconds; its exit code."""
    process = start(_do, todo, root, options)
    process.join(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid or 0, number)
    process.join()
    return process.exitcode


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Raises TimeoutError if it does not become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def nothing_left(run: Run, root: Path) -> bool:
    """The record is all there is: no lock, checkpoint, status, log or half-written file."""
    return [path for path in root.rglob("*") if path.is_file()] == [store.path_of(run, root)]


class Reference:
    """What an uninterrupted run gives, and how long it takes."""

    def __init__(self, run: Run, root: Path, **options: Any):
        self.run, self.prepared = run, preparation.prepare(run)
        self.options = {"prepared": self.prepared, **options}
        finish([run], root / "warm-up", **self.options)  # fills the caches
        began = time.perf_counter()
        finish([run], root, **self.options)
        self.seconds = time.perf_counter() - began
        self.state = self.found(root)

    def found(self, root: Path) -> tuple[dict[str, Any], str] | None:
        """The record without its origin, and the digest of the final weights, which are then removed from the cache."""
        record = store.read(self.run, root)
        kept = weights.weights_path(self.run)
        if record is None or not kept.exists():
            return None
        tensors, _ = files.read_tensors(kept)
        digest = datasets.fingerprint(*(tensors[name] for name in sorted(tensors)))
        kept.unlink()
        return {key: value for key, value in record.items() if key != "provenance"}, digest
