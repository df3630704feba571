"""Floating-point operations that a network needs, a multiplication and an addition counted as two."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Operations(NamedTuple):
    """Per image, those of convolutions and matrix products: next to them the rest is small."""

    forward: int
    gradient: int  # forward, and backward to the input: one gradient of the loss (Equation 1)
    step: int  # forward, and backward to the parameters: training


def count(model: nn.Module, shape: tuple[int, ...] = (3, 32, 32)) -> Operations:
    """Counted by PyTorch on one image of this shape."""
    model = copy.deepcopy(model).eval()

    def counted(image: bool, weights: bool) -> int:
        model.requires_grad_(weights)
        with FlopCounterMode(display=False) as counter:
            output = model(torch.zeros(1, *shape, requires_grad=image))
            if image or weights:
                output.sum().backward()
        return int(counter.get_total_flops())

    return Operations(counted(False, False), counted(True, False), counted(False, True))
