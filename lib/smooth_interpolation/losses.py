"""The loss whose sharpness is measured: the crossentropy, or any other, sample by sample.

A loss maps the network's outputs (B, ...) and the targets (B, ...) to one number per sample, (B,). It is called with
outputs in float64, and with floating targets in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import DataError

Loss = Callable[[Tensor, Tensor], Tensor]


def losses_of(outputs: Tensor, targets: Tensor, loss: Loss | None = None) -> Tensor:
    """One loss per sample, in float64 where the device has it."""
    # In float32 the softmax of a confident network rounds p_y - 1 to 0: float64 keeps its gradient.
    wide = outputs.double() if outputs.device.type != "mps" else outputs
    if loss is not None:
        losses = loss(wide, targets.to(wide) if targets.is_floating_point() else targets)
        if not isinstance(losses, Tensor) or losses.shape != targets.shape[:1]:
            found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise DataError(
                f"The loss must be one number per sample, shape ({len(targets)},), not {found}: sum over the rest."
            )
        return losses
    if outputs.ndim != 2 or len(outputs) != len(targets):
        raise DataError(f"The network must return logits of shape (N, n_classes), not {tuple(outputs.shape)}.")
    if len(targets) and int(targets.max()) >= outputs.shape[1]:
        raise DataError(
            f"Labels must lie in 0..{outputs.shape[1] - 1}, the network's classes: one is {int(targets.max())}."
        )
    return F.cross_entropy(wide, targets, reduction="none")


def hits(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the largest output is the target's class and 0 elsewhere; NaN where targets are no class labels."""
    classes = outputs.ndim == 2 and outputs.shape[1] > 1
    if classes and targets.ndim == 1 and not targets.is_floating_point():
        return (outputs.argmax(1) == targets).double()
    return torch.full((len(outputs),), float("nan"), dtype=torch.float64, device=outputs.device)


def targets_for(labels: Tensor, device: torch.device | None, loss: Loss | None) -> Tensor:
    """Labels or targets where the network is; only class labels are made int64."""
    return labels.to(device=device, dtype=torch.long) if loss is None else labels.to(device=device)
