"""What networks take: normalised images on their device, in the layout that convolutions like best; random crops of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PAD = 4  # pixels of the random crop


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


@dataclass(frozen=True)
class TrainingData:
    """Normalised images (N, H, W, C) in the type trained in, labels, and the colour of padding."""

    images: Tensor
    labels: Tensor
    black: Tensor

    @classmethod
    def of(
        cls, images: Tensor, labels: Tensor, normalize: Normalization, precision: str, device: torch.device
    ) -> TrainingData:
        """From uint8 images (N, C, H, W) and labels (N,)."""
        x = normalize(images.to(device).float() / 255).permute(0, 2, 3, 1)
        x = x.to(torch.bfloat16 if precision == "bf16" else torch.float32).contiguous()
        black = normalize(torch.zeros(images.shape[1], 1, 1)).flatten().to(x)
        return cls(x, labels.to(device), black)

    def __len__(self) -> int:
        return len(self.labels)


def crop_and_flip(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Every image (N, H, W, C) padded by 4 black pixels, cropped at random to its size, and mirrored half the time."""
    n, height, width, _ = images.shape
    draws = torch.randint(0, 2 * PAD + 1, (2, n), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    # The same numbers for every device; what is made of them is n times as long, and made there.
    draws, mirrored = draws.to(images.device)[:, :, None], mirrored.to(images.device)[:, None]
    padded = black.expand(n, height + 2 * PAD, width + 2 * PAD, -1).clone()
    padded[:, PAD:-PAD, PAD:-PAD] = images
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    columns = torch.where(mirrored, width - 1 - columns, columns) + draws[1]
    image = torch.arange(n, device=images.device)[:, None, None]
    return padded[image, (rows + draws[0])[:, :, None], columns[:, None]]


def network_inputs(images: Tensor, normalize: Normalization, device: torch.device | None = None) -> Tensor:
    """uint8 images as networks take them: normalised float32 on the device, channels last."""
    return normalize(images.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
