"""Paths of ever stronger augmentations, from each image outwards (Sections 3.3 and 3.4).

N images of C x H x W, P paths each, K strengths: K + 1 anchors a path, the image itself first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError, DataError

STRENGTHS = (5, 10, 15, 20, 22, 25)  # of the paper, for 32 singular values
N_PATHS = 4  # P; at `paper` scale 8


def scaled_strengths(side: int) -> tuple[int, ...]:
    """The paper's strengths, of images with 32 singular values a channel, for images of another size.

    >>> scaled_strengths(32), scaled_strengths(224)
    ((5, 10, 15, 20, 22, 25), (35, 70, 105, 140, 154, 175))
    """
    return tuple(sorted({max(1, round(strength * side / 32)) for strength in STRENGTHS}))


def svd_paths(images: Tensor, strengths: Sequence[int] = STRENGTHS, n_paths: int = N_PATHS) -> Tensor:
    """Erase ever more of the smallest singular values of each channel (Section 3.4, after Yu et al., 2018).

    With x[c] = U diag(s) V^T and r = min(H, W) singular values in decreasing order, path p = 0..P-1 at strength k is
    U diag(s') V^T, where s' is s with the 0-based indices in [r - k - p, r - p) zeroed, clipped at 0. The last paths
    at the largest strengths reach the leading singular values: with P = 8, k = 25 and r = 32 the last path erases them.

    Args:
        images: (N, C, H, W), values in [0, 1], before normalisation.
        strengths: K increasing numbers of singular values to erase.
        n_paths: P.

    Returns:
        (N, P, K + 1, C, H, W) in the images' type; [:, :, 0] are the images. Values are not clipped to [0, 1].

    Raises:
        ConfigError: for strengths that do not increase or n_paths below 1.
        DataError: for images of another shape or with values that are not finite.

    Example:
        >>> paths = svd_paths(torch.rand(2, 3, 32, 32), strengths=(5, 10), n_paths=4)
        >>> paths.shape
        torch.Size([2, 4, 3, 3, 32, 32])
        >>> torch.linalg.matrix_rank(paths[0, 0, :, 0].double(), atol=1e-3).tolist()  # of one channel, along one path
        [32, 27, 22]
    """
    check_paths(images, strengths, n_paths)
    images = _as_float(images)
    # Float64, because small singular values of a float32 factorisation are mostly rounding.
    u, s, vt = torch.linalg.svd(images.double(), full_matrices=False)
    r = s.shape[-1]
    index = torch.arange(r, device=images.device)
    p = torch.arange(n_paths, device=images.device)[:, None, None]
    k = torch.tensor([int(v) for v in strengths], device=images.device)[None, :, None]
    erased = (index >= r - k - p) & (index < r - p)  # (P, K, r)
    # Subtracting the erased part leaves exactly the image where nothing is erased.
    kept = s[:, None, None] * erased[None, :, :, None, :]  # (N, P, K, C, r)
    part = (u[:, None, None] * kept[..., None, :]) @ vt[:, None, None]
    anchors = (images.double()[:, None, None] - part).to(images.dtype)
    start = images[:, None, None].expand(-1, n_paths, 1, -1, -1, -1)
    return torch.cat([start, anchors], dim=2)


def shift_paths(images: Tensor, radii: Sequence[int] = (1, 2, 3, 4), n_paths: int = N_PATHS) -> Tensor:
    """Translate each image ever further, along P directions evenly spread over the circle (Section 3.3).

    Path p at radius R is the image moved by R (cos 2 pi p / P, sin 2 pi p / P) pixels, to the right and down, read
    bilinearly; pixels from outside repeat the image's border.

    Args:
        images: (N, C, H, W).
        radii: K increasing distances in pixels.
        n_paths: P.

    Returns:
        (N, P, K + 1, C, H, W) in the images' type; [:, :, 0] are the images.

    Raises:
        ConfigError, DataError: as `svd_paths`.

    Example:
        >>> image = torch.zeros(1, 1, 3, 3)
        >>> image[..., 1, 1] = 1.0
        >>> shift_paths(image, radii=(1,), n_paths=4)[0, 0, 1, 0].round(decimals=3)  # one pixel to the right
        tensor([[0., 0., 0.],
                [0., 0., 1.],
                [0., 0., 0.]])
    """
    check_paths(images, radii, n_paths)
    images = _as_float(images)
    n, _, h, w = images.shape
    anchors = [images[:, None, None].expand(-1, n_paths, 1, -1, -1, -1)]
    rows, columns = torch.meshgrid(
        torch.arange(h, dtype=torch.float64), torch.arange(w, dtype=torch.float64), indexing="ij"
    )
    for radius in radii:
        moved = []
        for p in range(n_paths):
            angle = 2 * math.pi * p / n_paths
            x = columns - radius * math.cos(angle)
            y = rows - radius * math.sin(angle)
            grid = torch.stack([2 * x / max(w - 1, 1) - 1, 2 * y / max(h - 1, 1) - 1], dim=-1)
            grid = grid.to(images).expand(n, h, w, 2)
            moved.append(F.grid_sample(images, grid, padding_mode="border", align_corners=True))
        anchors.append(torch.stack(moved, dim=1)[:, :, None])
    return torch.cat(anchors, dim=2)


def segment_lengths(paths: Tensor) -> Tensor:
    """Euclidean length of each segment between neighbouring anchors.

    Args:
        paths: (N, P, K + 1, C, H, W), normalised where the network's input is.

    Returns:
        (N, P, K).

    Example:
        >>> segment_lengths(torch.tensor([0.0, 3.0, 5.0]).view(1, 1, 3, 1, 1, 1))
        tensor([[[3., 2.]]])
    """
    return (paths[:, :, 1:] - paths[:, :, :-1]).flatten(3).norm(dim=3)


def _as_float(images: Tensor) -> Tensor:
    return images if images.dtype == torch.float64 else images.float()


def check_paths(images: Tensor, strengths: Sequence[int], n_paths: int) -> None:
    """Refuse images and settings that have no paths, in one sentence."""
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(getattr(images, "shape", ()))
        raise DataError(f"Images must be a tensor of shape (N, C, H, W), not {type(images).__name__} of shape {shape}.")
    if not images.is_floating_point():
        raise DataError(f"Images must be floating point in [0, 1], not {images.dtype}: divide by 255 first.")
    if not torch.isfinite(images).all():
        raise DataError("Images must be finite: some values are NaN or infinite.")
    values = list(strengths)
    if not values or values[0] <= 0 or any(b <= a for a, b in zip(values, values[1:], strict=False)):
        raise ConfigError(f"Strengths must be positive and increase strictly, not {values}.")
    if isinstance(n_paths, bool) or not isinstance(n_paths, int) or n_paths < 1:
        raise ConfigError(f"n_paths is {n_paths!r}: it must be a whole number of at least 1.")
