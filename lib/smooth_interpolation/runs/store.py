"""Records on disk, verified when they are read, and what is read off their tables."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from .. import config, files, locations
from ..config import Experiment, Run, fields
from ..config.fields import MAX_WIDTH
from ..errors import ConfigError, RecordError
from . import record_format
from .record_format import ADVICE, Record
from .tables import history_table

WORK = ".work"  # the directory of checkpoints, locks and status files, beside the records


def path_of(run: Run, root: Path | None = None) -> Path:
    return (locations.expanded(root) if root else locations.results()) / run.path


def studies(root: Path | None = None) -> list[Path]:
    """The directories of all experiments that have records or runs in progress."""
    place = locations.expanded(root) if root else locations.results()
    return sorted({path.parent for name in ("w*-s*.json", WORK) for path in place.glob(f"*/*/{name}")})


def work_directory(record: Path) -> Path:
    """Where runs under way keep what is theirs, beside their records: locks, status, logs, checkpoints."""
    return record.parent / WORK


def lock_path(run: Run, root: Path | None = None) -> Path:
    """The lock that whoever does a run holds."""
    return work_directory(path := path_of(run, root)) / f"{path.stem}.lock"


def write(record: Record, run: Run, root: Path | None = None) -> Path:
    """Save a record where its configuration says, atomically. Raises RecordError if it cannot be written."""
    path = path_of(run, root)
    content = record_format.encode(record)
    try:
        files.write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise RecordError(f"Cannot write {path}: {files.unwritable(error)}.") from None
    return path


def read(run: Run, root: Path | None = None) -> Record | None:
    """The record of a run; None if there is none.

    Raises:
        RecordError: if it is damaged, of another schema, or made from another configuration.

    Example:
        >>> from smooth_interpolation import config
        >>> record = read(config.find("demo", "convnet-noise20").run(width=8, seed=0))
        >>> record["status"], record["config"]["width"]
        ('complete', 8)
    """
    path = path_of(run, root)
    if not path.exists():
        return None
    record = record_format.read_file(path)
    theirs, ours = config.completed(record["config"]), run.model_dump(mode="json")
    if record["digest"] != run.digest or theirs != ours:
        field = first_difference(theirs, ours)
        name = "give this study a name of its own (that of its file, or `experiment:`) or another --results"
        what = f"{path} was made from another configuration ({field})"
        raise RecordError(f"{what}: restore the params file, {name}, or {ADVICE}.")
    return record


def read_file(path: Path) -> Record:
    """The record in a file, whatever run it is of. Raises RecordError if it is missing, damaged or of another schema."""
    path = locations.given(path)
    record = record_format.read_file(path)
    try:
        run = config.build(Run, record["config"], "its configuration")
    except ConfigError as error:
        raise RecordError(f"{path} is damaged ({str(error).rstrip('.')}): {ADVICE}.") from None
    if record["digest"] != run.digest:
        raise RecordError(f"{path} is damaged (its digest is of another configuration): {ADVICE}.")
    return record


def read_all(runs: Iterable[Run], root: Path | None = None) -> list[Record]:
    """The records of those runs that have one.

    Raises:
        RecordError: as `read`, and if records were made from different data.

    Example:
        >>> from smooth_interpolation import config
        >>> len(read_all(config.find("demo", "convnet-noise20").runs()))
        5
    """
    root = locations.expanded(root) if root else locations.results()  # looked for once
    found = [(run, record) for run in runs if (record := read(run, root)) is not None]
    for run, record in found[1:]:
        first, other = found[0]
        if record["data"]["fingerprint"] != other["data"]["fingerprint"]:
            theirs = f"{path_of(run, root)} was measured on {describe_data(record)}"
            ours = f"{path_of(first, root)} on {describe_data(other)}"
            raise RecordError(f"{theirs} and {ours}: one figure needs one set of images; remove the odd ones.")
    return [record for _, record in found]


def explored(experiment: Experiment, root: Path | None = None) -> list[Record]:
    """The records of an experiment, and of its seeds at other widths: what a reader explored."""
    directory = path_of(experiment.run(experiment.widths[0], experiment.seeds[0]), root).parent
    names = [re.fullmatch(r"w(\d+)-s(\d+)", path.stem) for path in sorted(directory.glob("w*-s*.json"))]
    found = [(int(name[1]), int(name[2])) for name in names if name]
    wider = {width for width, _ in found if 1 <= width <= MAX_WIDTH}.difference(experiment.widths)
    others = [experiment.run(width, seed) for width, seed in found if width in wider and seed in experiment.seeds]
    return read_all([*experiment.runs(), *others], root)


def check_same_data(run: Run, fingerprint: str, root: Path | None = None) -> None:
    """Refuse, before anything is computed, to put a run beside records of other images than those at hand."""
    for path in sorted(path_of(run, root).parent.glob("*.json")):
        record = read_file(path)
        if record["data"]["fingerprint"] != fingerprint:
            here = f"the images found here ({fingerprint[:12]})"
            theirs = f"{path} was measured on {describe_data(record)}, not on {here}"
            place = f"keep these results elsewhere (--results or ${locations.RESULTS_VARIABLE})"
            raise RecordError(f"{theirs}: point SMOOTH_INTERPOLATION_DATA at those images, or {place}.")


def describe_data(record: Record) -> str:
    data = record["data"]
    return f"{data['name']}, {data['source']}, fingerprint {data['fingerprint'][:12]}"


def last_epoch(history: pd.DataFrame, metric: str, subset: str = "all") -> pd.DataFrame:
    """The rows of `history_table` with a metric at each run's last epoch."""
    part = history[(history.metric == metric) & (history.subset == subset)]
    return part[part.epoch == part.groupby(["width", "seed"]).epoch.transform("max")]


def irreducible_error(records: Iterable[Record]) -> float:
    """Training error in percent that no function of the image avoids: identical images have different labels."""
    data = next((record["data"] for record in records), {"n_train": 1})
    return 100 * data.get("irreducible_errors", 0) / data["n_train"]


def interpolation_threshold(history: pd.DataFrame, *, irreducible: float = 0.0, tolerance: float = 0.0) -> int | None:
    """The smallest width from which on, at the last epoch, no label is missed in any seed; None if there is none.

    Runs that diverged could not be fitted and do not count: they have no rows.

    Args:
        history: as `history_table`.
        irreducible: training error in percent that does not count, see `irreducible_error`.
        tolerance: training error in percent that is allowed besides. The threshold that decides has none.

    Example:
        >>> rows = [(w, 0, 9, "all", "train_error", error) for w, error in ((1, 30.0), (2, 0.0), (4, 0.5), (8, 0.0), (16, 0.0))]
        >>> history = pd.DataFrame(rows, columns=["width", "seed", "epoch", "subset", "metric", "value"])
        >>> interpolation_threshold(history), interpolation_threshold(history, tolerance=1.0)
        (8, 2)
    """
    last = last_epoch(history, "train_error")
    if last.empty:
        return None
    worst = last.groupby("width").value.max().sort_index(ascending=False)
    rounding = 1e-9  # of a percentage; one label of a million is 1e-4
    interpolating = worst.index[(worst <= irreducible + tolerance + rounding).cummin()]
    return int(interpolating.min()) if len(interpolating) else None


def threshold_of(records: Iterable[Record]) -> int | None:
    """`interpolation_threshold` of an experiment's records, apart from the errors that none avoids."""
    records = list(records)
    return interpolation_threshold(history_table(records), irreducible=irreducible_error(records))


def check_writable(run: Run, root: Path | None = None) -> None:
    """Find out before a run, not after it, whether its record can be kept. Raises RecordError if it cannot."""
    directory = path_of(run, root).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise RecordError(f"Cannot write to {directory}: {files.unwritable(error)} for the results.") from None


def first_difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first field in which two configurations differ, in words."""
    for field in sorted({*there, *here}):
        if there.get(field) != here.get(field):
            words = fields.shown(there.get(field)), fields.shown(here.get(field))
            return f"{field if field in here else fields.shown(field)} is {words[0]} there and {words[1]} here"
    return "the digest differs"
