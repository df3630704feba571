"""The data of a run: subsets of the images, noisy labels, and the points to measure around."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import Settings
from ..errors import ConfigError, DataError
from . import datasets, inputs, label_noise


@dataclass(frozen=True)
class Prepared:
    """The data of a run: subsets, noisy labels, and the points that are measured."""

    dataset: datasets.Dataset
    train: datasets.Split  # labels as trained on, noisy where noisy
    test: datasets.Split
    corrupted: Tensor  # (N,) mask of the noisy training labels
    corrupted_classes: tuple[int, ...]  # of asymmetric noise
    points: Tensor  # indices into train
    normalize: inputs.Normalization

    @cached_property
    def irreducible_errors(self) -> int:
        """The training errors that remain however wide the network, see `irreducible_errors`."""
        return irreducible_errors(self.train)

    def description(self) -> dict[str, Any]:
        """What a record says of its data."""
        return {
            "name": self.dataset.name,
            "source": self.dataset.source,
            "fingerprint": self.dataset.fingerprint,
            "n_train": len(self.train),
            "n_test": len(self.test),
            "n_corrupted": int(self.corrupted.sum()),
            "irreducible_errors": self.irreducible_errors,
            "corrupted_classes": list(self.corrupted_classes),
            "mean": list(self.normalize.mean),
            "std": list(self.normalize.std),
        }


def prepare(settings: Settings) -> Prepared:
    """Load the images, take the subsets, corrupt the labels, draw the points.

    Everything depends on `data_seed` alone, so all widths and seeds of an experiment share it.

    Raises:
        DataError, ConfigError: before anything is trained.

    Example:
        >>> from smooth_interpolation import config
        >>> data = prepare(config.find("demo", "convnet-noise20"))
        >>> len(data.train), int(data.corrupted.sum()), len(data.points)
        (1000, 200, 100)
    """
    dataset = datasets.load(settings.dataset, settings.n_classes, settings.n_train, settings.n_test, settings.data_seed)
    if len(dataset.classes) != settings.n_classes:
        raise ConfigError(
            f"{dataset.place or settings.dataset} has {len(dataset.classes)} classes, not {settings.n_classes}: set n_classes."
        )
    if tuple(dataset.train.images.shape[1:]) != (3, 32, 32):
        raise DataError(
            f"{dataset.place or settings.dataset}: the networks take 32 x 32 RGB images, not {tuple(dataset.train.images.shape[1:])}."
        )
    train = dataset.train[datasets.balanced_subset(dataset.train.labels, settings.n_train, settings.data_seed)]
    test = dataset.test[datasets.balanced_subset(dataset.test.labels, settings.n_test, settings.data_seed + 1)]
    noisy, corrupted, classes = _corrupt(train.labels, settings)
    points = _draw_points(corrupted, settings)
    own = inputs.Normalization.of(train.images)
    normalize = inputs.Normalization(settings.input_mean or own.mean, settings.input_std or own.std)
    return Prepared(dataset, datasets.Split(train.images, noisy), test, corrupted, classes, points, normalize)


def irreducible_errors(train: datasets.Split) -> int:
    """The least number of errors that any function of the image makes on these images and labels.

    It is the sum over distinct images x of n(x) - max_c n(x, c), where n(x) images are identical to x and n(x, c) of them
    have the label c: whatever is predicted for x, the others are missed. Labels are those trained on, noisy where noisy.

    Example:
        >>> images = torch.zeros(5, 3, 2, 2, dtype=torch.uint8)
        >>> images[4] = 1
        >>> irreducible_errors(datasets.Split(images, torch.tensor([0, 0, 1, 2, 3])))
        2
    """
    labels_of: defaultdict[bytes, Counter[int]] = defaultdict(Counter)
    for image, label in zip(train.images.contiguous().numpy(), train.labels.tolist(), strict=True):
        labels_of[hashlib.sha256(image).digest()][label] += 1
    return sum(counts.total() - max(counts.values()) for counts in labels_of.values())


def _corrupt(labels: Tensor, settings: Settings) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    seed = settings.data_seed
    if settings.noise == "asymmetric":
        noisy, mask, classes = label_noise.asymmetric_noise(
            labels, settings.n_corrupted_classes, settings.noise_fraction, settings.n_classes, seed
        )
        return noisy, mask, tuple(classes.tolist())
    fraction = settings.noise_fraction if settings.noise == "symmetric" else 0.0
    return *label_noise.symmetric_noise(labels, fraction, settings.n_classes, seed), ()


def _draw_points(corrupted: Tensor, settings: Settings) -> Tensor:
    generator = np.random.default_rng([settings.data_seed, 1])
    chosen = []
    for subset, mask, wanted in (
        ("clean", ~corrupted, settings.n_clean_points),
        ("noisy", corrupted, settings.n_noisy_points),
    ):
        members = np.flatnonzero(mask.numpy())
        if wanted > len(members):
            raise ConfigError(
                f"n_{subset}_points is {wanted} and there are {len(members)} {subset} training points: ask for fewer."
            )
        chosen.append(np.sort(generator.permutation(members)[:wanted]))
    return torch.from_numpy(np.concatenate(chosen))
