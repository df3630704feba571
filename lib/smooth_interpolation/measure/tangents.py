"""Tangent directions: weak colour jitters of an image (Section 3.2).

Each x + delta u_m is the image with brightness, contrast and saturation scaled by factors close to 1, in random order.
The three scalings are those of torchvision's `ColorJitter` without its clipping to [0, 1]: the anchors of SVD paths
leave that range by a little, and clipping them would add a step that has nothing to do with the jitter.
"""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import torch
from torch import Tensor

STRENGTH = 0.01  # factors are uniform in [1 - STRENGTH, 1 + STRENGTH]
GREY = (0.2989, 0.587, 0.114)  # ITU-R BT.601 luma, as in torchvision
_ORDERS = np.array(list(itertools.permutations(range(3))))


def draw_jitters(images: Tensor, n_anchors: int, n_tangents: int, seed: int) -> Tensor:
    """Random factors and orders for every image, anchor and direction.

    An image's draws depend on `seed` and on the image's own pixels (as float32) alone: not on the order of the images,
    on how they are batched, or on which others are measured.

    Returns:
        (N, n_anchors, n_tangents, 3, 2) float64: step s applies operation [..., s, 0] (0 brightness, 1 contrast,
        2 saturation) with factor [..., s, 1].

    Example:
        >>> draw_jitters(torch.rand(2, 3, 8, 8), n_anchors=1, n_tangents=4, seed=0).shape
        torch.Size([2, 1, 4, 3, 2])
    """
    pixels = images.detach().cpu().float().contiguous().numpy()
    result = np.empty((len(pixels), n_anchors, n_tangents, 3, 2))
    for n, image in enumerate(pixels):
        own = int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:16], "little")
        generator = np.random.default_rng([seed, own])
        draws = generator.random((n_anchors, n_tangents, 4))
        result[n, ..., 0] = _ORDERS[(draws[..., 3] * len(_ORDERS)).astype(int)]
        result[n, ..., 1] = 1 + STRENGTH * (2 * draws[..., :3] - 1)
    return torch.from_numpy(result)


def apply_jitters(images: Tensor, jitters: Tensor) -> Tensor:
    """The jittered images.

    Each step maps a pixel x, with the weights w of its grey value and the image's mean grey value g, to a mixture of
    x, w.x and g; so does the whole jitter: x' = (a I + b 1 w^T) x + c g, one small matrix product.

    Args:
        images: (B, C, H, W), values about [0, 1]; grey is the mean channel unless C = 3.
        jitters: (B, M, 3, 2) from `draw_jitters`.

    Returns:
        (B, M, C, H, W).

    Example:
        >>> images = torch.rand(2, 3, 8, 8)
        >>> moved = apply_jitters(images, draw_jitters(images, n_anchors=1, n_tangents=4, seed=0)[:, 0])
        >>> moved.shape, bool((moved - images[:, None]).abs().max() < 0.05)
        (torch.Size([2, 4, 3, 8, 8]), True)
    """
    n, channels, height, width = images.shape
    weights = torch.tensor(GREY if channels == 3 else [1 / channels] * channels, dtype=torch.float64)
    a, b, c = _compose(jitters.cpu().double(), weights.sum()).unbind(-1)
    maps = a[..., None, None] * torch.eye(channels, dtype=torch.float64) + b[..., None, None] * weights
    pixels = images.flatten(2)
    grey = pixels.mean(dim=2, dtype=torch.float64) @ weights.to(images.device)
    offsets = (c.to(images.device) * grey[:, None])[..., None].expand(-1, -1, channels).flatten(1)
    moved = torch.baddbmm(offsets[..., None].to(images.dtype), maps.flatten(1, 2).to(pixels), pixels)
    return moved.view(n, -1, channels, height, width)


def _compose(jitters: Tensor, grey_of_white: Tensor) -> Tensor:
    """(..., 3) coefficients a, b, c of the steps (..., 3, 2) one after the other."""
    a = torch.ones_like(jitters[..., 0, 0])
    b, c = torch.zeros_like(a), torch.zeros_like(a)
    for operation, factor in (jitters[..., step, :].unbind(-1) for step in range(3)):
        rest = 1 - factor
        to_mean, to_grey = rest * (operation == 1), rest * (operation == 2)
        a, b, c = (
            factor * a,
            factor * b + to_grey * (a + b * grey_of_white),
            factor * c + to_grey * c * grey_of_white + to_mean * (a + (b + c) * grey_of_white),
        )
    return torch.stack([a, b, c], dim=-1)
