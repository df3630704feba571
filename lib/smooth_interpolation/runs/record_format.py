"""What a record's file holds: reading it whatever it may be, and checking that it is what the tables expect.

Nothing in a file is believed before it is checked: its size, its JSON (which has no NaN), its checksum, its structure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from .. import files
from ..config import SCHEMA, validation
from ..errors import RecordError

Record = dict[str, Any]
SUBSETS = ("all", "clean", "noisy")
VOLUME_METRICS = (
    "accuracy",
    "crossentropy",
    "jacobian_norm",
    "tangent_hessian_norm",
    "residual_norm",
    "sensitivity",
    "exact_fit",
)
MAX_BYTES = 4 << 20  # a record is tens of KB; one of 1,000 evaluations is below 1 MiB
ADVICE = "remove it and measure the run again"

Kinds = tuple[type, ...]
TEXT, WHOLE, NUMBER, NOTHING = (str,), (int,), (int, float), (type(None),)
TOP: dict[str, Kinds] = {
    "schema": WHOLE,
    "status": TEXT,
    "digest": TEXT,
    "config": (dict,),
    "data": (dict,),
    "epochs_run": WHOLE,
}
TOP |= {"history": (list,), "volumes": (list, type(None)), "provenance": (dict,)}
DATA: dict[str, Kinds] = {
    "name": TEXT,
    "source": TEXT,
    "fingerprint": TEXT,
    "n_train": WHOLE,
    "n_test": WHOLE,
    "n_corrupted": WHOLE,
}
ORIGIN: dict[str, Kinds] = {
    "commit": TEXT + NOTHING,
    "dirty": (bool, type(None)),
    "device": TEXT,
    "device_name": TEXT,
    "threads": WHOLE,
}
ORIGIN |= {"precision": TEXT, "start": TEXT, "end": TEXT, "wall_s": (dict,)}
POSITIVE = ("cpu_s", "at_once", "side_by_side")  # of the origin, where it says so
EPOCH: dict[str, Kinds] = {"epoch": WHOLE, "test_error": NUMBER, "test_crossentropy": NUMBER, "train_error": (dict,)}
ROW: dict[str, Kinds] = {"size": WHOLE, "strength": WHOLE, "subset": TEXT, "n_points": WHOLE}
ROW |= {metric: (dict,) for metric in VOLUME_METRICS}


def encode(record: Record) -> bytes:
    """A record as its file holds it, with its checksum.

    Raises:
        ValueError: for a NaN or an infinity in it.
    """
    body = {**record, "checksum": checksum(record)}
    return json.dumps(body, indent=1, allow_nan=False).encode() + b"\n"


def checksum(record: Record) -> str:
    """SHA-256 of the record's content, whatever its layout."""
    return hashlib.sha256(_canonical(record).encode()).hexdigest()


def _canonical(record: Record) -> str:
    return json.dumps({k: v for k, v in record.items() if k != "checksum"}, sort_keys=True, separators=(",", ":"))


def read_file(path: Path) -> Record:
    """The record in a file, verified.

    Raises:
        RecordError: if it is missing, too large, damaged, changed by hand, of another schema or of another structure.
    """
    try:
        content = files.read_bytes(path, MAX_BYTES)
        record = orjson.loads(content)
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {error.strerror}.") from None
    except ValueError:
        raise _damaged(path) from None
    try:
        claimed, schema = record.pop("checksum"), record["schema"]
    except (KeyError, AttributeError, TypeError):
        raise _damaged(path) from None
    if schema != SCHEMA:
        raise RecordError(
            f"{path} has schema {validation.shown(schema)} and this code reads schema {SCHEMA}: {ADVICE}."
        )
    try:
        matches = _matches(record, claimed, content)
    except (TypeError, RecursionError):  # lists in lists in lists
        raise _damaged(path) from None
    if not matches:
        raise RecordError(f"{path} was changed after it was written (its checksum does not match): {ADVICE}.")
    try:
        check(record)
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}): {ADVICE}.") from None
    return record


def _damaged(path: Path) -> RecordError:
    return RecordError(f"{path} is damaged or no record: if it is a run's record, {ADVICE}.")


def _matches(record: Record, claimed: Any, content: bytes) -> bool:
    """Whether a record has the checksum that it claims, and its file says nothing twice."""
    # orjson is ten times as fast as json, and writes the same text but for powers of ten of small numbers. Whatever text
    # has the checksum is the text that was hashed, so a try with orjson's can only save time.
    quick = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    canonical = SMALL.sub(_power, SHORT_POWER.sub(rb"e-0\1", quick))
    if hashlib.sha256(canonical).hexdigest() != claimed:
        canonical = _canonical(record).encode()
        if hashlib.sha256(canonical).hexdigest() != claimed:
            return False
    # A second value under a name replaces the first when JSON is read: there would be more names than are left.
    return content.count(b'":') == canonical.count(b'":') + 1 or not _repeats(content)


SHORT_POWER = re.compile(rb"e-(\d)(?!\d)")
SMALL = re.compile(rb"0\.0000([1-9])(\d*)")


def _power(match: re.Match[bytes]) -> bytes:
    if match.string[match.start() - 1 : match.start()].isdigit():  # 10.00001
        return match[0]
    first, rest = match.groups()
    return first + (b"." + rest if rest else b"") + b"e-05"


def _repeats(content: bytes) -> bool:
    def distinct(pairs: list[tuple[str, Any]]) -> Record:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        json.loads(content, object_pairs_hook=distinct)
    except ValueError:
        return True
    return False


def check(record: Any) -> None:
    """Refuse a record without the structure that tables, claims and displays rely on.

    Raises:
        ValueError: saying what is wrong and where.
    """
    _has(record, TOP, "it")
    if record["status"] not in ("complete", "diverged"):
        raise ValueError(f"status {validation.shown(record['status'])}")
    if record["status"] == "complete" and record["volumes"] is None:
        raise ValueError("it is complete and has no volumes")
    _has(record["config"], {"width": WHOLE, "seed": WHOLE, "scale": TEXT, "experiment": TEXT, "model": TEXT}, "config")
    _has(record["data"], DATA, "data")
    missed = record["data"].get("irreducible_errors", 0)  # older records do not say
    if type(missed) is not int or missed < 0:
        raise ValueError(f"irreducible_errors in data is {validation.shown(missed)}")
    _check_origin(record["provenance"])
    for number, entry in enumerate(record["history"], 1):
        where = f"entry {number} of the history"
        _has(entry, EPOCH, where)
        for name, value in entry.items():
            if type(value) is dict:
                _numbers(value, f"{name} in {where}")
            elif type(value) not in NUMBER:
                raise ValueError(f"{name} in {where} is {validation.shown(value)}")
    for number, row in enumerate(record["volumes"] or (), 1):
        where = f"row {number} of the volumes"
        _has(row, ROW, where)
        if row["subset"] not in SUBSETS:
            raise ValueError(f"the subset in {where} is {validation.shown(row['subset'])}")
        for metric in VOLUME_METRICS:
            spread = row[metric]
            if type(spread.get("mean")) not in NUMBER or type(spread.get("std")) not in NUMBER:
                raise ValueError(f"{metric} in {where} is {validation.shown(spread)}")


def _check_origin(origin: Any) -> None:
    _has(origin, ORIGIN, "provenance")
    _numbers(origin["wall_s"], "wall_s")
    for stage, value in origin["wall_s"].items():
        if value < 0:
            raise ValueError(f"{stage} of wall_s is {validation.shown(value)}")
    for name in POSITIVE:
        if name in origin and not (type(origin[name]) in NUMBER and origin[name] > 0):
            raise ValueError(f"{name} is {validation.shown(origin[name])}")
    times = [origin["start"], origin["end"]]
    _has(origin, {"resumed": (list,)} if "resumed" in origin else {}, "provenance")  # a benchmark's records do not say
    for number, part in enumerate(origin.get("resumed", []), 1):
        _has(part, {"stopped": TEXT, "start": TEXT}, f"entry {number} of resumed")
        times += [part["stopped"], part["start"]]
    if any(datetime.fromisoformat(time).tzinfo is None for time in times):
        raise ValueError("a time without its zone")


def _has(value: Any, kinds: Mapping[str, Kinds], where: str) -> None:
    if type(value) is not dict:
        raise ValueError(f"{where} is {validation.shown(value)}")
    for name, allowed in kinds.items():
        if name not in value:
            raise ValueError(f"{where} has no {name}")
        if type(value[name]) not in allowed:
            raise ValueError(f"{name} in {where} is {validation.shown(value[name])}")


def _numbers(values: dict[str, Any], where: str) -> None:
    for name, value in values.items():
        if type(value) not in NUMBER:
            raise ValueError(f"{name} of {where} is {validation.shown(value)}")
