"""How a network is trained, and one step of it: its learning rate, what it minimises and counts, the optimiser (Section 4)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Settings
from ..errors import ConfigError

CHOICES = {"optimizer": ("sgd", "adam"), "precision": ("bf16", "tf32", "fp32")}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: by default as `params/paper` has it for ConvNets, but for the precision.

    Raises:
        ConfigError: for values that nothing can be trained with.
    """

    learning_rate: float = 0.004
    epochs: int = 4000
    batch_size: int = 128
    optimizer: str = "sgd"  # or "adam"
    momentum: float = 0.9  # of "sgd"
    warmup_epochs: int = 5
    warmup_learning_rate: float = 0.001  # where the linear warm-up starts
    augment: bool = False  # pad-4 random crop and horizontal flip
    precision: str = "fp32"  # "tf32" or "bf16"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise ConfigError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}.")
        for name, least in (("epochs", 1), ("batch_size", 1), ("warmup_epochs", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}: it must be a whole number of at least {least}.")
        for name in ("learning_rate", "warmup_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: it must be above 0.")

    @classmethod
    def of(cls, settings: Settings) -> Recipe:
        """What settings say of training."""
        return cls(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(cls)})


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Linear warm-up over the first epochs, then constant."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step >= warmup:
        return recipe.learning_rate
    start = recipe.warmup_learning_rate
    return start + (recipe.learning_rate - start) * step / warmup


def losses_of(model: nn.Module, images: Tensor, labels: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """What a step minimises, and what it counts, of S networks that train on images of their own.

    Args:
        model: from images to logits (B, S, n_classes), or (B, n_classes) for S = 1.
        images: (B, S * C, H, W), normalised.
        labels: (B, S).

    Returns:
        The sum over networks of the mean crossentropy, and (S, 2) float64: sum of the losses, number of wrong predictions.
    """
    bf16 = precision == "bf16"
    with torch.autocast(images.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
        logits = model(images)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).reshape(labels.numel(), -1)
    losses = F.cross_entropy(logits, labels.flatten(), reduction="none").view(labels.shape).mean(0)
    wrong = (logits.detach().argmax(1).view(labels.shape) != labels).sum(0)
    return losses.sum(), torch.stack([losses.detach().double() * len(labels), wrong.double()], dim=1)


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, in one kernel, and such that a GPU can capture it."""
    parameters, rate = list(model.parameters()), recipe.learning_rate
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=parameters[0].is_cuda)
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, fused=True)
