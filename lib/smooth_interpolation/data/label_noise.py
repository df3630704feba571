"""Corrupted labels: symmetric noise over all classes, asymmetric noise within a few."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import ConfigError


def symmetric_noise(labels: Any, fraction: float, n_classes: int, seed: int) -> tuple[Any, Any]:
    """Move exactly `round(fraction * N)` labels, each to a uniformly random other class (Section 4).

    Args:
        labels: N integers in [0, n_classes), a tensor or anything NumPy reads.
        fraction: share of labels to corrupt, in [0, 1].
        n_classes: number of classes, at least 2.
        seed: of the choice of labels and of their new classes.

    Returns:
        (noisy labels (N,), mask of the corrupted ones (N,)), tensors for a tensor, arrays otherwise.

    Raises:
        ConfigError: for a fraction or labels outside their range.

    Example:
        >>> noisy, corrupted = symmetric_noise([0, 1, 2, 3, 4] * 20, fraction=0.2, n_classes=5, seed=0)
        >>> int(corrupted.sum()), int((noisy != [0, 1, 2, 3, 4] * 20).sum())
        (20, 20)
    """
    values = _checked(labels, fraction, n_classes)
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(values))[: round(fraction * len(values))]
    return _like(labels, *_moved(values, chosen, n_classes, generator))


def asymmetric_noise(
    labels: Any, n_corrupted_classes: int, within_class_fraction: float, n_classes: int, seed: int
) -> tuple[Any, Any, Any]:
    """Corrupt `round(within_class_fraction * count)` labels of each of a few randomly chosen classes (Section 4.5).

    Each goes to a uniformly random other class; labels of all other classes stay.

    Returns:
        (noisy labels (N,), mask of the corrupted ones (N,), the corrupted classes, sorted).

    Raises:
        ConfigError: for counts, fractions or labels outside their range.

    Example:
        >>> noisy, corrupted, classes = asymmetric_noise([0, 1, 2, 3, 4] * 20, 2, 0.8, n_classes=5, seed=0)
        >>> len(classes), int(corrupted.sum())  # 80% of 20 labels, in 2 classes
        (2, 32)
    """
    values = _checked(labels, within_class_fraction, n_classes)
    if not 0 <= n_corrupted_classes <= n_classes:
        raise ConfigError(f"n_corrupted_classes is {n_corrupted_classes}: it must lie between 0 and {n_classes}.")
    generator = np.random.default_rng(seed)
    classes = np.sort(generator.permutation(n_classes)[:n_corrupted_classes])
    chosen = []
    for label in classes:
        members = generator.permutation(np.flatnonzero(values == label))
        chosen.append(members[: round(within_class_fraction * len(members))])
    indices = np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)
    return _like(labels, *_moved(values, indices, n_classes, generator), classes)


def _moved(
    values: np.ndarray, chosen: np.ndarray, n_classes: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    noisy, mask = values.copy(), np.zeros(len(values), dtype=bool)
    # A shift by 1..n_classes-1 reaches each other class with the same probability, and never the class itself.
    noisy[chosen] = (noisy[chosen] + generator.integers(1, n_classes, size=len(chosen))) % n_classes
    mask[chosen] = True
    return noisy, mask


def _checked(labels: Any, fraction: float, n_classes: int) -> np.ndarray:
    values = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise ConfigError(f"Labels must be a row of integers, not {values.dtype} of shape {values.shape}.")
    if n_classes < 2:
        raise ConfigError(f"n_classes is {n_classes}: label noise needs at least 2 classes.")
    if not 0 <= fraction <= 1:
        raise ConfigError(f"The fraction of corrupted labels is {fraction}: it must lie between 0 and 1.")
    if len(values) and not (values.min() >= 0 and values.max() < n_classes):
        raise ConfigError(f"Labels run from {values.min()} to {values.max()}: they must lie in 0..{n_classes - 1}.")
    return values.astype(np.int64)


def _like(labels: Any, *arrays: np.ndarray) -> tuple[Any, ...]:
    if isinstance(labels, torch.Tensor):
        return tuple(torch.from_numpy(array).to(labels.device) for array in arrays)
    return arrays
