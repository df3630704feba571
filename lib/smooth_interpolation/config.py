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
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from . import locations
from .errors import ConfigError

SCALES = ("demo", "laptop", "gpu", "paper")
NO_PARAMS = (
    "params/ comes with the project's repository, not with the installed package: go there, or name a file of your own"
)
SCHEMA = 2  # of records; raise it whenever the numerics of training or measuring change


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-3, without a point, as text.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _listed(value: Any) -> Any:
    if isinstance(value, str):  # papermill's -p passes [1, 2] as text
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            return value
    return tuple(value) if isinstance(value, list) else value


def _increasing(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(b <= a for a, b in zip(values, values[1:], strict=False)):
        raise ValueError("must increase strictly")
    return values


Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, allow_inf_nan=False)]
Increasing = Annotated[tuple[Count, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_increasing)]
Seeds = Annotated[tuple[Natural, ...], BeforeValidator(_listed), Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class Measurement(BaseModel):
    """How a network is measured (Sections 3.2-3.4)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path_kind: Literal["svd", "shift"] = "svd"
    strengths: Increasing = (5, 10, 15, 20, 22, 25)  # singular values erased, or pixels shifted, per anchor
    n_paths: Count = 4
    n_tangents: Count = 4
    delta: Positive = 0.1
    n_clean_points: Natural = 250
    n_noisy_points: Natural = 250

    @model_validator(mode="after")
    def _some_points(self) -> Measurement:
        if self.n_clean_points + self.n_noisy_points == 0:
            raise ValueError("n_clean_points and n_noisy_points cannot both be 0")
        return self


class Settings(Measurement):
    """Everything that the runs of one experiment share."""

    experiment: Name
    scale: Literal["demo", "laptop", "gpu", "paper"]
    overrides: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()  # fields set apart from the params file

    dataset: Annotated[str, Field(min_length=1)]  # cifar10, cifar100, dead_leaves, or the name of an image folder
    n_classes: Annotated[int, Field(ge=2)] = 10
    n_train: Count | None = None  # balanced over classes; None: all
    n_test: Count | None = None
    data_seed: Natural = 0  # of the subsets, the label noise, the measured points and the tangent directions
    noise: Literal["none", "symmetric", "asymmetric"] = "symmetric"
    noise_fraction: Share = 0.2  # of all labels; asymmetric: of the labels within each corrupted class
    n_corrupted_classes: Natural = 0  # asymmetric noise only

    model: Literal["convnet", "resnet18"]
    optimizer: Literal["sgd", "adam"]
    learning_rate: Positive
    momentum: Share = 0.9  # SGD only
    warmup_epochs: Natural = 5
    warmup_learning_rate: Positive = 0.001  # where the linear warm-up starts
    batch_size: Count = 128
    epochs: Count
    augment: bool = False  # pad-4 random crop and horizontal flip
    precision: Literal["bf16", "fp32"] = "fp32"  # of training; measurements are float32 or wider
    n_evaluations: Count = 20  # at most so many, log-spaced over the epochs, the last one included

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.noise == "none" and (self.noise_fraction or self.n_noisy_points):
            raise ValueError("noise 'none' needs noise_fraction 0 and n_noisy_points 0")
        if (self.noise == "asymmetric") != (self.n_corrupted_classes > 0):
            raise ValueError("n_corrupted_classes is above 0 for noise 'asymmetric' and 0 for any other")
        if self.n_corrupted_classes > self.n_classes:
            raise ValueError("n_corrupted_classes cannot exceed n_classes")
        known = {"cifar10": 10, "cifar100": 100}.get(self.dataset, self.n_classes)
        if self.n_classes != known:
            raise ValueError(f"{self.dataset} has {known} classes: set n_classes to {known}")
        if self.dataset == "dead_leaves" and (self.n_train is None or self.n_test is None):
            raise ValueError("dead_leaves needs n_train and n_test")
        return self

    @property
    def name(self) -> str:
        """The experiment's name with its overrides: the directory of its records."""
        suffix = "".join(f"+{re.sub(r'[^A-Za-z0-9._=-]+', '-', text)}" for text in self.overrides)
        if len(suffix) > 80:
            suffix = f"+{hashlib.sha256(suffix.encode()).hexdigest()[:12]}"
        return self.experiment + suffix


class Run(Settings):
    """One network: what is trained, and how it is measured."""

    width: Count
    seed: Natural = 0  # of the initialisation, the order of the batches and the augmentation

    @property
    def digest(self) -> str:
        """SHA-256 of the whole configuration, as canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Place of the record below `results/`."""
        return Path(self.scale, self.name, f"w{self.width:03d}-s{self.seed}.json")

    def __str__(self) -> str:
        return f"{self.scale}/{self.name} w = {self.width}, seed {self.seed}"


class Experiment(Settings):
    """A family of networks: every width with every seed."""

    widths: Increasing
    seeds: Seeds = (0,)

    def run(self, width: int, seed: int) -> Run:
        shared = self.model_dump(exclude={"widths", "seeds"})
        return build(Run, {**shared, "width": width, "seed": seed}, where=self.name)

    def runs(self) -> list[Run]:
        """All runs, narrow networks (the cheap ones) first."""
        return [self.run(width, seed) for width in self.widths for seed in self.seeds]


FIELDS = tuple(name for name in Experiment.model_fields if name != "overrides")  # of a params file
Model = TypeVar("Model", bound=BaseModel)


def build(kind: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """`kind(**values)`, with what is wrong said in one sentence.

    Raises:
        ConfigError: naming the place, the field, the value and what is allowed.
    """
    unknown = [key for key in values if key not in kind.model_fields]
    if unknown:
        raise ConfigError(f"{where}: {unknown_name(unknown[0], kind.model_fields)}")
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise ConfigError(f"{where}: {message}.") from None
        field = first["loc"][0]
        if first["type"] == "missing":
            raise ConfigError(f"{where}: the field '{field}' is missing.") from None
        message = message[0].lower() + message[1:]
        raise ConfigError(f"{where}: {field} = {values.get(str(field))!r}: {message}.") from None


def unknown_name(name: str, allowed: Any) -> str:
    """One sentence on a name that is not in `allowed`, with the nearest one that is."""
    near = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it can be one of {', '.join(sorted(map(str, allowed)))}."
    return f"'{name}' is not known; {hint}"


def read(path: Path | str) -> dict[str, Any]:
    """The fields of a params file.

    Raises:
        ConfigError: if the file is missing or is not flat YAML.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        known = (locations.repository() / "params").is_dir()
        where = "params files are named params/<scale>/<experiment>.yaml" if known else NO_PARAMS
        raise ConfigError(f"Cannot read {path}: {reason}; {where}.") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML; write one 'field: value' a line.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: write one 'field: value' a line.")
    return values


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment in a params file, with some fields set apart from it.

    Fields that differ from the file name their records' directory, so that they never mix with the file's own.
    A value of None, and a value equal to the file's, is no override.
    """
    where = str(path)
    values = read(path)
    for name in (*values, *(overrides or {})):
        if name not in FIELDS:
            raise ConfigError(f"{where if name in values else 'Parameters'}: {unknown_name(name, FIELDS)}")
    filed = build(Experiment, values, where)
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
    """`load` of `params/<scale>/<experiment>.yaml` in this repository."""
    if scale not in SCALES:
        raise ConfigError(f"scale: {unknown_name(scale, SCALES)}")
    path = locations.params_file(scale, experiment)
    if not path.parent.parent.is_dir():
        raise ConfigError(f"No experiments here: {NO_PARAMS}.")
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigError(f"No experiment of this name at scale '{scale}': {unknown_name(experiment, known)}")
    return load(path, overrides)
