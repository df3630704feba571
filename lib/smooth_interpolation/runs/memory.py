"""How a process that trains keeps its memory."""

from __future__ import annotations

import ctypes
import functools

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


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
