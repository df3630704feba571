"""The data of a run: subsets of the images, noisy labels, the points to measure around, and what networks take of them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..config import Settings
from ..config.fields import FAMILIES
from ..errors import ConfigError, DataError
from ..measure.paths import scaled_strengths
from . import datasets, label_noise

PAD = 4  # pixels of the random crop
SMALLEST = 8  # pixels of a side, which the ConvNet's pooling leaves one of


@dataclass(frozen=True)
class Normalization:
    """Per-channel (x - mean) / std of images (..., C, H, W) in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> Normalization:
        """From the statistics of uint8 images (N, C, H, W)."""
        values = images.double() / 255
        mean = values.mean(dim=(0, 2, 3))
        std = values.var(dim=(0, 2, 3), correction=0).sqrt().clamp_min(1e-6)  # a constant channel stays finite
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = (images.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return (images - mean) / std


@dataclass(frozen=True)
class TrainingData:
    """Normalised images (N, H, W, C) in the type trained in, labels, and the colour of padding."""

    images: Tensor
    labels: Tensor
    black: Tensor

    @classmethod
    def of(
        cls, images: Tensor, labels: Tensor, normalize: Normalization, precision: str, device: torch.device
    ) -> TrainingData:
        """From uint8 images (N, C, H, W) and labels (N,)."""
        x = normalize(images.to(device).float() / 255).permute(0, 2, 3, 1)
        x = x.to(torch.bfloat16 if precision == "bf16" else torch.float32).contiguous()
        black = normalize(torch.zeros(images.shape[1], 1, 1)).flatten().to(x)
        return cls(x, labels.to(device), black)

    def __len__(self) -> int:
        return len(self.labels)


def crop_and_flip(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Every image (N, H, W, C) padded by 4 black pixels, cropped at random to its size, and mirrored half the time."""
    n, height, width, _ = images.shape
    draws = torch.randint(0, 2 * PAD + 1, (2, n), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    # The same numbers for every device; what is made of them is n times as long, and made there.
    draws, mirrored = draws.to(images.device)[:, :, None], mirrored.to(images.device)[:, None]
    padded = black.expand(n, height + 2 * PAD, width + 2 * PAD, -1).clone()
    padded[:, PAD:-PAD, PAD:-PAD] = images
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    columns = torch.where(mirrored, width - 1 - columns, columns) + draws[1]
    image = torch.arange(n, device=images.device)[:, None, None]
    return padded[image, (rows + draws[0])[:, :, None], columns[:, None]]


def network_inputs(images: Tensor, normalize: Normalization, device: torch.device | None = None) -> Tensor:
    """uint8 images as networks take them: normalised float32 on the device, channels last."""
    return normalize(images.to(device).float() / 255).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Prepared:
    """The data of a run: subsets, noisy labels, and the points that are measured."""

    dataset: datasets.Dataset
    train: datasets.Split  # labels as trained on, noisy where noisy
    test: datasets.Split
    corrupted: Tensor  # (N,) mask of the noisy training labels
    corrupted_classes: tuple[int, ...]  # of asymmetric noise
    points: Tensor  # indices into train, or into test where test points are measured
    normalize: Normalization
    true_labels: Tensor  # (N,) of the training images
    ids: tuple[Tensor, Tensor]  # where the training and the test images are in the dataset's splits
    points_from: str = "train"  # or "restored": with their true labels; or "test"

    @property
    def measured(self) -> tuple[datasets.Split, Tensor, float]:
        """The measured points with the labels that they are measured with, which are noisy, and the share of these in all."""
        if self.points_from == "test":
            return self.test[self.points], torch.zeros(len(self.points), dtype=torch.bool), 0.0
        labels = self.true_labels if self.points_from == "restored" else self.train.labels
        chosen = datasets.Split(self.train.images, labels)[self.points]
        return chosen, self.corrupted[self.points], self.corrupted.double().mean().item()

    def points_table(self) -> pd.DataFrame:
        """A row per measured point: id, its place in the dataset's split; label, trained on; true_label; noisy."""
        split = int(self.points_from == "test")
        labels = (self.train.labels, self.test.labels)[split], (self.true_labels, self.test.labels)[split]
        noisy = torch.zeros_like(self.points, dtype=torch.bool) if split else self.corrupted[self.points]
        columns = self.ids[split][self.points], *(kind[self.points] for kind in labels), noisy
        return pd.DataFrame(dict(zip(("id", "label", "true_label", "noisy"), map(Tensor.numpy, columns), strict=True)))

    @cached_property
    def irreducible_errors(self) -> int:
        """The training errors that remain however wide the network, see `irreducible_errors`."""
        return irreducible_errors(self.train)

    def description(self) -> dict[str, Any]:
        """What a record says of its data."""
        found = {name: getattr(self.dataset, name) for name in ("name", "source", "fingerprint")}
        found |= {"n_train": len(self.train), "n_test": len(self.test), "n_corrupted": int(self.corrupted.sum())}
        found |= {"irreducible_errors": self.irreducible_errors, "corrupted_classes": list(self.corrupted_classes)}
        return found | {"mean": list(self.normalize.mean), "std": list(self.normalize.std)}


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
        there = f"{dataset.place or settings.dataset} has {len(dataset.classes)} classes"
        raise ConfigError(f"{there}, not {settings.n_classes}: set n_classes.")
    _check_shape(dataset, settings)
    seed = settings.data_seed
    of_train = datasets.balanced_subset(dataset.train.labels, settings.n_train, seed)
    of_test = datasets.balanced_subset(dataset.test.labels, settings.n_test, seed + 1)
    ids = of_train, of_test
    train, test = dataset.train[ids[0]], dataset.test[ids[1]]
    noisy, corrupted, classes = _corrupt(train.labels, settings)
    points = _draw_points(corrupted, settings, len(test))
    own = Normalization.of(train.images)
    normalize = Normalization(settings.input_mean or own.mean, settings.input_std or own.std)
    measured = points, normalize, train.labels, ids, settings.points_from
    return Prepared(dataset, datasets.Split(train.images, noisy), test, corrupted, classes, *measured)


def _check_shape(dataset: datasets.Dataset, settings: Settings) -> None:
    channels, height, width = dataset.train.images.shape[1:]
    what = f"{dataset.place or settings.dataset}: its images are {width} x {height} pixels of {channels} channels"
    for name in ("input_mean", "input_std"):
        if (given := getattr(settings, name)) is not None and len(given) != channels:
            raise ConfigError(f"{what} and {name} has {len(given)} values: give one for each, or null for their own.")
    if settings.path_kind == "svd" and settings.strengths[-1] > min(height, width):
        fitting = list(scaled_strengths(min(height, width)))
        raise ConfigError(f"{what}, fewer than strength {settings.strengths[-1]} erases: set strengths: {fitting}.")
    if settings.model in FAMILIES and min(height, width) < SMALLEST:
        raise DataError(f"{what}: the network {settings.model} takes {SMALLEST} x {SMALLEST} or more.")


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
        how = settings.n_corrupted_classes, settings.noise_fraction, settings.n_classes, seed
        noisy, mask, classes = label_noise.asymmetric_noise(labels, *how)
        return noisy, mask, tuple(classes.tolist())
    fraction = settings.noise_fraction if settings.noise == "symmetric" else 0.0
    return *label_noise.symmetric_noise(labels, fraction, settings.n_classes, seed), ()


def _draw_points(corrupted: Tensor, settings: Settings, n_test: int) -> Tensor:
    generator = np.random.default_rng([settings.data_seed, 1])
    chosen = []
    if settings.points_from == "test":
        if (wanted := settings.n_clean_points + settings.n_noisy_points) > n_test:
            raise ConfigError(f"{wanted} points are to be measured and there are {n_test} test images: ask for fewer.")
        return torch.from_numpy(np.sort(generator.permutation(n_test)[:wanted]))
    wanted_of = ("clean", ~corrupted, settings.n_clean_points), ("noisy", corrupted, settings.n_noisy_points)
    for subset, mask, wanted in wanted_of:
        members = np.flatnonzero(mask.numpy())
        if wanted > len(members):
            there = f"there are {len(members)} {subset} training points"
            raise ConfigError(f"n_{subset}_points is {wanted} and {there}: ask for fewer.")
        chosen.append(np.sort(generator.permutation(members)[:wanted]))
    return torch.from_numpy(np.concatenate(chosen))
