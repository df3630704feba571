"""One run, from configuration to record: for whoever asks for it in Python, and for the command line and the pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import Run
from ..data.preparation import Prepared, prepare
from ..errors import RecordError
from ..train.loop import Acceleration
from . import devices, store, watching, work
from .record_format import Record
from .watching import Status


def run(
    config: Run,
    *,
    device: str = "auto",
    threads: int = 1,
    prepared: Prepared | None = None,
    acceleration: Acceleration = Acceleration(),  # noqa: B008 (frozen)
) -> Record:
    """Train and measure one network.

    Args:
        config: what to do.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or another of PyTorch's names.
        threads: CPU threads; records are equal bit by bit only for the same number.
        prepared: the data, if it is at hand already.
        acceleration: parts of it can be turned off.

    Returns:
        The record, not yet written. The final weights are in the cache, see `weights.network`.

    Raises:
        UserError: for what a user can mend; nothing has been trained then.

    Example:
        >>> from smooth_interpolation import config
        >>> small = {"n_train": 50, "n_test": 50, "epochs": 2, "n_clean_points": 2, "n_noisy_points": 2, "n_paths": 1}
        >>> record = run(config.find("demo", "convnet-noise20", small).run(width=2, seed=0))
        >>> record["status"], record["epochs_run"], record["data"]["n_corrupted"]
        ('complete', 2, 10)
    """
    chosen = work.Options(keep=False, device=device, threads=threads, acceleration=acceleration)
    found: list[Record] = []

    def report(_: Run, kind: str, content: Any) -> None:
        if kind in ("complete", "diverged"):
            found.append(content)

    work.do([config], chosen, report, prepared=prepared, reraise=True)
    return found[0]


def measure(
    run: Run, root: Path | None = None, watch: Callable[[Status], None] | None = None, **options: Any
) -> Record:
    """Train and measure one network and keep its record.

    Everything that can be checked is checked first: the data, the place of the record, the records beside it.

    Args:
        run: what to do.
        root: of the records; None: the usual place.
        watch: told how far it is; None: a line on a terminal or in a notebook says so.
        options: the others of `work.Options`.
    """
    devices.choose(options.get("device", "auto"))
    store.check_writable(run, root)
    prepared = prepare(run)
    store.check_same_data(run, prepared.dataset.fingerprint, root)
    line, skipped = watching.line(), []

    def say(status: Status) -> None:
        what = "epochs trained" if status.stage == "train" else "points measured"
        text = f"{run.scale}/{run.name}, w = {run.width}, seed {run.seed}: {status.done} of {status.total} {what}"
        line(text, status.done == status.total)

    def report(_: Run, kind: str, content: Any) -> None:
        if kind == "status":
            (watch or say)(content)
        elif kind == "skipped":
            skipped.append(content)

    work.do([run], work.Options(root=root, engine="run", **options), report, prepared=prepared, reraise=True)
    record = store.read(run, root)
    if record is None:
        raise RecordError(
            f"{run}: {skipped[0].removesuffix('.')}; wait for it, or look at smooth-interpolation status."
        )
    return record
