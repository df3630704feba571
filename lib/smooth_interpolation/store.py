"""Records on disk, verified when they are read, and the tables made of them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from . import files, locations
from .config import SCHEMA, Experiment, Run
from .errors import RecordError

Record = dict[str, Any]
SUBSETS = ("all", "clean", "noisy")
VOLUME_METRICS = ("accuracy", "crossentropy", "jacobian_norm", "tangent_hessian_norm")
ADVICE = "remove it and measure the run again"


def path_of(run: Run, root: Path | None = None) -> Path:
    return (root or locations.results()) / run.path


def work_directory(record: Path) -> Path:
    """Where runs under way keep what is theirs, beside their records: locks, status, logs, checkpoints."""
    return record.parent / ".work"


def lock_path(run: Run, root: Path | None = None) -> Path:
    """The lock that whoever does a run holds."""
    record = path_of(run, root)
    return work_directory(record) / f"{record.stem}.lock"


def write(record: Record, run: Run, root: Path | None = None) -> Path:
    """Save a record where its configuration says, atomically.

    Raises:
        RecordError: when it cannot be written; an earlier record at that place is left as it was.
    """
    path = path_of(run, root)
    body = {**record, "checksum": checksum(record)}
    content = json.dumps(body, indent=1, allow_nan=False).encode() + b"\n"
    try:
        files.write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise RecordError(
            f"Cannot write {path}: {error.strerror or error}; free some space or choose another place."
        ) from None
    return path


def read(run: Run, root: Path | None = None) -> Record | None:
    """The record of a run; None if there is none.

    Raises:
        RecordError: if it is damaged, of another schema, or made from another configuration.
    """
    path = path_of(run, root)
    if not path.exists():
        return None
    record = read_file(path)
    ours = run.model_dump(mode="json")
    if record["digest"] != run.digest or record["config"] != ours:
        field = first_difference(record["config"], ours)
        raise RecordError(
            f"{path} was made from another configuration ({field}): {ADVICE}, or restore the params file."
        )
    return record


def read_file(path: Path) -> Record:
    """The record in a file, whatever run it is of.

    Raises:
        RecordError: if it is missing, damaged, changed by hand or of another schema.
    """
    try:
        record = json.loads(path.read_bytes())
        claimed = record.pop("checksum")
        schema, status = record["schema"], record["status"]
        config, _ = record["config"], (record["digest"], record["history"], record["volumes"], record["provenance"])
        data = record["data"]["fingerprint"]
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise RecordError(f"{path} is damaged or no record: if it is a run's record, {ADVICE}.") from None
    if schema != SCHEMA:
        raise RecordError(f"{path} has schema {schema} and this code reads schema {SCHEMA}: {ADVICE}.")
    if claimed != checksum(record):
        raise RecordError(f"{path} was changed after it was written (its checksum does not match): {ADVICE}.")
    if status not in ("complete", "diverged") or not isinstance(config, dict) or not isinstance(data, str):
        raise RecordError(f"{path} is damaged (status {status!r}): {ADVICE}.")
    return record


def checksum(record: Record) -> str:
    """SHA-256 of the record's content, whatever its layout."""
    text = json.dumps({k: v for k, v in record.items() if k != "checksum"}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_all(runs: Iterable[Run], root: Path | None = None) -> list[Record]:
    """The records of those runs that have one.

    Raises:
        RecordError: as `read`, and if records were made from different data.
    """
    found: list[tuple[Run, Record]] = []
    for run in runs:
        record = read(run, root)
        if record is not None:
            found.append((run, record))
    for run, record in found:
        if record["data"]["fingerprint"] != found[0][1]["data"]["fingerprint"]:
            raise RecordError(
                f"{path_of(run, root)} was measured on {describe_data(record)} and {path_of(found[0][0], root)} on "
                f"{describe_data(found[0][1])}: one figure needs one set of images; remove the odd ones."
            )
    return [record for _, record in found]


def check_same_data(run: Run, fingerprint: str, root: Path | None = None) -> None:
    """Refuse, before anything is computed, to put a run beside records of other images than those at hand.

    Raises:
        RecordError: naming such a record.
    """
    for path in sorted(path_of(run, root).parent.glob("*.json")):
        record = read_file(path)
        if record["data"]["fingerprint"] != fingerprint:
            raise RecordError(
                f"{path} was measured on {describe_data(record)}, not on the images found here ({fingerprint[:12]}): "
                "point SMOOTH_INTERPOLATION_DATA at those images, or keep these results elsewhere "
                f"(--results or ${locations.RESULTS_VARIABLE})."
            )


def describe_data(record: Record) -> str:
    data = record["data"]
    return f"{data['name']}, {data['source']}, fingerprint {data['fingerprint'][:12]}"


def missing(experiment: Experiment, root: Path | None = None) -> list[Run]:
    """The runs that have no record, cheap ones first."""
    return [run for run in experiment.runs() if not path_of(run, root).exists()]


def volumes_table(records: Iterable[Record]) -> pd.DataFrame:
    """A row per run, volume size, subset and metric.

    Columns: width, seed, size (augmentations per path, 0 for the point itself), strength, subset, metric, mean and std
    over points. Diverged runs have no rows.
    """
    rows = [
        (
            record["config"]["width"],
            record["config"]["seed"],
            entry["size"],
            entry["strength"],
            entry["subset"],
            metric,
            entry[metric]["mean"],
            entry[metric]["std"],
        )
        for record in records
        if record["status"] == "complete"
        for entry in record["volumes"]
        for metric in VOLUME_METRICS
    ]
    columns = ["width", "seed", "size", "strength", "subset", "metric", "mean", "std"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["metric", "subset", "size", "width", "seed"], ignore_index=True
    )


def history_table(records: Iterable[Record]) -> pd.DataFrame:
    """A row per run, evaluated epoch, subset and metric: width, seed, epoch, subset, metric, value.

    Test error and crossentropy are in the rows of subset 'all'. Errors are in percent. Diverged runs have no rows.
    """
    rows = []
    for record in records:
        if record["status"] != "complete":
            continue
        width, seed = record["config"]["width"], record["config"]["seed"]
        for entry in record["history"]:
            for metric, value in entry.items():
                if isinstance(value, dict):
                    rows += [(width, seed, entry["epoch"], subset, metric, v) for subset, v in value.items()]
                elif metric != "epoch":
                    rows.append((width, seed, entry["epoch"], "all", metric, value))
    columns = ["width", "seed", "epoch", "subset", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["metric", "subset", "width", "seed", "epoch"], ignore_index=True
    )


def last_epoch(history: pd.DataFrame, metric: str, subset: str = "all") -> pd.DataFrame:
    """The rows of `history_table` with a metric at each run's last epoch."""
    part = history[(history.metric == metric) & (history.subset == subset)]
    return part[part.epoch == part.groupby(["width", "seed"]).epoch.transform("max")]


def interpolation_threshold(history: pd.DataFrame) -> int | None:
    """The smallest width from which on the last epoch's training error is zero in every seed; None if there is none."""
    last = last_epoch(history, "train_error")
    if last.empty:
        return None
    worst = last.groupby("width").value.max().sort_index(ascending=False)
    interpolating = worst.index[(worst == 0).cummin()]
    return int(interpolating.min()) if len(interpolating) else None


def check_writable(run: Run, root: Path | None = None) -> None:
    """Find out before a run, not after it, whether its record can be kept.

    Raises:
        RecordError: if it cannot.
    """
    directory = path_of(run, root).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise RecordError(
            f"Cannot write to {directory} ({error.strerror}): choose another place for the results."
        ) from None


def first_difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first field in which two configurations differ, in words."""
    for field in sorted({*there, *here}):
        if there.get(field) != here.get(field):
            return f"{field} is {there.get(field)!r} there and {here.get(field)!r} here"
    return "the digest differs"
