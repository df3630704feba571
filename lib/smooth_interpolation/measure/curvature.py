"""Curvature of the loss in the input by exact second derivatives, beyond the finite differences of Equation 5.

The Hessian H of a point's loss has as many rows and columns as the input has coordinates and is never formed. Its product
with a direction v is the derivative of the gradient along v, computed exactly by differentiating the backward pass once
more in forward mode:  H v = d/dt J(x + t v) at t = 0.

A network of ReLUs is linear between its kinks: there H holds the curvature of the loss in the logits alone, and what the
gradient does *at* a kink, which a finite difference across it sees, is not part of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import ConfigError, DataError
from . import foreign, sharpness
from .losses import Loss, losses_of

MIN_SAMPLES = 2  # of which a spread can be taken


class HessianNorm(NamedTuple):
    """An estimate of ||H||_F for each point, with its standard error."""

    norm: Tensor  # (N,)
    error: Tensor  # (N,)


def hessian_products(
    model: nn.Module,
    images: Tensor,
    directions: Tensor,
    labels: Tensor,
    *,
    loss: Loss | None = None,
) -> Tensor:
    """H(x, y) v for every point and M directions each, by forward over reverse differentiation.

    Args:
        model, images, labels, loss: as `sharpness.loss_gradients`.
        directions: (N, M, C, H, W), in the normalised input's units.

    Returns:
        (N, M, C, H, W).

    Raises:
        DataError, ConfigError: as `sharpness.loss_gradients`, and for directions that do not fit.

    Example:
        The loss -log softmax of a linear network has the Hessian W^T (diag(p) - p p^T) W.

        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4)).double()
        >>> x, v = torch.rand(1, 3, 2, 2).double(), torch.rand(1, 1, 3, 2, 2).double()
        >>> p, W = network(x).softmax(1)[0], network[1].weight
        >>> exact = W.T @ (p.diag() - p.outer(p)) @ W @ v.flatten()
        >>> torch.allclose(hessian_products(network, x, v, torch.tensor([2])).flatten(), exact)
        True
    """
    if directions.ndim != images.ndim + 1 or (len(directions), *directions.shape[2:]) != tuple(images.shape):
        wanted = f"(N, M, *{tuple(images.shape[1:])}) with N = {len(images)}"
        raise DataError(f"directions must have shape {wanted}, not {tuple(directions.shape)}.")
    with foreign.measuring(model, loss):
        found = torch.empty_like(directions)
        for part, x, y in sharpness.chunks(model, images, labels, loss):
            for m in range(directions.shape[1]):
                found[part, m] = _products(model, x, directions[part, m].to(x), y, loss).to(found)
    return found


def exact_tangent_hessian_norm(
    model: nn.Module,
    images: Tensor,
    perturbed: Tensor,
    labels: Tensor,
    delta: float,
    *,
    loss: Loss | None = None,
) -> Tensor:
    """Equation 5's term with exact derivatives in place of differences, in the same units:

        1 / (M^2 delta^2) * sqrt(sum_m ||H(x, y) (delta u_m)||^2),  delta u_m = perturbed_m - x.

    `sharpness.tangent_hessian_norm` tends to it as the perturbed images approach the image and delta shrinks with them.
    Arguments, result (N,) and errors as there.

    Example:
        >>> from smooth_interpolation.measure.sharpness import tangent_hessian_norm
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)).double()
        >>> x, y = torch.rand(2, 3, 2, 2).double(), torch.tensor([2, 0])
        >>> moved = x[:, None] + 1e-4 * torch.randn(2, 3, 3, 2, 2).double()
        >>> exact = exact_tangent_hessian_norm(network, x, moved, y, delta=0.1)
        >>> torch.allclose(exact, tangent_hessian_norm(network, x, moved, y, delta=0.1), rtol=1e-2)
        True
    """
    sharpness.check_perturbed(images, perturbed, delta)
    steps = perturbed - images[:, None].to(perturbed)
    products = hessian_products(model, images, steps, labels, loss=loss)
    squares = products.double().flatten(2).square().sum((1, 2))
    return sharpness.hessian_norm(squares, perturbed.shape[1], delta).to(images)


def hessian_frobenius_norm(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    n_samples: int = 16,
    seed: int = 0,
    loss: Loss | None = None,
) -> HessianNorm:
    """Estimate ||H(x, y)||_F, the term of Equation 4, without forming H (after Hutchinson).

    For v of independent random signs, E ||H v||^2 = trace(H^T H) = ||H||_F^2. The mean of the squares over
    samples is unbiased; its root, which is returned, is biased low by about error^2 / (2 norm).

    Args:
        model, images, labels, loss: as `sharpness.loss_gradients`.
        n_samples: of v, at least 2.
        seed: of the draws; image n's depend on it and on n alone.

    Returns:
        `HessianNorm`: norm and standard error, float64. The error is that of the mean square, s / sqrt(n_samples), over
        2 norm.

    Raises:
        DataError, ConfigError: as `sharpness.loss_gradients`, and for settings that do not fit.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4)).double()
        >>> x, y = torch.rand(1, 3, 2, 2).double(), torch.tensor([2])
        >>> p, W = network(x).softmax(1)[0], network[1].weight
        >>> exact = (W.T @ (p.diag() - p.outer(p)) @ W).norm().item()
        >>> found = hessian_frobenius_norm(network, x, y, n_samples=300)
        >>> abs(found.norm.item() - exact) < 5 * found.error.item()
        True
    """
    if isinstance(n_samples, bool) or not isinstance(n_samples, int) or n_samples < MIN_SAMPLES:
        raise ConfigError(f"n_samples is {n_samples!r}: it must be a whole number of at least {MIN_SAMPLES}.")
    draws = [_generator(seed, n) for n in range(len(images))]
    with foreign.measuring(model, loss):
        squares = torch.zeros(n_samples, len(images), dtype=torch.float64)
        for part, x, y in sharpness.chunks(model, images, labels, loss):
            for s in range(n_samples):
                signs = [torch.randint(0, 2, tuple(x.shape[1:]), generator=draw) for draw in draws[part]]
                v = 2 * torch.stack(signs).to(x) - 1
                squares[s, part] = sharpness.squares_of(_products(model, x, v, y, loss)).cpu()
    norm = squares.mean(0).sqrt()
    error = squares.std(0) / n_samples**0.5 / (2 * norm)
    return HessianNorm(norm, torch.where(norm > 0, error, 0.0))


def difference_errors(
    model: nn.Module,
    images: Tensor,
    perturbed: Tensor,
    labels: Tensor,
    factors: list[float],
    *,
    loss: Loss | None = None,
) -> Tensor:
    """How far finite differences are from exact derivatives, for steps from tiny to large.

    With the step d = perturbed_m - x and a factor t, ||(J(x + t d) - J(x)) / t - H d|| / ||H d||.

    Returns:
        (T, N, M) for T factors, float64; NaN where H d is 0.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)).double()
        >>> x, y = torch.rand(2, 3, 2, 2).double(), torch.tensor([2, 0])
        >>> moved = x[:, None] + 0.1 * torch.randn(2, 3, 3, 2, 2).double()
        >>> large, small = difference_errors(network, x, moved, y, [1.0, 0.001]).flatten(1).median(1).values
        >>> bool(large > 100 * small)
        True
    """
    steps = perturbed - images[:, None].to(perturbed)
    n, m = steps.shape[:2]
    exact = hessian_products(model, images, steps, labels, loss=loss)
    start = sharpness.loss_gradients(model, images, labels, loss=loss)
    found = []
    for t in factors:
        moved = (images[:, None] + t * steps).flatten(0, 1)
        gradients = sharpness.loss_gradients(model, moved, labels.repeat_interleave(m, dim=0), loss=loss)
        slopes = (gradients.unflatten(0, (n, m)) - start[:, None]) / t
        found.append((slopes - exact).double().flatten(2).norm(dim=2) / exact.double().flatten(2).norm(dim=2))
    errors = torch.stack(found)
    return torch.where(torch.isfinite(errors), errors, torch.nan)


def _products(model: nn.Module, images: Tensor, directions: Tensor, labels: Tensor, loss: Loss | None) -> Tensor:
    """H v of one chunk: samples do not mix, so the gradient of the summed loss is every sample's own."""

    images, directions, labels = (foreign.usable(tensor).detach() for tensor in (images, directions, labels))

    def gradients(inputs: Tensor) -> Tensor:
        return torch.func.grad(lambda z: losses_of(foreign.outputs(model, z), labels, loss).sum())(inputs)

    # Only the plain kernel of attention has second derivatives.
    with foreign.in_one_sentence("The network cannot be differentiated twice"), sdpa_kernel(SDPBackend.MATH):
        try:
            products: Tensor = torch.func.jvp(gradients, (images,), (directions,))[1]
        except Exception:  # without a rule in forward mode, such as a caller's autograd.Function: twice in reverse mode
            products = _products_in_reverse(model, images, directions, labels, loss)
    return products.detach()


def _products_in_reverse(
    model: nn.Module, images: Tensor, directions: Tensor, labels: Tensor, loss: Loss | None
) -> Tensor:
    """`_products` as the gradient of J(x) . v."""
    inputs = images.requires_grad_()
    losses = losses_of(foreign.outputs(model, inputs), labels, loss)
    (first,) = torch.autograd.grad(losses.sum(), inputs, create_graph=True)
    if not first.requires_grad:
        raise DataError("The network cannot be differentiated twice: its gradient is without derivative.")
    (second,) = torch.autograd.grad(first, inputs, directions)
    return second


def _generator(*seeds: int) -> torch.Generator:
    # PyTorch's generator looks at 32 bits of its seed.
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
