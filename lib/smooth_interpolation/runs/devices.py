"""Processors and GPUs: which there are, and what the C library is told of memory."""

from __future__ import annotations

import ctypes
import functools

import torch

from ..errors import ConfigError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def named(name: str = "auto") -> list[str]:
    """The devices that a name means: of "cuda", and of "auto" where there is one, every GPU that is visible.

    Example:
        >>> named("cpu")
        ['cpu']
    """
    device = choose(name)
    if device.type == "cuda" and device.index is None:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [str(device)]


def choose(name: str) -> torch.device:
    """The device of a name: "auto" (a GPU if there is one), "cpu", "cuda" or another of PyTorch's. Raises ConfigError
    if it is not there.
    """
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
