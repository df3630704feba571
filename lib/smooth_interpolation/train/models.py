"""The two families of networks: ConvNets without normalisation, ResNet18s with it (Section 4).

Both take normalised images (N, 3, 32, 32) and return logits (N, n_classes). ReLUs work in place and, where they can,
after the pooling: max-pooling commutes with them, gradients included, and leaves a quarter of the values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError


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

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.convolutions[0](images), inplace=True)
        for convolution in self.convolutions[1:]:
            x = F.relu(F.max_pool2d(convolution(x), 2), inplace=True)
        return self.linear(F.max_pool2d(x, 4).flatten(1))


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
