"""How a network is trained, and one step of it: its learning rate, what it minimises and counts, the optimiser (Section 4).

Several networks are trained as one, a `Stack`, that computes them side by side, each on images of its own. A narrow network leaves
most of a GPU idle: one kernel for many takes hardly longer than one for each. A layer of the stack holds the weights of all as
diagonal blocks of one matrix. The blocks off the diagonal are masked: they are zero, and so is their gradient. So each network
computes and learns what it would alone, but for rounding.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Settings
from ..errors import ConfigError, DataError
from ..measure.losses import Loss, hits

CHOICES = {
    "optimizer": ("sgd", "adam"),
    "precision": ("bf16", "tf32", "fp32"),
    "schedule": ("constant", "cosine", "step"),
}
JOINABLE = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
CHANNELS = 64  # of a stack's first layer, at most: wider ones are no faster than their parts
STEPS, FACTOR = (1 / 2, 3 / 4), 0.1  # of the schedule "step": shares of the epochs, and what the rate is multiplied by


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: by default as `params/paper` has it for ConvNets, but for the precision.

    Raises:
        ConfigError: for values that nothing can be trained with.
    """

    learning_rate: float = 0.004
    epochs: int = 4000
    batch_size: int = 128
    optimizer: str | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = "sgd"  # or "adam"
    momentum: float = 0.9  # of "sgd"
    warmup_epochs: int = 5
    warmup_learning_rate: float = 0.001  # where the linear warm-up starts
    augment: bool = False  # pad-4 random crop and horizontal flip
    precision: str = "fp32"  # "tf32" or "bf16"
    weight_decay: float = 0.0  # times the weights, added to the gradient
    label_smoothing: float = 0.0  # targets are (1 - a) of the label and a / n_classes of every class
    schedule: str = "constant"  # after the warm-up; "cosine" or "step"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed and not (name == "optimizer" and callable(value)):
                raise ConfigError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}.")
        for name, least in (("epochs", 1), ("batch_size", 1), ("warmup_epochs", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}: it must be a whole number of at least {least}.")
        for name in ("learning_rate", "warmup_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: it must be above 0.")
        for name in ("weight_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: it must be from 0 to 1.")

    @classmethod
    def of(cls, settings: Settings) -> Recipe:
        """What settings say of training."""
        return cls(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(cls)})


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Linear warm-up over the first epochs, then constant, or falling to 0 as a half-wave of the cosine, or in two steps.

    With r the recipe's rate, "cosine" is r (1 + cos(pi t / T)) / 2 at step t of the T after the warm-up, as PyTorch's
    `CosineAnnealingLR`; "step" is r / 10 from half of all epochs on, and r / 100 from three quarters, as its `MultiStepLR`.

    Example:
        >>> [round(learning_rate(step, 10, Recipe(0.1, 100, schedule="step", warmup_epochs=0)), 4) for step in (0, 500, 750)]
        [0.1, 0.01, 0.001]
    """
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step >= warmup:
        if recipe.schedule == "cosine":
            share = (step - warmup) / max(1, recipe.epochs * steps_per_epoch - warmup)
            return recipe.learning_rate * (1 + math.cos(math.pi * min(share, 1.0))) / 2
        if recipe.schedule == "step":
            passed = sum(step >= math.ceil(part * recipe.epochs) * steps_per_epoch for part in STEPS)
            return recipe.learning_rate * FACTOR**passed
        return recipe.learning_rate
    start = recipe.warmup_learning_rate
    return start + (recipe.learning_rate - start) * step / warmup


def scheduled_steps(steps_per_epoch: int, recipe: Recipe) -> int:
    """After how many steps the learning rate stays what it is."""
    return steps_per_epoch * (recipe.warmup_epochs if recipe.schedule == "constant" else recipe.epochs)


def losses_of(
    model: nn.Module, images: Tensor, labels: Tensor, precision: str, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """What a step minimises, and what it counts, of S networks that train on images of their own.

    Args:
        model: from images to logits (B, S, n_classes), or (B, n_classes) for S = 1.
        images: (B, S * C, H, W), normalised.
        labels: (B, S).
        precision, label_smoothing: as of a `Recipe`.

    Returns:
        The sum over networks of the mean crossentropy, and (S, 2) float64: sum of the losses, number of wrong predictions.
    """
    bf16 = precision == "bf16"
    with torch.autocast(images.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
        logits = model(images)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).reshape(labels.numel(), -1)
    each = F.cross_entropy(logits, labels.flatten(), reduction="none", label_smoothing=label_smoothing)
    losses = each.view(labels.shape).mean(0)
    wrong = (logits.detach().argmax(1).view(labels.shape) != labels).sum(0)
    return losses.sum(), torch.stack([losses.detach().double() * len(labels), wrong.double()], dim=1)


def own_losses(model: nn.Module, images: Tensor, targets: Tensor, precision: str, loss: Loss) -> tuple[Tensor, Tensor]:
    """`losses_of` for one network and a loss of the caller's, targets (B, ...); what is wrong is NaN without class labels."""
    bf16 = precision == "bf16"
    with torch.autocast(images.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
        outputs = model(images)
        losses = loss(outputs, targets)
    if not isinstance(losses, Tensor) or losses.shape != targets.shape[:1]:
        found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise DataError(f"The loss must be one number per sample, shape ({len(targets)},), not {found}.")
    wrong = (1 - hits(outputs, targets)).sum()
    return losses.mean(), torch.stack([losses.detach().double().sum(), wrong])[None]


def _without_compiler(kind: Any) -> Any:
    """PyTorch's optimiser without the wrappers that hide it from PyTorch's compiler, and load that, which takes seconds."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad", "step")}
    return type(kind.__name__, (kind,), methods | {"step": torch.no_grad()(methods["step"])})


SGD, ADAM = _without_compiler(torch.optim.SGD), _without_compiler(torch.optim.Adam)


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, in one kernel, and such that a GPU can capture it."""
    parameters, rate, decay = list(model.parameters()), recipe.learning_rate, recipe.weight_decay
    on_gpu = parameters[0].is_cuda  # where steps are compiled, and the compiler is loaded anyway
    sgd, adam = (torch.optim.SGD, torch.optim.Adam) if on_gpu else (SGD, ADAM)
    if recipe.optimizer == "adam":
        return adam(parameters, rate, weight_decay=decay, fused=True, capturable=on_gpu)
    return sgd(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay, fused=True)


def channels(model: nn.Module) -> int | None:
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
