"""The trial that fixed the settings: `benchmarks/results/trial.json`, a row per trained network, errors in percent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .. import files, locations
from ..errors import RecordError

Percent = Annotated[float, Field(ge=0, le=100)]
MAX_BYTES = 16 << 20


class Range(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: Percent
    min: Percent
    max: Percent


class Row(BaseModel):
    """One network of the trial; the last tenth is that of its epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    scale: str
    dataset: str
    width: int
    noise: Literal["none", "symmetric", "asymmetric"]
    n_train: int
    epochs: int
    precision: Literal["bf16", "tf32", "fp32"]
    input_std: Literal["authors", "own"]
    learning_rate: Annotated[float, Field(gt=0)]
    seed: int
    train_error_by_epoch: Annotated[dict[int, Percent], Field(min_length=1)]
    train_error_last_tenth: Range
    test_error: Percent
    commit: str
    device_name: str


def read(path: Path | None = None) -> list[Row]:
    """The rows of the trial; none if there is no file.

    Raises:
        RecordError: if the file is damaged, saying where.
    """
    path = path or locations.repository() / "benchmarks" / "results" / "trial.json"
    if not path.exists():
        return []
    try:
        return TypeAdapter(list[Row]).validate_json(files.read_bytes(path, MAX_BYTES))
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        raise RecordError(f"{path} is damaged ({place}: {first['msg']}): restore the committed file.") from None
