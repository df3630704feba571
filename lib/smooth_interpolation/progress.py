"""A progress bar for one run, on a terminal and in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from . import runs, store
from .config import Run


def measure(run: Run, root: Path | None = None, **options: Any) -> store.Record:
    """Train and measure one network and keep its record, with a bar for each.

    Everything that can be checked is checked first: the data, the place of the record, the records beside it.

    Args:
        run: what to do.
        root: of the records; None: the usual place.
        options: `device` and `threads` of `runs.run`.
    """
    runs.choose_device(options.get("device", "auto"))
    store.check_writable(run, root)
    prepared = runs.prepare(run)
    store.check_same_data(run, prepared.dataset.fingerprint, root)
    record = _with_bars(run, prepared=prepared, **options)
    store.write(record, run, root)
    return record


def _with_bars(run: Run, **options: Any) -> store.Record:
    """`runs.run` with a bar for training, with loss, error and the time left, and another for measuring."""
    bars: dict[str, tqdm] = {}
    try:

        def watch(status: runs.Status) -> None:
            if status.stage not in bars:
                name, unit = f"w = {run.width}, seed {run.seed}", "epoch"
                if status.stage == "measure":
                    name, unit = f"{name}, measuring", "image"
                bars[status.stage] = tqdm(total=status.total, desc=name, unit=unit, mininterval=0.5)
            bar = bars[status.stage]
            if status.stage == "train":
                bar.set_postfix(loss=f"{status.loss:.3f}", error=f"{status.error:.1f}%", refresh=False)
            bar.update(status.done - bar.n)

        return runs.run(run, watch=watch, **options)
    finally:
        for bar in bars.values():
            bar.close()
