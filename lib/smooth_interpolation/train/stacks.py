"""Several networks as one that computes them side by side, each on images of its own.

A narrow network leaves most of a GPU idle: one kernel for many takes hardly longer than one for each. A layer of the stack
holds the weights of all as diagonal blocks of one matrix. The blocks off the diagonal are masked: they are zero, and so is
their gradient. So each network computes and learns what it would alone, but for rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

JOINABLE = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
CHANNELS = 64  # of a stack's first layer, at most: wider ones are no faster than their parts


def width(model: nn.Module) -> int | None:
    """Channels of the first convolution; None for a network that cannot be stacked, as one of your own might not be."""
    if not getattr(model, "stackable", False):
        return None
    layers = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    stateful = [m for m in model.modules() if any(True for _ in m.buffers(recurse=False))]  # such as dropout
    if not all(type(layer) in JOINABLE for layer in [*layers, *stateful]):
        return None
    return next((layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)), None)


def pack(widths: Sequence[int]) -> list[list[int]]:
    """The places of `widths` in groups of at most `CHANNELS` together, the widest first.

    Example:
        >>> pack([1, 40, 8, 32, 64])
        [[4], [1, 2, 0], [3]]
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(widths)), key=lambda place: -widths[place]):
        fitting = (g for g in groups if sum(widths[i] for i in g) + widths[place] <= CHANNELS)
        group = next(fitting, None)
        if group is None:
            groups.append(group := [])
        group.append(place)
    return groups


class Stack(nn.Module):
    """S networks of the same layers and number of classes, from images (B, S * C, H, W) to logits (B, S, n_classes).

    Example:
        >>> from smooth_interpolation.train.models import create
        >>> networks = [create("convnet", width, 10, seed=0) for width in (2, 3)]
        >>> images = torch.rand(5, 2, 3, 32, 32)
        >>> logits = Stack(networks)(images.flatten(1, 2))
        >>> torch.allclose(logits[:, 1], networks[1](images[:, 1]), atol=1e-6)
        True
    """

    def __init__(self, networks: Sequence[nn.Module]):
        super().__init__()
        self.n = len(networks)
        self.network = copy.deepcopy(networks[0])
        for name, layer in networks[0].named_modules():
            if type(layer) in JOINABLE:
                self.network.set_submodule(name, _joined([one.get_submodule(name) for one in networks]))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).unflatten(1, (self.n, -1))

    def part(self, name: str, tensor: Tensor, s: int) -> Tensor:
        """The view of network s's part of one of the network's parameters or buffers, or of what has its shape."""
        layer: Any = self.network.get_submodule(name.rpartition(".")[0])
        rows, columns = layer.blocks[s]
        return tensor if tensor.ndim == 0 else tensor[rows] if tensor.ndim == 1 else tensor[rows, columns]


def put_buffer(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Have a network hold this tensor as its buffer of that name, as named_buffers tells it."""
    module, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(module), leaf, tensor)


class _Convolution(nn.Conv2d):
    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class _Linear(nn.Linear):
    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def _joined(layers: Sequence[Any]) -> nn.Module:
    """Layers of a kind as one, with their weights on the diagonal."""

    def total(name: str) -> int:
        return sum(getattr(layer, name) for layer in layers)

    first, kind = layers[0], type(layers[0])
    if kind is nn.Conv2d:
        sizes, bias = (total("in_channels"), total("out_channels")), first.bias is not None
        joined: Any = _Convolution(*sizes, first.kernel_size, first.stride, first.padding, bias=bias)
    elif kind is nn.Linear:
        joined = _Linear(total("in_features"), total("out_features"), bias=first.bias is not None)
    else:
        joined = nn.BatchNorm2d(total("num_features"), first.eps, first.momentum)
    joined.to(first.weight)
    joined.blocks = []
    row = column = 0
    for layer in layers:
        n_rows, n_columns = (*layer.weight.shape, 0)[:2]
        joined.blocks.append((slice(row, row + n_rows), slice(column, column + n_columns)))
        row, column = row + n_rows, column + n_columns
    if joined.weight.ndim > 1:
        mask = torch.zeros_like(joined.weight[:, :, *[slice(1)] * (joined.weight.ndim - 2)])
        for block in joined.blocks:
            mask[block] = 1
        joined.register_buffer("mask", mask, persistent=False)
    state = joined.state_dict()
    for tensor in state.values():
        tensor.zero_()
    for (rows, columns), layer in zip(joined.blocks, layers, strict=True):
        for name, tensor in layer.state_dict().items():
            if tensor.ndim == 0:
                state[name].copy_(tensor)
            else:
                state[name][rows if tensor.ndim == 1 else (rows, columns)] = tensor
    return joined
