"""Verdicts are kept in the cache: many pages ask for the same, each in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from .. import claims, config, files, locations
from ..runs import record_format

LIMIT = 10 << 20  # bytes of a file
SHORT = 5  # records that are judged as fast as a file is read


def judged(records: Iterable[record_format.Record], experiment: str, plan: config.Experiment) -> pd.DataFrame:
    """`claims.judge`, from the cache if the same records were judged by the same code."""
    records = list(records)
    if len(records) < SHORT:
        return claims.judge(records, experiment, plan)
    asked = [code(), experiment, plan.model_dump(mode="json"), records]
    path = locations.cache() / "verdicts" / f"{hashlib.sha256(orjson.dumps(asked)).hexdigest()}.json"
    with contextlib.suppress(
        OSError, ValueError, KeyError, TypeError, AttributeError
    ):  # the last of one that is damaged
        return _table(orjson.loads(files.read_bytes(path, LIMIT)))
    table = claims.judge(records, experiment, plan)
    content = orjson.dumps(table.reset_index().to_dict("list"))
    with contextlib.suppress(OSError):
        files.write_atomically(path, lambda file: file.write(content), durable=False)
    return table


def _table(columns: dict[str, list[Any]]) -> pd.DataFrame:
    table = pd.DataFrame(columns).set_index("claim")
    table["figures"] = table["figures"].map(tuple)
    numbers = ["effect", "low", "high"]
    return table.astype(dict.fromkeys(numbers, float))


@functools.cache
def code() -> str:
    """Of this package and of what it computes with."""
    found = hashlib.sha256()
    for path in sorted(Path(claims.__file__).parents[1].rglob("*.py")):
        found.update(path.read_bytes())
    for name in ("numpy", "pandas"):
        found.update(importlib.metadata.version(name).encode())
    return found.hexdigest()
