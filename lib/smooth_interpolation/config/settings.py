"""What to run: frozen, validated settings.

`Settings` holds what the runs of an experiment share, `Experiment` adds the widths and seeds to cover, `Run` is one
point of it. The digest and the place of a record are pure functions of its `Run`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python

from . import fields
from .fields import build

SCALES = ("demo", "laptop", "gpu", "paper")  # of the book; one of your own may be any other word
SCHEMA = 3  # of records; raise it whenever the numerics of training or measuring change; new fields: `fields.added`


CIFAR = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}  # training and test images, as many of each class


class Measurement(BaseModel):
    """How a network is measured (Sections 3.2-3.4)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path_kind: Literal["svd", "shift"] = "svd"
    strengths: fields.Strengths = (5, 10, 15, 20, 22, 25)  # singular values erased, or pixels shifted, per anchor
    n_paths: fields.Directions = 4
    n_tangents: fields.Directions = 4
    delta: fields.Delta = 0.1
    n_clean_points: fields.Points = 250
    n_noisy_points: fields.Points = 250
    # Training points with the labels trained on, the same with their true labels, or as many test points.
    points_from: Literal["train", "restored", "test"] = fields.added("train")

    @model_validator(mode="after")
    def _measurable(self) -> Measurement:
        if self.n_clean_points + self.n_noisy_points == 0:
            raise ValueError("n_clean_points and n_noisy_points cannot both be 0")
        if (anchors := self.n_paths * len(self.strengths)) > fields.MAX_ANCHORS:
            raise ValueError(f"n_paths x strengths gives {anchors} anchors a point: at most {fields.MAX_ANCHORS}")
        return self


class Settings(Measurement):
    """Everything that the runs of one experiment share."""

    experiment: fields.Name
    scale: fields.Name
    overrides: fields.Texts = ()  # fields set apart from the params file

    dataset: fields.Source  # cifar10, cifar100, dead_leaves, or the name of an image folder
    n_classes: fields.Classes = 10
    n_train: fields.Images | None = None  # balanced over classes; None: all
    n_test: fields.Images | None = None
    data_seed: fields.Seed = 0  # of the subsets, the label noise, the measured points and the tangent directions
    noise: Literal["none", "symmetric", "asymmetric"] = "symmetric"
    noise_fraction: fields.Share = 0.2  # of all labels; asymmetric: of the labels within each corrupted class
    n_corrupted_classes: Annotated[int, Field(ge=0, le=10_000)] = 0  # asymmetric noise only
    # Inputs are (image - mean) / std per channel, of images in [0, 1]; None: the training images' own.
    input_mean: fields.Means | None = None
    input_std: fields.Deviations | None = None

    model: fields.Network  # convnet, resnet18, or module:name of a callable of width and n_classes
    optimizer: Literal["sgd", "adam"]
    learning_rate: fields.Positive
    momentum: fields.Share = 0.9  # SGD only
    warmup_epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 5
    warmup_learning_rate: fields.Positive = 0.001  # where the linear warm-up starts
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 128
    epochs: fields.Epochs
    augment: bool = False  # pad-4 random crop and horizontal flip
    # bfloat16, TensorFloat-32 or float32, of training; measurements are float32 or wider.
    precision: Literal["bf16", "tf32", "fp32"] = "fp32"
    n_evaluations: Annotated[int, Field(ge=1, le=1000)] = 20  # at most so many log-spaced epochs, the last included
    n_last_evaluations: Annotated[int, Field(ge=0, le=100)] = 10  # so many more in the last tenth of the epochs

    weight_decay: fields.Share = fields.added(0.0)  # added to the gradient, times the weights
    label_smoothing: fields.Share = fields.added(0.0)  # of the targets trained on, not of those measured with
    dropout: fields.Share = fields.added(0.0)  # ConvNet: of the features before the linear layer
    batch_norm: bool = fields.added(False)  # ConvNet: after each convolution
    # After the warm-up; step: a tenth of the rate from half of the epochs on, a hundredth from three quarters on.
    schedule: Literal["constant", "cosine", "step"] = fields.added("constant")
    keep_epochs: fields.KeptEpochs = fields.added(())  # after which the weights are kept, besides the last

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        n_noisy, n_corrupted = self.n_noisy_points, self.n_corrupted_classes
        if self.noise == "none" and (self.noise_fraction or n_noisy):
            raise ValueError(f"noise_fraction {self.noise_fraction}, n_noisy_points {n_noisy}: 0 with noise 'none'")
        if (self.noise == "asymmetric") != (n_corrupted > 0):
            why = "it must be above 0 for noise 'asymmetric' and 0 for any other"
            raise ValueError(f"n_corrupted_classes {n_corrupted} with noise '{self.noise}': {why}")
        if n_corrupted > self.n_classes:
            raise ValueError(f"n_corrupted_classes {n_corrupted} cannot exceed n_classes, {self.n_classes}")
        known = {"cifar10": 10, "cifar100": 100}.get(self.dataset, self.n_classes)
        if self.n_classes != known:
            raise ValueError(f"n_classes {self.n_classes}: {self.dataset} has {known} classes, set it to {known}")
        if self.dataset == "dead_leaves":
            if self.n_train is None or self.n_test is None:
                raise ValueError("dead_leaves needs n_train and n_test")
            if max(self.n_train, self.n_test) > fields.MAX_DRAWN:
                raise ValueError(f"n_train and n_test can be at most {fields.MAX_DRAWN:,} for dead_leaves")
            if not 10 <= self.n_classes <= 100:
                raise ValueError(f"n_classes {self.n_classes}: dead_leaves has 10 to 100 classes")
        if self.model != "convnet" and (self.dropout or self.batch_norm):
            raise ValueError(f"dropout and batch_norm are of the convnet alone: leave them out with '{self.model}'")
        if self.dropout == 1:
            raise ValueError("dropout 1 leaves nothing to learn from: it must be below 1")
        if self.keep_epochs and self.keep_epochs[-1] > self.epochs:
            raise ValueError(f"keep_epochs {self.keep_epochs[-1]}: there are {self.epochs} epochs, keep earlier ones")
        if self.warmup_epochs >= self.epochs and self.schedule != "constant":
            raise ValueError(f"schedule '{self.schedule}' begins after the warm-up: warmup_epochs must be below epochs")
        self._check_counts()
        return self

    def _check_counts(self) -> None:
        """Refuse to ask for more images or points than there are, where that is known without the images."""
        images = CIFAR.get(self.dataset, (None, None))
        for field, split, there in zip(("n_train", "n_test"), ("training", "test"), images, strict=True):
            if there is not None and (wanted := getattr(self, field) or 0) > there:
                raise ValueError(f"{field} {wanted:,}: {self.dataset} has {there:,} {split} images, ask for fewer")
        if (n_train := self.n_train or images[0]) is None:
            return
        least, most = corrupted_labels(self, n_train)
        for subset, there in (("clean", n_train - least), ("noisy", most)):
            if (wanted := getattr(self, f"n_{subset}_points")) > there:
                why = f"there are {there:,} {subset} training points, ask for fewer"
                raise ValueError(f"n_{subset}_points {wanted:,}: {why}")

    @property
    def measured_otherwise(self) -> bool:
        """Whether it differs from its params file in nothing but how networks are measured."""
        names = {text.partition("=")[0] for text in self.overrides}
        return bool(names) and names <= set(Measurement.model_fields)

    def canonical(self) -> dict[str, Any]:
        """As records hold it and digests see it: JSON values, without added fields at the default they were added with."""
        values = self.model_dump(mode="json")
        return {name: v for name, v in values.items() if name not in ADDED_DEFAULTS or v != ADDED_DEFAULTS[name]}

    @property
    def name(self) -> str:
        """The experiment's name with its overrides: the directory of its records."""
        suffix = "".join(f"+{re.sub(r'[^A-Za-z0-9._=-]+', '-', text)}" for text in self.overrides)
        if len(suffix) > 80:
            suffix = f"+{hashlib.sha256(suffix.encode()).hexdigest()[:12]}"
        return self.experiment + suffix


def corrupted_labels(settings: Settings, n_train: int) -> tuple[int, int]:
    """The least and the most labels that the noise can corrupt; they are equal where every class has as many images.

    Symmetric noise corrupts round(fraction * n_train). Asymmetric noise corrupts round(fraction * n) of each of its classes, where
    n is n_train / n_classes, rounded down for some classes and up for others; of the images of a folder it is unknown.
    """
    if settings.noise != "asymmetric":
        exactly = round(settings.noise_fraction * n_train) if settings.noise == "symmetric" else 0
        return exactly, exactly
    if settings.dataset not in (*CIFAR, "dead_leaves"):
        return 0, n_train
    n, n_larger = divmod(n_train, settings.n_classes)
    chosen = settings.n_corrupted_classes
    small, large = (round(settings.noise_fraction * size) for size in (n, n + 1))
    fewest, most = max(0, chosen - (settings.n_classes - n_larger)), min(chosen, n_larger)  # of the larger classes
    return chosen * small + fewest * (large - small), chosen * small + most * (large - small)


class Run(Settings):
    """One network: what is trained, and how it is measured."""

    width: fields.Width
    seed: fields.Seed = 0  # of the initialisation, the order of the batches and the augmentation

    @property
    def digest(self) -> str:
        """SHA-256 of the `canonical` configuration, as JSON."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Place of the record below `results/`."""
        return Path(self.scale, self.name, f"w{self.width:03d}-s{self.seed}.json")

    def __str__(self) -> str:
        return f"{self.scale}/{self.name} w = {self.width}, seed {self.seed}"


class Experiment(Settings):
    """A family of networks: every width with every seed."""

    widths: fields.Widths
    seeds: fields.Seeds = (0,)

    @model_validator(mode="after")
    def _not_too_many(self) -> Experiment:
        if (n := len(self.widths) * len(self.seeds)) > fields.MAX_RUNS:
            raise ValueError(f"widths x seeds gives {n:,} runs: at most {fields.MAX_RUNS:,} are allowed")
        return self

    def run(self, width: int, seed: int) -> Run:
        shared = self.model_dump(exclude={"widths", "seeds"})
        return build(Run, {**shared, "width": width, "seed": seed}, where=self.name)

    def runs(self) -> list[Run]:
        """All runs, narrow networks (the cheap ones) first."""
        return [self.run(width, seed) for width in self.widths for seed in self.seeds]


FIELDS = tuple(name for name in Experiment.model_fields if name != "overrides")  # of a params file
# Fields that schema 3 did not have, with what they are where a record, a checkpoint or a file does not say, as JSON.
ADDED_DEFAULTS: dict[str, Any] = {
    name: to_jsonable_python(field.default)
    for name, field in {**Experiment.model_fields, **Run.model_fields}.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(fields.ADDED)
}


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that was written down, with the fields that were added since."""
    return {**ADDED_DEFAULTS, **values}
