"""How a network is trained, and one step of it: its learning rate, what it minimises and counts, the optimiser (Section 4)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, in one kernel, and such that a GPU can capture it."""
    parameters, rate, decay = list(model.parameters()), recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, rate, weight_decay=decay, fused=True, capturable=parameters[0].is_cuda)
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay, fused=True)
