"""What to run: frozen, validated settings, read from flat YAML files.

`Settings` holds what the runs of an experiment share, `Experiment` adds the widths and seeds to cover, `Run` is one
point of it. The digest and the place of a record are pure functions of its `Run`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from .. import files, locations
from ..errors import ConfigError
from . import counts, fields, params_file, validation
from .fields import (
    MAX_ANCHORS,
    MAX_DRAWN,
    MAX_RUNS,
    Classes,
    Delta,
    Deviations,
    Directions,
    Epochs,
    Images,
    Means,
    Name,
    Points,
    Positive,
    Seed,
    Seeds,
    Share,
    Source,
    Strengths,
    Texts,
    Width,
    Widths,
)
from .validation import unknown_name

SCALES = ("demo", "laptop", "gpu", "paper")
NO_PARAMS = (
    "params/ comes with the project's repository, not with the installed package: go there, or name a file of your own"
)
SCHEMA = 3  # of records; raise it whenever the numerics of training or measuring change; new fields: `fields.added`


class Measurement(BaseModel):
    """How a network is measured (Sections 3.2-3.4)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path_kind: Literal["svd", "shift"] = "svd"
    strengths: Strengths = (5, 10, 15, 20, 22, 25)  # singular values erased, or pixels shifted, per anchor
    n_paths: Directions = 4
    n_tangents: Directions = 4
    delta: Delta = 0.1
    n_clean_points: Points = 250
    n_noisy_points: Points = 250

    @model_validator(mode="after")
    def _measurable(self) -> Measurement:
        if self.n_clean_points + self.n_noisy_points == 0:
            raise ValueError("n_clean_points and n_noisy_points cannot both be 0")
        if (anchors := self.n_paths * len(self.strengths)) > MAX_ANCHORS:
            raise ValueError(f"n_paths x strengths gives {anchors} anchors a point: at most {MAX_ANCHORS} are allowed")
        return self


class Settings(Measurement):
    """Everything that the runs of one experiment share."""

    experiment: Name
    scale: Literal["demo", "laptop", "gpu", "paper"]
    overrides: Texts = ()  # fields set apart from the params file

    dataset: Source  # cifar10, cifar100, dead_leaves, or the name of an image folder
    n_classes: Classes = 10
    n_train: Images | None = None  # balanced over classes; None: all
    n_test: Images | None = None
    data_seed: Seed = 0  # of the subsets, the label noise, the measured points and the tangent directions
    noise: Literal["none", "symmetric", "asymmetric"] = "symmetric"
    noise_fraction: Share = 0.2  # of all labels; asymmetric: of the labels within each corrupted class
    n_corrupted_classes: Annotated[int, Field(ge=0, le=10_000)] = 0  # asymmetric noise only
    # Inputs are (image - mean) / std per channel, of images in [0, 1]; None: the training images' own.
    input_mean: Means | None = None
    input_std: Deviations | None = None

    model: Literal["convnet", "resnet18"]
    optimizer: Literal["sgd", "adam"]
    learning_rate: Positive
    momentum: Share = 0.9  # SGD only
    warmup_epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 5
    warmup_learning_rate: Positive = 0.001  # where the linear warm-up starts
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 128
    epochs: Epochs
    augment: bool = False  # pad-4 random crop and horizontal flip
    # bfloat16, TensorFloat-32 or float32, of training; measurements are float32 or wider.
    precision: Literal["bf16", "tf32", "fp32"] = "fp32"
    n_evaluations: Annotated[int, Field(ge=1, le=1000)] = 20  # at most so many log-spaced epochs, the last included
    n_last_evaluations: Annotated[int, Field(ge=0, le=100)] = 10  # so many more in the last tenth of the epochs

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.noise == "none" and (self.noise_fraction or self.n_noisy_points):
            raise ValueError(
                f"noise_fraction {self.noise_fraction} and n_noisy_points {self.n_noisy_points} must both be 0 "
                "with noise 'none'"
            )
        if (self.noise == "asymmetric") != (self.n_corrupted_classes > 0):
            raise ValueError(
                f"n_corrupted_classes {self.n_corrupted_classes} with noise '{self.noise}': it must be above 0 for "
                "noise 'asymmetric' and 0 for any other"
            )
        if self.n_corrupted_classes > self.n_classes:
            raise ValueError(
                f"n_corrupted_classes {self.n_corrupted_classes} cannot exceed n_classes, {self.n_classes}"
            )
        known = {"cifar10": 10, "cifar100": 100}.get(self.dataset, self.n_classes)
        if self.n_classes != known:
            raise ValueError(f"n_classes {self.n_classes}: {self.dataset} has {known} classes, set it to {known}")
        if self.dataset == "dead_leaves":
            self._check_drawn()
        counts.check(self)
        return self

    def _check_drawn(self) -> None:
        if self.n_train is None or self.n_test is None:
            raise ValueError("dead_leaves needs n_train and n_test")
        if max(self.n_train, self.n_test) > MAX_DRAWN:
            raise ValueError(f"n_train and n_test can be at most {MAX_DRAWN:,} for dead_leaves")
        if not 10 <= self.n_classes <= 100:
            raise ValueError(f"n_classes {self.n_classes}: dead_leaves has 10 to 100 classes")

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


class Run(Settings):
    """One network: what is trained, and how it is measured."""

    width: Width
    seed: Seed = 0  # of the initialisation, the order of the batches and the augmentation

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

    widths: Widths
    seeds: Seeds = (0,)

    @model_validator(mode="after")
    def _not_too_many(self) -> Experiment:
        if (n := len(self.widths) * len(self.seeds)) > MAX_RUNS:
            raise ValueError(f"widths x seeds gives {n:,} runs: at most {MAX_RUNS:,} are allowed")
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
Model = TypeVar("Model", bound=BaseModel)


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that was written down, with the fields that were added since."""
    return {**ADDED_DEFAULTS, **values}


def build(
    kind: type[Model], values: Mapping[str, Any], where: str, lines: Mapping[str, int] = MappingProxyType({})
) -> Model:
    """`kind(**values)`, with what is wrong said in one sentence.

    Raises:
        ConfigError: naming the place, the line where `lines` has it, the field, the value and what is allowed.
    """
    unknown = [key for key in values if key not in kind.model_fields]
    if unknown:
        raise ConfigError(f"{_at(where, lines, unknown[0])}: {unknown_name(unknown[0], kind.model_fields)}")
    try:
        return kind(**values)
    except ValidationError as error:
        field, problem = validation.first_problem(error, kind, values)
        raise ConfigError(validation.sentence(f"{_at(where, lines, field)}: {problem}")) from None


def _at(where: str, lines: Mapping[str, int], field: str | None) -> str:
    return f"{where}, line {lines[field]}" if field is not None and field in lines else where


def read(path: Path | str) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of a params file, and the lines they are on.

    Raises:
        ConfigError: if the file is missing or is not flat YAML.
    """
    path = locations.given(path)
    try:
        text = files.read_bytes(path, params_file.MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        known = (locations.repository() / "params").is_dir()
        advice = "params files are named params/<scale>/<experiment>.yaml" if known else NO_PARAMS
        raise ConfigError(
            validation.sentence(f"Cannot read {path}: {reason}{_similar(path) or f'; {advice}'}")
        ) from None
    try:
        return params_file.read(text)
    except params_file.FlatYamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise ConfigError(f"{path}{line}: {error.problem}.") from None


def _similar(path: Path) -> str:
    """'; did you mean ...?' with a file that there is, for a path to none: as it is called from here."""
    root = locations.repository()
    known = [file.relative_to(root).as_posix() for file in (root / "params").glob("*/*.yaml")]
    if path.exists() or not (near := difflib.get_close_matches(path.as_posix()[-100:], known, n=1)):
        return ""
    return f"; did you mean '{near[0] if root == Path.cwd() else root / near[0]}'?"


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment in a params file, with some fields set apart from it.

    Fields that differ from the file name their records' directory, so that they never mix with the file's own.
    A value of None, and a value equal to the file's, is no override.

    Example:
        >>> experiment = load(locations.params_file("demo", "convnet-noise20"), {"epochs": 20})
        >>> len(experiment.runs()), experiment.run(width=8, seed=0).path.name
        (5, 'w008-s0.json')
    """
    where = str(path)
    values, lines = read(path)
    for name in (*values, *(overrides or {})):
        if name not in FIELDS:
            place = _at(where, lines, name) if name in values else "Parameters"
            raise ConfigError(f"{place}: {unknown_name(name, FIELDS)}")
    filed = build(Experiment, values, where, lines)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    changed = build(Experiment, {**filed.model_dump(), **given}, "the given parameters" if given else where)
    apart = [
        f"{key}={_plain(value)}"
        for key, value in changed.model_dump(mode="json").items()
        if key not in ("widths", "seeds", "overrides") and value != filed.model_dump(mode="json")[key]
    ]
    return changed.model_copy(update={"overrides": tuple(apart)})


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def find(scale: str, experiment: str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """`load` of `params/<scale>/<experiment>.yaml` in this repository.

    Example:
        >>> find("demo", "convnet-noise20", {"epochs": 20}).name
        'convnet-noise20+epochs=20'
    """
    if scale not in SCALES:
        raise ConfigError(f"scale: {unknown_name(scale, SCALES)}")
    directory = locations.params_file(scale, "any").parent
    if not directory.parent.is_dir():
        raise ConfigError(f"No experiments here: {NO_PARAMS}.")
    known = {path.stem: path for path in directory.glob("*.yaml")}
    if not isinstance(experiment, str) or experiment not in known:
        raise ConfigError(f"No experiment of this name at scale '{scale}': {unknown_name(experiment, known)}")
    return load(known[experiment], overrides)
