"""What a record's file holds: reading it whatever it may be, and checking that it is what the tables expect.

Nothing in a file is believed before it is checked: its size, its JSON (which has no NaN), its checksum, its structure.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypedDict

from .. import files
from ..config import SCHEMA, fields
from ..errors import RecordError

Record = dict[str, Any]
Subset = Literal["all", "clean", "noisy"]
SUBSETS = get_args(Subset)
MAX_BYTES = 4 << 20  # a record is tens of KB; one of 1,000 evaluations is below 1 MiB
ADVICE = "remove it and measure the run again"


# What a record is read for is of these types to the letter, and there may be more.


def _zoned(time: str) -> str:
    if datetime.fromisoformat(time).tzinfo is None:
        raise ValueError("a time without its zone")
    return time


Time = Annotated[str, AfterValidator(_zoned)]
Values = dict[str, float] | float  # by subset, or one


class _Settings(TypedDict):
    width: int
    seed: int
    scale: str
    experiment: str
    model: str


class _Data(TypedDict):
    name: str
    source: str
    fingerprint: str
    n_train: int
    n_test: int
    n_corrupted: int
    irreducible_errors: NotRequired[NonNegativeInt]


class _Epoch(TypedDict, extra_items=Values):  # type: ignore[call-arg]
    epoch: int
    test_error: float
    test_crossentropy: float
    train_error: dict[str, float]


class _Spread(TypedDict):
    mean: float
    std: float


class _Volume(TypedDict):
    size: int
    strength: int
    subset: Subset
    n_points: int
    accuracy: _Spread
    crossentropy: _Spread
    jacobian_norm: _Spread
    tangent_hessian_norm: _Spread
    residual_norm: _Spread
    sensitivity: _Spread
    exact_fit: _Spread


class _Stop(TypedDict):
    stopped: Time
    start: Time


class _Provenance(TypedDict):
    commit: str | None
    dirty: bool | None
    device: str
    device_name: str
    threads: int
    precision: str
    start: Time
    end: Time
    wall_s: dict[str, NonNegativeFloat]
    cpu_s: NotRequired[PositiveFloat]
    at_once: NotRequired[PositiveFloat]
    side_by_side: NotRequired[PositiveFloat]
    resumed: NotRequired[Annotated[list[_Stop], Field(fail_fast=True)]]  # a benchmark's records do not say


class _Record(TypedDict):
    schema: int
    status: Literal["complete", "diverged"]
    digest: str
    config: _Settings
    data: _Data
    epochs_run: int
    history: Annotated[list[_Epoch], Field(fail_fast=True)]
    volumes: Annotated[list[_Volume], Field(fail_fast=True)] | None
    provenance: _Provenance


VOLUME_METRICS = tuple(_Volume.__annotations__)[4:]
STRUCTURE = TypeAdapter(_Record)


def encode(record: Record) -> bytes:
    """A record as its file holds it, with its checksum. Raises ValueError for a NaN or an infinity in it."""
    body = {**record, "checksum": checksum(record)}
    return json.dumps(body, indent=1, allow_nan=False).encode() + b"\n"


def checksum(record: Record) -> str:
    """SHA-256 of the record's content, whatever its layout. Raises ValueError for a NaN or an infinity in it."""
    body = {k: v for k, v in record.items() if k != "checksum"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_file(path: Path) -> Record:
    """The record in a file, verified. Raises RecordError if it is missing, damaged, changed by hand or of another schema."""
    try:
        record: Record = json.loads(files.read_bytes(path, MAX_BYTES), object_pairs_hook=_distinct)
        claimed, schema, found = record.pop("checksum"), record["schema"], checksum(record)
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise RecordError(f"{path} is damaged or no record: if it is a run's record, {ADVICE}.") from None
    if schema != SCHEMA:
        raise RecordError(f"{path} has schema {fields.shown(schema)}, and {SCHEMA} is read here: {ADVICE}.")
    if claimed != found:
        raise RecordError(f"{path} was changed after it was written (its checksum does not match): {ADVICE}.")
    try:
        STRUCTURE.validate_python(record, strict=True)
    except ValidationError as error:
        raise RecordError(f"{path} is damaged ({fault(error, record)}): {ADVICE}.") from None
    if record["status"] == "complete" and record["volumes"] is None:
        raise RecordError(f"{path} is damaged (it is complete and has no volumes): {ADVICE}.")
    return record


def _distinct(pairs: list[tuple[str, Any]]) -> Record:
    """A JSON object, none of whose names is there twice: a second would replace the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


ENTRIES = {"history": "entry {} of the history", "volumes": "row {} of the volumes", "resumed": "entry {} of resumed"}


def fault(error: ValidationError, value: Any) -> str:
    """The first of what is wrong with the structure of a value, in words: "epoch in entry 3 of the history is 2.5"."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    names: list[str] = []  # the innermost first
    for name in first["loc"]:
        if first["type"] == "missing" and name == first["loc"][-1]:
            return f"{_place(names or ['it'])} has no {name}"
        try:
            value = value[name]
        except (LookupError, TypeError):  # one of several types that a value could have
            break
        said = str(name) if str(name).isprintable() else repr(name)  # a damaged file may have any
        names = [ENTRIES[names[0]].format(name + 1)] if isinstance(name, int) else [said, *names]
    return f"{_place(names if len(names) > 1 or ' ' in names[0] else [*names, 'it'])} is {fields.shown(value)}"


def _place(names: list[str]) -> str:
    return " of ".join([*names[:-2], " in ".join(names[-2:])])
