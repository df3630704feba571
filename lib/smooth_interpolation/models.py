"""The two families of networks: ConvNets without normalisation, ResNet18s with it (Section 4).

Both take normalised images (N, 3, 32, 32) and return logits (N, n_classes). ReLUs work in place and, where they can,
after the pooling: max-pooling commutes with them, gradients included, and leaves a quarter of the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import ConfigError

Layer = Any  # a convolution or a linear layer


def _check(width: int, n_classes: int) -> None:
    for name, value, least in (("width", width, 1), ("n_classes", n_classes, 2)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{name} is {value!r}: it must be a whole number.")
        if value < least:
            raise ConfigError(f"{name} is {value}: it must be at least {least}.")


class ConvNet(nn.Module):
    """Four 3x3 convolutions to w, 2w, 4w and 8w channels, ReLU after each, and one linear layer.

    Max-pooling by 2 after stages 2, 3 and 4, then by 4: the 5-layer network of Nakkiran et al. (2019b) without batch
    normalisation, as the paper's Section 4 asks. PyTorch's default initialisation.

    Example:
        >>> ConvNet(width=4, n_classes=10)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, width: int, n_classes: int = 10):
        _check(width, n_classes)
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 8 * width]
        self.convolutions = nn.ModuleList(nn.Conv2d(channels[i], channels[i + 1], 3, padding=1) for i in range(4))
        self.linear = nn.Linear(8 * width, n_classes)

    def layers(self) -> list[Layer]:
        """Those with parameters, in the order in which they are applied."""
        return [*self.convolutions, self.linear]

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.convolutions[0](images), inplace=True)
        for convolution in self.convolutions[1:]:
            x = F.relu(F.max_pool2d(convolution(x), 2), inplace=True)
        return self.linear(F.max_pool2d(x, 4).flatten(1))


class StackedConvNets(ConvNet):
    """S ConvNets of one width as one network that computes them side by side, each on images of its own.

    Its layers hold the weights of all as diagonal blocks. The blocks off the diagonal are masked: they are zero, and so is
    their gradient. Where networks are narrow, one kernel for all takes hardly longer than one for each.

    From images (B, S * 3, 32, 32) to logits (B, S, n_classes).

    Example:
        >>> networks = [create("convnet", 2, 10, seed) for seed in (0, 1)]
        >>> images = torch.rand(5, 2, 3, 32, 32)
        >>> logits = StackedConvNets(networks)(images.flatten(1, 2))
        >>> torch.allclose(logits[:, 1], networks[1](images[:, 1]), atol=1e-6)
        True
    """

    def __init__(self, networks: Sequence[ConvNet]):
        nn.Module.__init__(self)
        self.n = len(networks)
        same = zip(*(network.layers() for network in networks), strict=True)
        *convolutions, linear = (_stacked(layers) for layers in same)
        self.convolutions, self.linear = nn.ModuleList(convolutions), linear  # in this order, the parts'

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).unflatten(1, (self.n, -1))

    def part(self, parameter: Tensor, s: int) -> Tensor:
        """The view of network s's part of one of the parameters, or of what has its shape."""
        blocks = parameter.unflatten(0, (self.n, -1))[s]
        return blocks if parameter.ndim == 1 else blocks.unflatten(1, (self.n, -1))[:, s]


def _stacked(layers: Sequence[Layer]) -> Layer:
    """One layer with the weights of all as its diagonal blocks."""
    first, n = layers[0], len(layers)
    n_out, n_in = first.weight.shape[:2]
    layer = (
        _BlockConv2d(n * n_in, n * n_out, 3, padding=1) if first.weight.ndim == 4 else _BlockLinear(n * n_in, n * n_out)
    )
    layer.to(first.weight)
    with torch.no_grad():
        layer.weight.zero_()
        for s, one in enumerate(layers):
            rows = slice(s * n_out, (s + 1) * n_out)
            layer.weight[rows, s * n_in : (s + 1) * n_in] = one.weight
            layer.bias[rows] = one.bias
    blocks = torch.block_diag(*[torch.ones(n_out, n_in)] * n).to(first.weight)
    layer.register_buffer("mask", blocks.view(*blocks.shape, *[1] * (first.weight.ndim - 2)), persistent=False)
    return layer


class _BlockConv2d(nn.Conv2d):
    mask: Tensor
    bias: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class _BlockLinear(nn.Linear):
    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a skip connection (He et al., 2015)."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ResNet18(nn.Module):
    """ResNet18 for 32 x 32 images: 3x3 stem, no stem pooling, stages of 2 blocks at w, 2w, 4w and 8w channels.

    Example:
        >>> ResNet18(width=2, n_classes=10)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, width: int, n_classes: int = 10):
        _check(width, n_classes)
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        blocks, n_in = [], width
        for stage in range(4):
            n_out = width * 2**stage
            blocks += [BasicBlock(n_in, n_out, 1 if stage == 0 else 2), BasicBlock(n_out, n_out, 1)]
            n_in = n_out
        self.stages = nn.Sequential(*blocks)
        self.linear = nn.Linear(8 * width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stages(F.relu(self.bn(self.stem(images)), inplace=True))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


FAMILIES = {"convnet": ConvNet, "resnet18": ResNet18}


def create(family: str, width: int, n_classes: int, seed: int) -> nn.Module:
    """A freshly initialised network; the same seed gives the same weights.

    Example:
        >>> one, other = (create("convnet", 4, 10, seed=3) for _ in range(2))
        >>> torch.equal(one.linear.weight, other.linear.weight)
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[family](width, n_classes)
