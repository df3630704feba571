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

    Args:
        images: (B, 3, H, W) or one channel (B, 1, H, W), values about [0, 1].
        jitters: (B, 3, 2) from `draw_jitters`.

    Returns:
        (B, C, H, W).
    """
    jitters = jitters.to(images.device)
    x = images
    for step in range(3):
        operation = jitters[:, step, 0, None, None, None]
        factor = jitters[:, step, 1, None, None, None].to(images.dtype)
        grey = _grey(x)
        contrast = grey.mean(dim=(2, 3), keepdim=True)
        base = torch.where(operation == 0, torch.zeros_like(contrast), contrast)
        base = torch.where(operation == 2, grey, base.expand_as(grey))
        x = base + factor * (x - base)
    return x


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device)[None, :, None, None]
    return (images * weights).sum(dim=1, keepdim=True)
