"""One step of training: its learning rate, what it minimises and counts, the optimiser (Section 4)."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Settings


def learning_rate(step: int, steps_per_epoch: int, settings: Settings) -> float:
    """Linear warm-up over the first epochs, then constant."""
    warmup = settings.warmup_epochs * steps_per_epoch
    if step >= warmup:
        return settings.learning_rate
    start = settings.warmup_learning_rate
    return start + (settings.learning_rate - start) * step / warmup


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


def optimizer_of(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The experiment's optimiser, in one kernel, and such that a GPU can capture it."""
    parameters, rate = list(model.parameters()), settings.learning_rate
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=parameters[0].is_cuda)
    return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, fused=True)
