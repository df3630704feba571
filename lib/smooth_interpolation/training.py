"""The training loop: data on the device, no worker processes, the same bits for the same seed (Section 4).

Images are normalised once and stay on the device as (N, H, W, C), the layout that convolutions like best
(`channels_last`); batches and augmentation are index operations there. With `bf16`, `torch.autocast` runs the network
in bfloat16 around float32 weights.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Settings
from .precision import full_precision

PAD = 4  # pixels of the random crop


@dataclass(frozen=True)
class Progress:
    """How an epoch went; `diverged` when its loss was not finite, and training stops."""

    epoch: int
    loss: float  # mean crossentropy over the epoch's batches, with the labels trained on
    error: float  # share of wrong predictions over the epoch's batches, in percent
    diverged: bool


@dataclass(frozen=True)
class Normalization:
    """Per-channel (x - mean) / std of images (..., C, H, W) in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> Normalization:
        """From the statistics of uint8 images (N, C, H, W)."""
        values = images.double() / 255
        mean = values.mean(dim=(0, 2, 3))
        std = values.var(dim=(0, 2, 3), correction=0).sqrt().clamp_min(1e-6)  # a constant channel stays finite
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = (images.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return (images - mean) / std


def evaluation_epochs(epochs: int, n: int) -> list[int]:
    """At most n epochs, spaced evenly in the logarithm, the first and the last included."""
    if n == 1:
        return [epochs]
    return sorted({round(e) for e in np.geomspace(1, epochs, n)} | {1, epochs})


def learning_rate(step: int, steps_per_epoch: int, settings: Settings) -> float:
    """Linear warm-up over the first epochs, then constant."""
    warmup = settings.warmup_epochs * steps_per_epoch
    if step >= warmup:
        return settings.learning_rate
    start = settings.warmup_learning_rate
    return start + (settings.learning_rate - start) * step / warmup


def optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    return torch.optim.SGD(model.parameters(), lr=settings.learning_rate, momentum=settings.momentum, fused=True)


@full_precision()
def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Settings,
    *,
    normalize: Normalization,
    seed: int,
    after_epoch: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Train in place with crossentropy, on the device the model is on.

    Args:
        model: from normalised images to logits.
        images: (N, C, H, W) uint8.
        labels: (N,), noisy where noisy.
        settings: optimiser, schedule, batch size, epochs, augmentation, precision.
        normalize: applied to images in [0, 1].
        seed: of the order of the batches and of the augmentation.
        after_epoch: called with every epoch's progress; it may evaluate the model, and must not change it.

    Returns:
        True when all epochs were run, False when the loss stopped being finite.
    """
    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last)
    bf16 = settings.precision == "bf16"
    autocast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
    x = normalize(images.to(device).float() / 255).permute(0, 2, 3, 1)
    x = x.to(torch.bfloat16 if bf16 else torch.float32).contiguous()
    black = normalize(torch.zeros(images.shape[1], 1, 1)).flatten().to(x)
    y = labels.to(device)

    generator = torch.Generator().manual_seed(seed)
    optimizer_ = optimizer(model, settings)
    steps_per_epoch = math.ceil(len(x) / settings.batch_size)
    step = 0
    for epoch in range(1, settings.epochs + 1):
        model.train()
        order = torch.randperm(len(x), generator=generator).to(device)
        inputs = crop_and_flip(x, black, generator) if settings.augment else x
        loss_sum = torch.zeros((), device=device)
        n_wrong = torch.zeros((), dtype=torch.long, device=device)
        for batch in order.split(settings.batch_size):
            optimizer_.param_groups[0]["lr"] = learning_rate(step, steps_per_epoch, settings)
            with autocast:
                logits = model(inputs[batch].permute(0, 3, 1, 2))
            loss = F.cross_entropy(logits.float(), y[batch])
            optimizer_.zero_grad(set_to_none=True)
            loss.backward()
            optimizer_.step()
            loss_sum += loss.detach() * len(batch)
            n_wrong += (logits.detach().argmax(1) != y[batch]).sum()
            step += 1
        mean = loss_sum.item() / len(x)
        diverged = not (math.isfinite(mean) and _finite(model))
        after_epoch(Progress(epoch, mean, 100 * n_wrong.item() / len(x), diverged))
        if diverged:
            return False
    return True


def crop_and_flip(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Every image (N, H, W, C) padded by 4 black pixels, cropped at random to its size, and mirrored half the time."""
    n, height, width, _ = images.shape
    draws = torch.randint(0, 2 * PAD + 1, (2, n), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    padded = black.expand(n, height + 2 * PAD, width + 2 * PAD, -1).clone()
    padded[:, PAD:-PAD, PAD:-PAD] = images
    columns = torch.arange(width).expand(n, -1)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns) + draws[1][:, None]
    rows = torch.arange(height) + draws[0][:, None]
    index = torch.arange(n, device=images.device)[:, None, None]
    return padded[index, rows.to(images.device)[:, :, None], columns.to(images.device)[:, None, :]]


@torch.no_grad()
@full_precision()
def predict(model: nn.Module, images: Tensor, normalize: Normalization, chunk_size: int = 500) -> Tensor:
    """Logits (N, n_classes) of uint8 images, float32, in evaluation mode; the training mode is put back."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        parts = []
        for part in images.split(chunk_size):
            x = normalize(part.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
            parts.append(model(x))
        return torch.cat(parts)
    finally:
        model.train(was_training)


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())
