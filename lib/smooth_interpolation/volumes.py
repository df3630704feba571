"""Sharpness over volumes: metrics integrated along paths of augmentations (Section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import paths as path_kinds
from . import sharpness, tangents
from .errors import ConfigError, DataError
from .paths import segment_lengths

METRICS = ("accuracy", "crossentropy", "jacobian_norm", "tangent_hessian_norm")
PATHS = {"svd": path_kinds.svd_paths, "shift": path_kinds.shift_paths}


class VolumeMetrics(NamedTuple):
    """The four metrics of N points over K + 1 volume sizes, each (N, K + 1); [:, 0] are the values at the points."""

    accuracy: Tensor
    crossentropy: Tensor
    jacobian_norm: Tensor
    tangent_hessian_norm: Tensor


def integrate_paths(values: Tensor, lengths: Tensor) -> Tensor:
    """Mean over paths of the integral along each path, divided by the path's length (Equation 6).

    For volume size k, with segment lengths l_j and values s_j at the anchors, by the trapezoidal rule:

        1/P sum_p [sum_{j<k} l_j (s_j + s_{j+1}) / 2] / [sum_{j<k} l_j].

    A path of zero length, such as that of a black image, contributes its value at the image.

    Args:
        values: (N, P, K + 1), a metric at the anchors.
        lengths: (N, P, K), from `segment_lengths`.

    Returns:
        (N, K + 1): [:, 0] the value at the image, [:, k] the integral over the first k segments.

    Raises:
        DataError: for shapes that do not match or negative lengths.
    """
    if values.ndim != 3 or lengths.shape != (*values.shape[:2], values.shape[2] - 1):
        raise DataError(
            f"values (N, P, K + 1) and lengths (N, P, K) do not match: {tuple(values.shape)} and {tuple(lengths.shape)}."
        )
    if lengths.numel() and lengths.min() < 0:
        raise DataError("Lengths must not be negative.")
    at_image = values[:, :, :1]
    sums = (lengths * (values[:, :, 1:] + values[:, :, :-1]) / 2).cumsum(2)
    total = lengths.cumsum(2)
    along = torch.where(total > 0, sums / torch.where(total > 0, total, torch.ones_like(total)), at_image)
    return torch.cat([at_image, along], dim=2).mean(dim=1)


def volume_metrics(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    strengths: Sequence[int] = (5, 10, 15, 20, 22, 25),
    n_paths: int = 8,
    n_tangents: int = 4,
    delta: float = 0.1,
    seed: int = 0,
    path_kind: str = "svd",
    chunk_size: int | None = None,
    memory: int = sharpness.MEMORY_BUDGET,
    progress: Callable[[int], None] | None = None,
) -> VolumeMetrics:
    """Accuracy, crossentropy, Jacobian norm and tangent Hessian norm over growing volumes (Equation 6, per point).

    At each of an image's 1 + P K distinct anchors the network is differentiated 1 + M times: once for the first three
    metrics, and once per tangent direction. The mean over points is Equation 7.

    Args:
        model: from normalised images to logits; it is not changed.
        images: (N, C, H, W) in [0, 1], not normalised.
        labels: (N,) integers, the labels trained on.
        normalize: maps images (..., C, H, W) to the network's input, such as `torchvision.transforms.Normalize`;
            None: the network takes images as they are.
        strengths: K increasing strengths of `svd_paths` (or radii of `shift_paths`).
        n_paths: P.
        n_tangents: M.
        delta: step of the finite difference of Equation 5.
        seed: of the tangent directions; they depend on it and on each image's pixels alone.
        path_kind: "svd" or "shift".
        chunk_size: points per pass; None: as many as fit in `memory`.
        memory: bytes that a chunk may take, whatever N is.
        progress: called with the number of images done.

    Returns:
        `VolumeMetrics`, float64 on the CPU.

    Raises:
        DataError, ConfigError: for images, labels or settings that do not fit.
    """
    if path_kind not in PATHS:
        raise ConfigError(f"path_kind is {path_kind!r}: it must be one of {', '.join(PATHS)}.")
    if isinstance(n_tangents, bool) or not isinstance(n_tangents, int) or n_tangents < 1:
        raise ConfigError(f"n_tangents is {n_tangents!r}: it must be a whole number of at least 1.")
    if not delta > 0:
        raise ConfigError(f"delta is {delta}: it must be above 0.")
    sharpness.check_model(model)
    path_kinds.check_paths(images[:1], strengths, n_paths)
    sharpness.check_points(images, labels)
    normalize = normalize or (lambda x: x)
    dtype, device = _place(model)
    n_steps = len(list(strengths))
    n_anchors = 1 + n_paths * n_steps
    results = {metric: torch.empty(len(images), n_steps + 1, dtype=torch.float64) for metric in METRICS}
    if len(images) == 0:
        return VolumeMetrics(**results)
    with sharpness.measuring(model):
        example = normalize(images[:1].to(device=device, dtype=dtype))
        size = chunk_size or sharpness.chunk_length(model, example, memory)
        # Anchors take about four times their own bytes while they are made, in float64.
        group = max(1, min(len(images), memory // (64 * n_anchors * images[0].numel())))
        for start in range(0, len(images), group):
            part = slice(start, start + group)
            x = images[part].to(device=device, dtype=dtype)
            y = labels[part].to(device=x.device, dtype=torch.long)
            paths = PATHS[path_kind](x, strengths, n_paths)
            lengths = segment_lengths(normalize(paths)).double().cpu()
            anchors = torch.cat([paths[:, :1, 0], paths[:, :, 1:].flatten(1, 2)], dim=1)  # (n, 1 + P K, C, H, W)
            jitters = tangents.draw_jitters(images[part], n_anchors, n_tangents, seed)
            values = _anchor_values(model, anchors, y, jitters, normalize, delta, size)
            for metric in METRICS:
                along = values[metric].view(len(x), n_anchors)
                at_image = along[:, :1, None].expand(-1, n_paths, 1)
                full = torch.cat([at_image, along[:, 1:].view(len(x), n_paths, n_steps)], dim=2)
                results[metric][part] = integrate_paths(full, lengths)
            if progress:
                progress(len(x))
    return VolumeMetrics(**results)


def _anchor_values(
    model: nn.Module,
    anchors: Tensor,
    labels: Tensor,
    jitters: Tensor,
    normalize: Callable[[Tensor], Tensor],
    delta: float,
    size: int,
) -> dict[str, Tensor]:
    """The metrics at every anchor, flat (n * n_anchors,), float64 on the CPU."""
    n_tangents = jitters.shape[2]
    labels = labels.repeat_interleave(anchors.shape[1])
    anchors, jitters = anchors.flatten(0, 1), jitters.flatten(0, 1)
    parts: dict[str, list[Tensor]] = {metric: [] for metric in METRICS}
    for start in range(0, len(anchors), size):
        x, y, draws = (t[start : start + size] for t in (anchors, labels, jitters))
        point = sharpness.evaluate_points(model, normalize(x), y)
        squares = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for m in range(n_tangents):
            moved = normalize(tangents.apply_jitters(x, draws[:, m]))
            squares += sharpness.square_distance(sharpness.evaluate_points(model, moved, y).gradients, point.gradients)
        parts["accuracy"].append(point.correct)
        parts["crossentropy"].append(point.crossentropy)
        parts["jacobian_norm"].append(point.gradients.flatten(1).norm(dim=1))
        parts["tangent_hessian_norm"].append(sharpness.hessian_norm(squares, n_tangents, delta))
    return {metric: torch.cat(values).double().cpu() for metric, values in parts.items()}


def point_metrics(
    model: nn.Module, images: Tensor, labels: Tensor, *, normalize, n_tangents: int, delta: float, seed: int
) -> dict[str, Tensor]:
    """The four metrics at the points alone (N,): `volume_metrics` for volume size 0, with the same directions."""
    with sharpness.measuring(model):
        dtype, device = _place(model)
        size = sharpness.chunk_length(model, normalize(images[:1].to(device=device, dtype=dtype)))
        parts = []
        for x, y in zip(images.split(1024), labels.split(1024), strict=True):
            jitters = tangents.draw_jitters(x, 1, n_tangents, seed)
            anchors = x[:, None].to(device=device, dtype=dtype)
            parts.append(_anchor_values(model, anchors, y.to(anchors.device), jitters, normalize, delta, size))
    return {metric: torch.cat([part[metric] for part in parts]) for metric in METRICS}


def _place(model: nn.Module) -> tuple[torch.dtype, torch.device | None]:
    dtype, device = sharpness.model_type(model)
    return dtype or torch.float32, device
