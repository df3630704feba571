"""Sharpness of the loss as a function of the input, at points (Sections 3.1 and 3.2).

The loss is the crossentropy, or any other that a caller gives, see `losses`.

All functions take any `torch.nn.Module` from inputs to logits, evaluate it in evaluation mode in float32 or wider, and
leave its parameters, gradients, `requires_grad` flags and training modes as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from . import foreign
from .losses import Loss, hits, losses_of, residual_norms, targets_for

MEMORY_BUDGET = 1 << 30  # bytes for the activations of one chunk; on a GPU, a quarter of what is free
CPU_CACHE = 16 << 20  # bytes of activations that a CPU keeps near; larger chunks are slower
CPU_CHUNK = (32, 128)  # least and most points of a chunk there
GPU_CHUNK = 8192


@dataclass(frozen=True)
class PointValues:
    """What one forward and one backward pass give, per point.

    The gradient of the crossentropy is J_f^T r, with the residual r = softmax(f) - onehot(y) and the Jacobian J_f of the
    logits: the gradient's norm is ||r||, which is small where the network is confident, times the sensitivity
    ||J_f^T r|| / ||r||, which is small where it is smooth. Another loss has neither: NaN.
    """

    gradients: Tensor  # (N, C, H, W)
    crossentropy: Tensor  # (N,), or another loss
    correct: Tensor  # (N,), 0 or 1; NaN where targets are no class labels
    jacobian_norm: Tensor  # (N,), float64: the gradient's norm, also where the gradient itself underflows
    residual_norm: Tensor  # (N,)
    sensitivity: Tensor  # (N,), 0 where the residual is exactly 0


def loss_gradients(
    model: nn.Module,
    images: Tensor,
    labels: Any,
    *,
    loss: Loss | None = None,
    memory: int | None = None,
) -> Tensor:
    """Gradient of each point's loss with respect to its input, J(x, y) of Equation 1.

    Args:
        model: from inputs (N, C, H, W) to logits (N, n_classes).
        images: (N, C, H, W), normalised as the network expects.
        labels: (N,) integers in any array-like, the labels trained on: noisy where noisy; with a `loss`, targets (N, ...).
        loss: from outputs and targets to one loss per sample, such as `lambda y, t: (y - t).square().mean(1)`; None:
            the crossentropy.
        memory: bytes that a chunk's activations may take; None: 1 GiB, or a quarter of a GPU's free memory.

    Returns:
        (N, C, H, W), on the images' device.

    Raises:
        DataError: for shapes, labels or values that do not fit.
        ConfigError: for a network in half precision.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 10))
        >>> images, labels = torch.rand(5, 3, 4, 4), torch.arange(5)
        >>> loss_gradients(network, images, labels).shape
        torch.Size([5, 3, 4, 4])
    """
    with foreign.measuring(model, loss):
        parts = chunks(model, images, labels, loss, memory)
        gradients = [evaluate_points(model, x, y, loss).gradients.to(images.device) for _, x, y in parts]
    return torch.cat(gradients) if gradients else torch.empty_like(images)


def jacobian_norm(
    model: nn.Module,
    images: Tensor,
    labels: Any,
    *,
    loss: Loss | None = None,
    memory: int | None = None,
) -> Tensor:
    """Norm of the loss gradient with respect to the input, ||J(x, y)||_F, the term of Equation 2's mean.

    Arguments and errors as `loss_gradients`. Returns (N,), in loss per unit of the normalised input.

    Example:
        For softmax regression the gradient is W^T (p - y), with p the probabilities and y the label's unit vector.

        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(48, 10))
        >>> images, labels = torch.rand(5, 3, 4, 4), torch.arange(5)
        >>> residual = network(images).softmax(1) - torch.eye(10)[:5]
        >>> expected = (residual @ network[1].weight).norm(dim=1)
        >>> torch.allclose(jacobian_norm(network, images, labels), expected, rtol=1e-4)
        True
    """
    with foreign.measuring(model, loss):
        parts = chunks(model, images, labels, loss, memory)
        norms = [evaluate_points(model, x, y, loss).jacobian_norm.to(x.dtype) for _, x, y in parts]
        return torch.cat(norms).to(images.device) if norms else images.new_zeros(0)


def tangent_hessian_norm(
    model: nn.Module,
    images: Tensor,
    perturbed: Tensor,
    labels: Any,
    delta: float,
    *,
    loss: Loss | None = None,
    memory: int | None = None,
) -> Tensor:
    """Norm of the loss's Hessian along M tangent directions by finite differences, the term of Equation 5's mean:

        1 / (M^2 delta^2) * sqrt(sum_m ||J(x, y) - J(x + delta u_m, y)||^2).

    The root-mean-square form sqrt(mean_m ||J(x) - J(x + delta u_m)||^2) / delta, an estimate of the norm of H u, is
    M^1.5 delta times this.

    Args:
        model, images, labels, loss, memory: as `loss_gradients`.
        perturbed: (N, M, C, H, W), the images moved to x + delta u_m, normalised like them.
        delta: the step, above 0.

    Returns:
        (N,).

    Raises:
        DataError, ConfigError: as `loss_gradients`, and for `perturbed` or `delta` that do not fit.

    Example:
        >>> from smooth_interpolation.measure.tangents import apply_jitters, draw_jitters
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(48, 10))
        >>> images, labels = torch.rand(5, 3, 4, 4), torch.arange(5)
        >>> jitters = draw_jitters(images, n_anchors=1, n_tangents=4, seed=0)[:, 0]
        >>> tangent_hessian_norm(network, images, apply_jitters(images, jitters), labels, delta=0.1).shape
        torch.Size([5])
    """
    check_perturbed(images, perturbed, delta)
    n_tangents = perturbed.shape[1]
    norms = []
    with foreign.measuring(model, loss):
        for part, x, y in chunks(model, images, labels, loss, memory):
            at_point = evaluate_points(model, x, y, loss).gradients
            squares = torch.zeros(len(x), dtype=torch.float64, device=x.device)
            for m in range(n_tangents):
                moved = perturbed[part, m].to(x)
                squares += squares_of(evaluate_points(model, moved, y, loss).gradients - at_point)
            norms.append(hessian_norm(squares, n_tangents, delta).to(x.dtype))
    return torch.cat(norms).to(images.device) if norms else images.new_zeros(0)


def norms_of(gradients: Tensor) -> Tensor:
    """The 2-norm (N,) of each of N tensors."""
    return torch.linalg.vector_norm(gradients, dim=tuple(range(1, gradients.ndim)))


def squares_of(gradients: Tensor) -> Tensor:
    """The squared 2-norm (N,) of each of N tensors, float64."""
    return norms_of(gradients).double() ** 2


def hessian_norm(square_distances: Tensor, n_tangents: int, delta: float) -> Tensor:
    """Equation 5's term from the sum over m of ||J(x) - J(x + delta u_m)||^2."""
    return square_distances.sqrt() / (n_tangents**2 * delta**2)


def evaluate_points(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss | None = None) -> PointValues:
    """One forward and one backward pass over one chunk, inside `foreign.measuring`."""
    inputs, labels = foreign.usable(images).detach().requires_grad_(), foreign.usable(labels)
    logits = foreign.outputs(model, inputs)
    if loss is None and not isinstance(logits, Tensor):
        raise DataError(
            f"The network must return logits, a tensor of shape (N, n_classes), not a {type(logits).__name__}: give a loss "
            "that takes it."
        )
    losses = losses_of(logits, labels, loss)
    if not losses.requires_grad:
        raise DataError("The network's output does not depend on its input differentiably: is there a detach() in it?")
    residuals = residual_norms(logits, labels) if loss is None else losses.detach() * torch.nan
    # The pass goes back from r / ||r||, so that in float32 too the gradient of a confident network is not lost on its way.
    scales = torch.where(residuals > 0, residuals, 1.0)
    with foreign.in_one_sentence("The network's loss cannot be differentiated with respect to the images"):
        (directions,) = torch.autograd.grad(losses, inputs, 1 / scales, allow_unused=True)
    if directions is None:
        raise DataError("The loss does not depend on the images: does the network look at its input?")
    gradients = directions * scales.to(directions.dtype).view(-1, *[1] * (directions.ndim - 1))
    sensitivity = norms_of(directions).to(scales.dtype)
    norms = sensitivity * scales
    sensitivity = torch.where(residuals > 0, sensitivity, residuals)  # 0 or NaN, as the residual
    return PointValues(gradients, losses.detach(), hits(logits, labels), norms, residuals, sensitivity)


def chunk_length(model: nn.Module, example: Tensor, memory: int | None = None) -> int:
    """How many points of one pass fit in `memory` bytes, from what autograd keeps of one point.

    Args:
        example: (1, C, H, W).
    """
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size() if tensor.ndim > 1 else 0
        return tensor

    parameters = sum(p.numel() * p.element_size() for p in model.parameters() if p.ndim > 1)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        foreign.outputs(model, foreign.usable(example).detach().requires_grad_())
    activations = max(kept - parameters, example.numel() * example.element_size())
    if memory is None:
        memory = MEMORY_BUDGET
        if example.device.type == "cuda":
            memory = max(memory, torch.cuda.mem_get_info(example.device)[0] // 4)
    fitting = memory // (4 * activations)  # 4: activations, their gradients, and what kernels need
    if example.device.type == "cpu":
        least, most = CPU_CHUNK
        return max(1, min(fitting, most, max(least, CPU_CACHE // activations)))
    return max(1, min(fitting, GPU_CHUNK))


def chunks(
    model: nn.Module,
    images: Tensor,
    labels: Any,
    loss: Loss | None,
    memory: int | None = None,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Images and labels part by part, in the model's type and place, once they are known to fit."""
    labels = check_points(images, labels, loss)
    dtype, device = foreign.model_type(model)
    dtype = dtype or torch.promote_types(images.dtype, torch.float32)
    if len(images) == 0:
        return
    size = chunk_length(model, images[:1].to(device=device, dtype=dtype), memory)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        if not torch.isfinite(images[part]).all():
            raise DataError("Images must be finite: some values are NaN or infinite.")
        yield part, images[part].to(device=device, dtype=dtype), targets_for(labels[part], device, loss)


def check_perturbed(images: Tensor, perturbed: Tensor, delta: float) -> None:
    """Refuse moved images (N, M, C, H, W) and a step that do not fit, in one sentence."""
    if not delta > 0:
        raise ConfigError(f"delta is {delta}: it must be above 0.")
    fits = perturbed.ndim == images.ndim + 1 and (len(perturbed), *perturbed.shape[2:]) == tuple(images.shape)
    if not fits or perturbed.shape[1] < 1:
        wanted = f"(N, M, *{tuple(images.shape[1:])}) with N = {len(images)} and M of at least 1"
        raise DataError(f"perturbed must have shape {wanted}, not {tuple(perturbed.shape)}.")


def check_points(images: Tensor, labels: Any, loss: Loss | None = None) -> Tensor:
    """Labels or targets, any array-like, as a tensor; images and labels that do not fit each other are refused.

    Raises:
        DataError: in one sentence.
    """
    if not isinstance(images, Tensor):
        raise DataError(f"Images must be a tensor, not a {type(images).__name__}.")
    labels = foreign.tensor(labels, "Labels" if loss is None else "Targets")
    if not images.is_floating_point():
        raise DataError(f"Images must be floating point, not {images.dtype}: divide by 255 first.")
    if loss is not None:
        if labels.ndim == 0 or len(labels) != len(images):
            raise DataError(f"Targets must be {len(images)}, one per image, not of shape {tuple(labels.shape)}.")
        return labels
    if labels.ndim != 1 or len(labels) != len(images) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise DataError(
            f"Labels must be {len(images)} integers, one per image, not {labels.dtype} of shape {tuple(labels.shape)}: for "
            "targets that are no classes give a loss=, from outputs and targets to one number per sample."
        )
    if len(labels) and int(labels.min()) < 0:
        raise DataError("Labels must not be negative.")
    return labels
