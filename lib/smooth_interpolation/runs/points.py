"""A trained network's metrics point by point, from its kept weights: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch

from .. import config, files
from ..config import Run
from ..data.preparation import Prepared, prepare
from ..errors import ConfigError
from ..train.evaluation import Evaluator
from . import devices, weights
from .record_format import Record
from .tables import rms_factor

KINDS = (".csv", ".parquet")


def points_table(
    runs: Iterable[Run | Record],
    *,
    epoch: int | None = None,
    device: str = "auto",
    threads: int = 1,
    prepared: Prepared | None = None,
) -> pd.DataFrame:
    """A row per network, measured point and volume size.

    Args:
        runs: of one experiment, or their records; what is measured, and at which points, are the settings' own:
            `si.find("demo", "convnet-noise20", {"points_from": "test"}).runs()`.
        epoch: one of the runs' `keep_epochs`; None: the trained networks.
        device: "auto", "cpu", "cuda" or another of PyTorch's names.
        threads: CPU threads.
        prepared: the data, if it is at hand already.

    Returns:
        Columns: width, seed, id (the image's place in the dataset's training or test split), label (trained on),
        true_label, noisy, size (augmentations per path), strength, and the metrics of `volumes.VolumeMetrics` with
        `tangent_hessian_rms`; units are in `tables.UNITS`.

    Raises:
        RecordError: if weights are not kept.
        ConfigError: for no runs.

    Example:
        >>> few = config.find("demo", "convnet-noise20", {"n_clean_points": 2, "n_noisy_points": 1, "strengths": [5]})
        >>> table = points_table([few.run(width=8, seed=0)])
        >>> table[["id", "noisy", "size"]].drop_duplicates().shape, bool((table.label != table.true_label).any())
        ((6, 3), True)
    """
    chosen = [run if isinstance(run, Run) else config.build(Run, run["config"], "the record") for run in runs]
    if not chosen:
        raise ConfigError("There is no run to measure the points of.")
    place = devices.choose(device)
    data = prepared or prepare(chosen[0])
    evaluator, points = Evaluator(data, chosen[0], place), data.points_table()
    parts, before = [], torch.get_num_threads()
    for run in chosen:
        torch.set_num_threads(threads)
        try:
            found = evaluator.at_points(weights.network(run, data.dataset.fingerprint, epoch).to(place))
        finally:
            torch.set_num_threads(before)
        for size, strength in enumerate((0, *run.strengths)):
            columns = {name: values[:, size].numpy() for name, values in found._asdict().items()}
            columns["tangent_hessian_rms"] = columns["tangent_hessian_norm"] * rms_factor(run.n_tangents, run.delta)
            parts.append(points.assign(width=run.width, seed=run.seed, size=size, strength=strength, **columns))
    table = pd.concat(parts, ignore_index=True)
    return table[["width", "seed", *(name for name in table if name not in ("width", "seed"))]]


def write(table: pd.DataFrame, path: Path) -> None:
    """A table as CSV or, where pandas can write it, Parquet: as the file's name ends.

    Raises:
        ConfigError: for another ending, or where Parquet cannot be written.
    """
    if path.suffix not in KINDS:
        raise ConfigError(f"{path}: a table's name must end in {' or '.join(KINDS)}.")
    try:
        content = table.to_csv(index=False).encode() if path.suffix == ".csv" else table.to_parquet(index=False)
    except ImportError:
        raise ConfigError(f"{path}: Parquet needs pyarrow (pip install pyarrow); a .csv needs nothing.") from None
    files.write_atomically(path, lambda file: file.write(content))
