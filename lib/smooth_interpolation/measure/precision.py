"""The arithmetic that is asked for, whatever the machine would choose."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def full_precision(tf32: bool = False) -> Iterator[None]:
    """Float32 means float32: without TensorFloat-32, which GPUs use for convolutions by default.

    Args:
        tf32: allow it all the same, in convolutions and matrix products: 10 bits of mantissa instead of 23.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = tf32
    try:
        with cudnn.flags(
            enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=tf32
        ):
            yield
    finally:
        matmul.allow_tf32 = before
