"""The types of the fields of a params file, what each may hold; and what is wrong with a value, in plain words.

The upper bounds are far above what anybody would run, and below what would fill a machine's memory or overflow.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from .. import locations
from ..errors import ConfigError

MAX_SEED = 2**31 - 1
MAX_WIDTH = 1024
MAX_RUNS = 100_000  # of one experiment
MAX_ANCHORS = 512  # of one point
MAX_DRAWN = 200_000  # dead_leaves: images of a split
FAMILIES = ("convnet", "resnet18")  # of `train.models`


ADDED = "added"  # marks a field that schema 3 did not have


def added(default: Any) -> Any:
    """The value of a settings field that is new: `weight_decay: fields.Share = fields.added(0.0)` in `config.Settings`.

    That line is all that a new field needs. What was written before it is read as having this default, and while a run has it,
    neither its record nor its digest names the field. So the default must stand for what was done before there was the
    field, and must never change. It is of the form that the field holds: a tuple, not a list.
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
        known = f"must be one of {', '.join(FAMILIES)}, or one of your own such as my_models:MLP"
        raise ValueError(known + nearest(name, FAMILIES))
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

Model = TypeVar("Model", bound=BaseModel)
PLAIN = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list such as [1, 2]",
    "string_pattern_mismatch": "must be of a-z, 0-9, - and _ alone",
}
WITH_BOUND = {
    "greater_than_equal": ("must be at least {}", "ge"),
    "greater_than": ("must be above {}", "gt"),
    "less_than_equal": ("must be at most {}", "le"),
    "too_short": ("must hold at least {} value", "min_length"),
    "too_long": ("must hold at most {} values", "max_length"),
    "string_too_short": ("must have at least {} character", "min_length"),
    "string_too_long": ("must have at most {} characters", "max_length"),
}


def build(
    kind: type[Model], values: Mapping[str, Any], where: str, lines: Mapping[str, int] = MappingProxyType({})
) -> Model:
    """`kind(**values)`, with what is wrong said in one sentence. Raises ConfigError, naming the place, the line where
    `lines` has it, the field, the value and what is allowed.
    """
    unknown = [key for key in values if key not in kind.model_fields]
    if unknown:
        raise ConfigError(f"{at(where, lines, unknown[0])}: {unknown_name(unknown[0], kind.model_fields)}")
    try:
        return kind(**values)
    except ValidationError as error:
        field, problem = first_problem(error, kind, values)
        raise ConfigError(sentence(f"{at(where, lines, field)}: {problem}")) from None


def at(where: str, lines: Mapping[str, int], field: str | None) -> str:
    return f"{where}, line {lines[field]}" if field is not None and field in lines else where


def first_problem(error: ValidationError, kind: type[BaseModel], values: Mapping[str, Any]) -> tuple[str | None, str]:
    """The field that an error is on (None: several together) and what is wrong, without a full stop."""
    first = error.errors(include_url=False)[0]
    words = _words(first, kind, values)
    if not first["loc"]:
        return next((word for word in words.replace("'", " ").split() if word in kind.model_fields), None), words
    field, *place = first["loc"]
    if first["type"] == "missing":
        return None, f"the field '{field}' is missing"
    if place and isinstance(place[0], int):
        words = f"value {place[0] + 1} ({shown(first['input'])}) {words}"
    return str(field), f"{field} = {shown(values.get(str(field)))}: {words}"


def _words(first: Any, kind: type[BaseModel], values: Mapping[str, Any]) -> str:
    sort, context = first["type"], first.get("ctx", {})
    if sort == "value_error":
        return str(context["error"])
    if sort == "literal_error":
        allowed = get_args(kind.model_fields[first["loc"][0]].annotation)
        return f"must be one of {', '.join(allowed)}" + nearest(first["input"], allowed)
    if sort in PLAIN:
        return PLAIN[sort]
    if sort in WITH_BOUND:
        words, bound = WITH_BOUND[sort]
        return words.format(number(context[bound]))
    message = first["msg"]
    return message[0].lower() + message[1:].replace("\n", " ")


def sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def nearest(name: Any, allowed: Iterable[str]) -> str:
    """'; did you mean ...?' with the allowed name that is most like another; nothing if none is."""
    near = difflib.get_close_matches(str(name)[:100], list(allowed), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_name(name: Any, allowed: Iterable[Any]) -> str:
    """One sentence on a name that is not in `allowed`, with the nearest one that is."""
    known = sorted(map(str, allowed))
    hint = nearest(name, known) or f"; it can be one of {', '.join(known)}."
    return f"{shown(name) if not isinstance(name, str) else quoted(name)} is not known{hint}"


def quoted(text: str) -> str:
    """A text on one line, not longer than a line."""
    return f"'{text}'" if plain(text) == text else shown(text)


def plain(text: str) -> str:
    """A text as it was typed, if it is on one line and not longer than a line."""
    return text if text.isprintable() and len(text) <= 60 else shown(text)


def shown(value: Any) -> str:
    """A value as a person wrote it, on one line, not longer than a line."""
    try:
        text = repr(list(value)[:50] if isinstance(value, tuple) else value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; a list within itself
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def number(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def gpus(value: str | float) -> float:
    """A run's share of one GPU, as `--gpus-per-run` takes it; 0: none. Raises ConfigError for anything else."""
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1:  # also NaN
        text = plain(value) if isinstance(value, str) else f"{value:g}"
        raise ConfigError(f"--gpus-per-run is {text}: it must be a share of one GPU, from 0 to 1, such as 0.25.")
    return found
