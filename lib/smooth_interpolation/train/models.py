"""The two families of networks: ConvNets without normalisation, ResNet18s with it (Section 4).

Both take normalised images (N, C, H, W), of 32 x 32 pixels in the book, and return logits (N, n_classes). ReLUs work in place and, where they can,
after the pooling: max-pooling commutes with them, gradients included, and leaves a quarter of the values.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import locations
from ..config import Run
from ..errors import ConfigError, UserError


def _check(width: int, n_classes: int) -> None:
    for name, value, least in (("width", width, 1), ("n_classes", n_classes, 2)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{name} is {value!r}: it must be a whole number.")
        if value < least:
            raise ConfigError(f"{name} is {value}: it must be at least {least}.")


class Dropout(nn.Module):
    """`nn.Dropout` with draws that depend on a seed, the step and the place alone: the same on every device, and resumed.

    In training, a feature is set to 0 with probability p and the others are divided by 1 - p. The draw is a hash
    (Steele et al., 2014: SplitMix64) of seed, step and place; the step is a buffer, kept in checkpoints, that a captured
    step advances too.
    """

    seed: Tensor
    step: Tensor

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self.register_buffer("seed", torch.randint(2**62, ()))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        places = torch.arange(1, x.numel() + 1, device=x.device)
        kept = _uniform(_mixed(self.seed + self.step * GOLDEN) + places * GOLDEN).view(x.shape) >= self.p
        if not torch.compiler.is_compiling():  # a compiled backward pass would draw again, from a step that has gone on
            self.step += 1
        return x * kept / (1 - self.p)


def advance(model: nn.Module) -> None:
    """What `Dropout` does by itself, after a compiled step."""
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.step += 1


GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as a signed number: the arithmetic wraps around


def _mixed(state: Tensor) -> Tensor:
    """The finaliser of SplitMix64 on int64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64)):
        state = (state ^ ((state >> shift) & (2 ** (64 - shift) - 1))) * factor
    return state ^ ((state >> 31) & (2**33 - 1))


def _uniform(state: Tensor) -> Tensor:
    """In [0, 1), from the 24 highest bits."""
    return ((_mixed(state) >> 40) & (2**24 - 1)).float() / 2**24


class ConvNet(nn.Module):
    """Four 3x3 convolutions to w, 2w, 4w and 8w channels, ReLU after each, and one linear layer.

    Max-pooling by 2 after stages 2, 3 and 4, then over all that is left (4 x 4 of 32 x 32 images): the 5-layer network of
    Nakkiran et al. (2019b) without batch normalisation, as the paper's Section 4 asks. PyTorch's default initialisation.

    Args:
        width: w.
        n_classes: number of logits.
        channels: of the images, which are 8 x 8 or larger.
        dropout: share of the 8w pooled features that are dropped in training, from 0 to below 1.
        batch_norm: normalise after each convolution, before ReLU and pooling.

    Example:
        >>> ConvNet(width=4, n_classes=10)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    stackable = True  # see `step.Stack`

    def __init__(
        self, width: int, n_classes: int = 10, channels: int = 3, dropout: float = 0.0, batch_norm: bool = False
    ):
        _check(width, n_classes)
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout!r}: it must be from 0 to below 1.")
        super().__init__()
        sizes = [channels, width, 2 * width, 4 * width, 8 * width]
        self.convolutions = nn.ModuleList(nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1) for i in range(4))
        self.linear = nn.Linear(8 * width, n_classes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) if batch_norm else nn.Identity() for size in sizes[1:])
        self.dropout = Dropout(dropout) if dropout else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norms[0](self.convolutions[0](images)), inplace=True)
        for convolution, norm in zip(self.convolutions[1:], self.norms[1:], strict=True):
            x = F.relu(F.max_pool2d(norm(convolution(x)), 2), inplace=True)
        return self.linear(self.dropout(F.max_pool2d(x, x.shape[-2:]).flatten(1)))


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

    stackable = True

    def __init__(self, width: int, n_classes: int = 10, channels: int = 3):
        _check(width, n_classes)
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
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


FAMILIES: dict[str, Callable[..., nn.Module]] = {"convnet": ConvNet, "resnet18": ResNet18}


def create(family: str, width: int, n_classes: int, seed: int, **options: Any) -> nn.Module:
    """A freshly initialised network; the same seed gives the same weights.

    Args:
        family: "convnet", "resnet18", or one of your own, see `maker`.
        width, n_classes: which is called with these,
        options: and with these.
        seed: of PyTorch's generator, meanwhile.

    Example:
        >>> one, other = (create("convnet", 4, 10, seed=3) for _ in range(2))
        >>> torch.equal(one.linear.weight, other.linear.weight)
        True
    """
    make = maker(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(width, n_classes, **options)
        for name, layer in list(model.named_modules()) if isinstance(model, nn.Module) else []:
            if name and type(layer) is nn.Dropout and 0 < layer.p < 1:  # whose draws nothing could repeat
                model.set_submodule(name, Dropout(layer.p))
    return model


def of_run(config: Run, image_shape: Sequence[int] = (3, 32, 32)) -> nn.Module:
    """A run's network at its initialisation, for images of a shape (C, H, W), and tried on one of them.

    It is called with width and n_classes, and with `channels` and `image_shape` if it has parameters of those names.
    """
    shape, options = tuple(image_shape), dict[str, Any]()
    known = inspect.signature(maker(config.model)).parameters
    options |= {name: value for name, value in (("channels", shape[0]), ("image_shape", shape)) if name in known}
    options |= {name: value for name in ("dropout", "batch_norm") if (value := getattr(config, name))}
    ours = shape == (3, 32, 32) and config.model in FAMILIES
    try:
        model = create(config.model, config.width, config.n_classes, config.seed, **options)
        if ours:  # known to fit
            return model
        if not isinstance(model, nn.Module):
            raise TypeError(f"it is a {type(model).__name__} and no torch.nn.Module")
        with torch.no_grad():
            found = model.eval()(torch.zeros(1, *shape))  # layers that wait for a shape get one
            model.train()
    except UserError:
        raise
    except Exception as error:
        what = f"of width {config.width} for images of {' x '.join(map(str, shape))}"
        raise ConfigError(f"The model '{config.model}' cannot be used {what}: {str(error).splitlines()[0]}.") from None
    if not isinstance(found, Tensor) or tuple(found.shape) != (1, config.n_classes):
        shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        what = f"The model '{config.model}' returns {shown} of one image"
        raise ConfigError(f"{what}: it must be (1, {config.n_classes}).")
    return model


def source(family: str) -> str:
    """A digest of the file that makes networks of one's own; empty for the families here, and where there is no file."""
    if family in FAMILIES:
        return ""
    maker(family)
    file = getattr(sys.modules[family.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def maker(name: str) -> Callable[..., nn.Module]:
    """One of `FAMILIES`, or what `module:name` names: imported from the working directory, the repository, or what is installed.

    Raises:
        ConfigError: if there is no such thing, or importing it fails.

    Example:
        >>> maker("torch.nn:Linear")
        <class 'torch.nn.modules.linear.Linear'>
    """
    if name in FAMILIES:
        return FAMILIES[name]
    module, _, attribute = name.partition(":")
    places = [place for place in (os.getcwd(), str(locations.repository())) if place not in sys.path]
    sys.path += places
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        where = f"put {module}.py into {os.getcwd()}"
        raise ConfigError(f"The model '{name}' cannot be imported ({problem}): {where}.") from None
    finally:
        for place in places:
            sys.path.remove(place)
    if not callable(found):
        what = type(found).__name__
        raise ConfigError(f"The model '{name}' must be a callable of width and n_classes, not a {what}.")
    return found
