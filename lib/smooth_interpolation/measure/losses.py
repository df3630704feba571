"""The loss whose sharpness is measured: the crossentropy, or any other, sample by sample.

A loss maps the network's outputs and the targets (B, ...) to one number per sample, (B,). It is called with copies, in
float64 where it takes that, see `foreign.losses`; the outputs may be of any kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import DataError
from . import foreign

Loss = Callable[[Any, Tensor], Tensor]
SOFTPLUS_IS_LINEAR = 40.0  # log(1 + exp(z)) = z in float64 from here on
NEVER = -1e4  # a logarithm of 0, and finite


def losses_of(outputs: Any, targets: Tensor, loss: Loss | None = None) -> Tensor:
    """One loss per sample, in float64 where the device has it."""
    if loss is not None:
        losses = foreign.losses(loss, outputs, targets)
        if not isinstance(losses, Tensor) or losses.shape != targets.shape[:1]:
            found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise DataError(
                f"The loss must be one number per sample, shape ({len(targets)},), not {found}: sum over the rest."
            )
        return losses.double() if losses.device.type != "mps" else losses
    if outputs.ndim != 2 or len(outputs) != len(targets):
        raise DataError(f"The network must return logits of shape (N, n_classes), not {tuple(outputs.shape)}.")
    if len(targets) and int(targets.max()) >= outputs.shape[1]:
        raise DataError(
            f"Labels must lie in 0..{outputs.shape[1] - 1}, the network's classes: one is {int(targets.max())}."
        )
    return crossentropy(outputs.double() if outputs.device.type != "mps" else outputs, targets)


def crossentropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y of p = softmax(logits), per sample, as log(1 + sum_{j != y} exp(f_j - f_y)).

    So written, the loss of a confident network and its gradient p - y keep their relative accuracy: 1 - p_y is never
    taken, which rounds to 0 in float64 once the logits are 37 apart.

    Args:
        logits: (N, n_classes).
        labels: (N,) int64.

    Example:
        >>> logits = torch.tensor([[0.0, 60.0]], dtype=torch.float64)
        >>> f"{crossentropy(logits, torch.tensor([1])).item():.4g}, {F.cross_entropy(logits, torch.tensor([1])).item():.4g}"
        '8.757e-27, 0'
    """
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return F.softplus(others - own, threshold=SOFTPLUS_IS_LINEAR)


@torch.no_grad()
def residual_norms(logits: Tensor, labels: Tensor) -> Tensor:
    """||softmax(f) - onehot(y)||_2 per sample, (N,), in float64 where the device has it.

    With p_j of the other classes alone, since 1 - p_y = sum_{j != y} p_j: it keeps its relative accuracy down to the
    smallest number there is, 2e-308, and is 0 below.

    Args:
        logits: (N, n_classes).
        labels: (N,) int64.

    Example:
        >>> residual_norms(torch.zeros(1, 2), torch.tensor([0]))  # sqrt(1/4 + 1/4)
        tensor([0.7071], dtype=torch.float64)
    """
    wide = logits.double() if logits.device.type != "mps" else logits
    others = wide.log_softmax(1).scatter(1, labels[:, None], -torch.inf)
    largest = others.amax(1, keepdim=True).clamp_min(NEVER)
    shares = (others - largest).exp()  # squares of probabilities themselves would underflow
    norms = largest.squeeze(1).exp() * (shares.sum(1).square() + shares.square().sum(1)).sqrt()
    return torch.where(norms < torch.finfo(norms.dtype).tiny, 0.0, norms)


def hits(outputs: Any, targets: Tensor) -> Tensor:
    """1 where the largest output is the target's class and 0 elsewhere; NaN where targets are no class labels."""
    logits = isinstance(outputs, Tensor) and outputs.ndim == 2 and len(outputs) == len(targets) and outputs.shape[1] > 1
    if logits and targets.ndim == 1 and not targets.is_floating_point():
        return (outputs.argmax(1) == targets).double()
    return torch.full((len(targets),), float("nan"), dtype=torch.float64, device=targets.device)


def targets_for(labels: Tensor, device: torch.device | None, loss: Loss | None) -> Tensor:
    """Labels or targets where the network is; only class labels are made int64."""
    return labels.to(device=device, dtype=torch.long) if loss is None else labels.to(device=device)
