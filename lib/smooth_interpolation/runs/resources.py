"""What a process may use: devices, memory, and time.

A limit of time ends runs by themselves before it, with checkpoints written, as after Ctrl-C. A process can stop between two
steps of training, on a GPU between two epochs, and between two images measured. So that it is over in time it stops early: by
the longest that it was ever busy between two such moments, twice what writing a checkpoint of each network in training took at
most, and `SPARE`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:  # looking at records needs no PyTorch
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
SPARE = 10.0  # seconds, for processes to end, and for what was not foreseen
LAST, KILL = 5.0, 3.0  # seconds before the limit at which whoever still runs is told to stop, and is killed


def named(name: str = "auto") -> list[str]:
    """The devices that a name means: of "cuda", and of "auto" where there is one, every GPU that is visible."""
    import torch

    device = choose(name)
    if device.type == "cuda" and device.index is None:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [str(device)]


def choose(name: str) -> torch.device:
    """The device of a name: "auto" (a GPU if there is one), "cpu", "cuda" or another of PyTorch's. Raises ConfigError
    if it is not there.
    """
    import torch

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


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """PyTorch computes with n threads in the body."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def end_quickly() -> None:
    """Have this process end without looking for cycles in all that PyTorch imported: half a second of a processor."""

    def freeze() -> None:
        if "triton" not in sys.modules:  # which would print what is left of it as leaks
            gc.freeze()

    atexit.register(freeze)


class TimeUp(KeyboardInterrupt):
    """Time was up, and everything was put in order."""


class Limit:
    """How much time a process has until everything must be over, by `time.monotonic`; None: as much as it takes."""

    def __init__(self, until: float | None = None):
        self.until = until
        self.networks = 0  # in training
        self.writing = 0.0  # seconds that a checkpoint took at most
        self.beginning = 0.0  # seconds that a run took at most before its first step
        self.busy = 0.0  # seconds at most between two questions
        self.reached = False
        self._asked = time.monotonic()

    def up(self) -> bool:
        """Whether it is time to stop; asked wherever that is possible."""
        now = time.monotonic()
        self.busy, self._asked = max(self.busy, now - self._asked), now
        self.reached = self.reached or self._short(0.0)
        return self.reached

    def too_short_to_begin(self) -> bool:
        """Whether another run would hardly be begun when it is time to stop."""
        return self._short(self.beginning)

    def began(self, seconds: float) -> None:
        """A run took so long to begin, in which nobody asked."""
        self.beginning, self._asked = max(self.beginning, seconds), time.monotonic()

    def wrote(self, seconds: float) -> None:
        """A checkpoint took so long."""
        self.writing = max(self.writing, seconds)

    def _short(self, more: float) -> bool:
        needed = more + self.busy + 2 * self.writing * self.networks + SPARE
        return self.until is not None and time.monotonic() + needed >= self.until


class Signals:
    """Within it SIGTERM, a batch system's end of time, is a KeyboardInterrupt as SIGINT, Ctrl-C, is.

    Once `noted`, they interrupt nothing and are only `received`; a second SIGINT does interrupt.
    """

    def __init__(self) -> None:
        self.noted = self.received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received and number == signal.SIGINT, True
        if again or not self.noted:
            raise KeyboardInterrupt
