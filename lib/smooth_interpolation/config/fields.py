"""The types of the fields of a params file: what each may hold.

The upper bounds are far above what anybody would run, and below what would fill a machine's memory or overflow.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from .. import locations

MAX_SEED = 2**31 - 1
MAX_WIDTH = 1024
MAX_RUNS = 100_000  # of one experiment
MAX_ANCHORS = 512  # of one point
MAX_DRAWN = 200_000  # dead_leaves: images of a split
FAMILIES = ("convnet", "resnet18")  # of `train.models`


ADDED = "added"  # marks a field that schema 3 did not have


def added(default: Any) -> Any:
    """The value of a settings field that is new: `weight_decay: fields.Share = fields.added(0.0)` in `config.Settings`.

    That line is all that a new field needs. Records, checkpoints, weights and params files from before it are read as
    having this default, and while a run has it, neither its record nor its digest names the field. So the default must
    stand for what was done before there was the field, and must never change. It is of the form that the field holds: a
    tuple, not a list.
    """
    return Field(default, json_schema_extra={ADDED: True}, validate_default=True)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _increasing(values: tuple[int, ...]) -> tuple[int, ...]:
    for before, after in zip(values, values[1:], strict=False):
        if after <= before:
            raise ValueError(f"must increase strictly: {after} does not follow {before}")
    return values


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"must not repeat: {twice} is there more than once")
    return values


def _per_channel(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (1, 3):
        raise ValueError(f"must hold three numbers, one per channel, not {len(values)}; one for grey images")
    return values


def _network(name: str) -> str:
    if name not in FAMILIES and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        hint = difflib.get_close_matches(name, FAMILIES, n=1)
        meant = f"; did you mean '{hint[0]}'?" if hint else ""
        raise ValueError(f"must be one of {', '.join(FAMILIES)}, or one of your own such as my_models:MLP{meant}")
    return name


def _place_name(name: str) -> str:
    # It becomes part of file names, and names a folder or zip.
    if not re.fullmatch(r"\w[\w .+-]*", name):
        where = f"${locations.DATA_VARIABLE} or data/"
        raise ValueError(f"must be a name of letters, digits, spaces and . _ + -, not a path: images are in {where}")
    return name


Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Mean = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Deviation = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Means = Annotated[tuple[Mean, ...], BeforeValidator(_as_tuple), AfterValidator(_per_channel)]
Deviations = Annotated[tuple[Deviation, ...], BeforeValidator(_as_tuple), AfterValidator(_per_channel)]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)]
Images = Annotated[int, Field(ge=1, le=1_000_000)]
Points = Annotated[int, Field(ge=0, le=1_000_000)]
Directions = Annotated[int, Field(ge=1, le=64)]
Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Strength = Annotated[int, Field(ge=1, le=512)]  # `data.preparation` refuses more than the images have
Strengths = Annotated[
    tuple[Strength, ...], BeforeValidator(_as_tuple), Field(min_length=1), AfterValidator(_increasing)
]
Widths = Annotated[tuple[Width, ...], BeforeValidator(_as_tuple), Field(min_length=1), AfterValidator(_increasing)]
Seeds = Annotated[
    tuple[Seed, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=1000), AfterValidator(_distinct)
]
KeptEpochs = Annotated[tuple[Epochs, ...], BeforeValidator(_as_tuple), AfterValidator(_increasing)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Delta = Annotated[float, Field(ge=1e-6, le=100, allow_inf_nan=False)]
Classes = Annotated[int, Field(ge=2, le=10_000)]
Network = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_network)]
Source = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_place_name)]
