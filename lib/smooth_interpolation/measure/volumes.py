"""Sharpness over volumes: metrics integrated along paths of augmentations (Section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from . import anchors as neighbourhoods
from . import foreign, sharpness, tangents
from . import paths as path_kinds
from .anchors import Neighbourhood
from .losses import Loss, targets_for

METRICS = ("accuracy", "crossentropy", "jacobian_norm", "tangent_hessian_norm", "residual_norm", "sensitivity")


class VolumeMetrics(NamedTuple):
    """The metrics of N points over K + 1 volume sizes, each (N, K + 1); [:, 0] are the values at the points.

    `residual_norm` is ||softmax(f) - onehot(y)||_2 and `sensitivity` the Jacobian norm divided by it, at every anchor and
    then integrated; where the residual is exactly 0, so is the sensitivity, and `exact_fit`, the share of such anchors, 1.

    With a loss of the caller's, `crossentropy` holds its values, `accuracy` is NaN where targets are no class labels, and
    `residual_norm`, `sensitivity` and `exact_fit` are NaN.
    """

    accuracy: Tensor
    crossentropy: Tensor  # or the loss that was given
    jacobian_norm: Tensor
    tangent_hessian_norm: Tensor
    residual_norm: Tensor
    sensitivity: Tensor
    exact_fit: Tensor


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

    Example:
        One path of two segments of lengths 1 and 3, along which a metric goes from 0 to 2 and stays there.

        >>> values, lengths = torch.tensor([[[0.0, 2.0, 2.0]]]), torch.tensor([[[1.0, 3.0]]])
        >>> integrate_paths(values, lengths)
        tensor([[0.0000, 1.0000, 1.7500]])
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
    labels: Any,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    strengths: Sequence[int] = path_kinds.STRENGTHS,
    n_paths: int = path_kinds.N_PATHS,
    n_tangents: int = 4,
    delta: float = 0.1,
    seed: int = 0,
    path_kind: str = "svd",
    loss: Loss | None = None,
    memory: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> VolumeMetrics:
    """Accuracy, crossentropy, sharpness and what it is made of, over growing volumes (Equation 6, per point).

    At each of an image's 1 + P K distinct anchors the network is differentiated 1 + M times: once for all metrics but the
    tangent Hessian norm, and once per tangent direction. The mean over points is Equation 7.

    Args:
        model: from normalised images to logits; it is not changed.
        images: (N, C, H, W) in [0, 1], not normalised.
        labels: (N,) integers in any array-like, the labels trained on; with a `loss`, targets (N, ...).
        normalize: maps a batch of images (N, C, H, W), each by itself, to the network's inputs, such as
            `torchvision.transforms.Normalize`; None: the network takes images as they are.
        strengths: K increasing strengths of `svd_paths` (or radii of `shift_paths`).
        n_paths: P.
        n_tangents: M.
        delta: step of the finite difference of Equation 5.
        seed: of the tangent directions; they depend on it and on each image's pixels alone.
        path_kind: "svd" or "shift".
        loss: from outputs and targets to one loss per sample; None: the crossentropy. See `losses`.
        memory: bytes that a chunk may take, whatever N is; None: 1 GiB, or a quarter of a GPU's free memory.
        progress: called with the number of images done.

    Returns:
        `VolumeMetrics`, float64 on the CPU.

    Raises:
        DataError, ConfigError: for images, labels or settings that do not fit.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
        >>> images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
        >>> metrics = volume_metrics(network, images, labels, strengths=(2, 4), n_paths=2)
        >>> metrics.jacobian_norm.shape  # at the points, and over two volumes
        torch.Size([4, 3])
    """
    if isinstance(n_tangents, bool) or not isinstance(n_tangents, int) or n_tangents < 1:
        raise ConfigError(f"n_tangents is {n_tangents!r}: it must be a whole number of at least 1.")
    if not delta > 0:
        raise ConfigError(f"delta is {delta}: it must be above 0.")
    foreign.check_model(model)
    path_kinds.check_paths(images[:1], strengths, n_paths)
    labels = sharpness.check_points(images, labels, loss)
    dtype = foreign.model_type(model)[0] or torch.float32
    # Anchors take about four times their own bytes while they are made, in float64.
    group = max(
        1,
        (memory or sharpness.MEMORY_BUDGET) // (64 * (1 + n_paths * len(list(strengths))) * max(1, images[:1].numel())),
    )
    parts = []
    for start in range(0, max(1, len(images)), group):
        part = slice(start, start + group)
        near = neighbourhoods.make(
            images[part].to(dtype),
            strengths=strengths,
            n_paths=n_paths,
            n_tangents=n_tangents,
            seed=seed,
            path_kind=path_kind,
        )
        parts.append(
            neighbourhood_metrics(model, near, labels[part], normalize=normalize, delta=delta, loss=loss, memory=memory)
        )
        if progress:
            progress(len(near))
    return VolumeMetrics(*(torch.cat(values) for values in zip(*parts, strict=True)))


def neighbourhood_metrics(
    model: nn.Module,
    near: Neighbourhood,
    labels: Tensor,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    delta: float = 0.1,
    loss: Loss | None = None,
    size: int | None = None,
    memory: int | None = None,
) -> VolumeMetrics:
    """`volume_metrics` over paths and directions that are at hand already, see `neighbourhoods`."""
    normalize = foreign.normalizer(normalize)
    values = anchor_metrics(model, near.anchors, near.jitters, labels, normalize, delta, size, memory, loss)
    lengths = near.lengths(normalize, foreign.model_type(model)[1])
    return VolumeMetrics(*(integrate_paths(near.along_paths(v), lengths) for v in values))


def anchor_metrics(
    model: nn.Module,
    anchors: Tensor,
    jitters: Tensor,
    labels: Tensor,
    normalize: Callable[[Tensor], Tensor],
    delta: float,
    size: int | None = None,
    memory: int | None = None,
    loss: Loss | None = None,
) -> VolumeMetrics:
    """The metrics at every anchor itself: (N, A, C, H, W) and (N, A, M, 3, 2) give (N, A) each, float64 on the CPU.

    An anchor and its M jittered copies go through the network side by side, `size` inputs at a time.
    """
    n, n_anchors, n_tangents = jitters.shape[:3]
    dtype, device = foreign.model_type(model)
    dtype, normalize = dtype or torch.float32, foreign.normalizer(normalize)
    if n == 0:
        return VolumeMetrics(*(torch.empty(n, n_anchors, dtype=torch.float64) for _ in VolumeMetrics._fields))
    labels = targets_for(labels.repeat_interleave(n_anchors, dim=0), device, loss)
    anchors, jitters = anchors.flatten(0, 1), jitters.flatten(0, 1)
    parts = []
    with foreign.measuring(model, loss):
        example = normalize(anchors[:1].to(device=device, dtype=dtype))
        size = size or sharpness.chunk_length(model, example, memory)
        together = max(1, size // (1 + n_tangents))
        for start in range(0, len(anchors), together):
            x = anchors[start : start + together].to(device=device, dtype=dtype)
            copies = torch.cat([x[:, None], tangents.apply_jitters(x, jitters[start : start + together])], dim=1)
            targets = labels[start : start + together].repeat_interleave(1 + n_tangents, dim=0)
            point = sharpness.evaluate_points(model, normalize(copies.flatten(0, 1)), targets, loss)
            gradients = point.gradients.unflatten(0, (-1, 1 + n_tangents))
            squares = sharpness.squares_of((gradients[:, 1:] - gradients[:, :1]).flatten(0, 1))
            hessian = sharpness.hessian_norm(squares.view(-1, n_tangents).sum(1), n_tangents, delta)
            residual = point.residual_norm
            exact = torch.where(residual.isnan(), residual, (residual == 0).to(residual))
            first = (point.correct, point.crossentropy, point.jacobian_norm)
            of_anchors = [values[:: 1 + n_tangents] for values in (*first, residual, point.sensitivity, exact)]
            parts.append((*of_anchors[:3], hessian, *of_anchors[3:]))
    return VolumeMetrics(*(torch.cat(values).double().cpu().view(n, n_anchors) for values in zip(*parts, strict=True)))


def summarise(values: Tensor, corrupted: Tensor, noisy_share: float) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over points, for clean, noisy and all of them.

    Points are stratified; 'all' weights the two strata back to the true share of noisy points. It is absent if a
    stratum that the data has was not measured.
    """
    strata = {"clean": values[~corrupted], "noisy": values[corrupted]}
    weights = {"clean": 1 - noisy_share, "noisy": noisy_share}
    moments = {s: (v.mean().item(), (v**2).mean().item()) for s, v in strata.items() if len(v)}
    if all(s in moments for s, weight in weights.items() if weight > 0):
        mean, square = (sum(weights[s] * m[i] for s, m in moments.items()) for i in (0, 1))
        moments["all"] = mean, square
    return {
        s: {"mean": mean, "std": max(0.0, square - mean**2) ** 0.5} for s, (mean, square) in sorted(moments.items())
    }
