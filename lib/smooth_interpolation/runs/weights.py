"""Final weights, with which a network is measured again without training: in the cache, and for a few beside their record."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from .. import files, locations
from ..config import SCHEMA, Measurement, Run, build
from ..data.preparation import Prepared, prepare
from ..errors import ConfigError, RecordError
from ..train import models
from ..train.evaluation import AT_POINTS, Evaluator
from . import resources, store
from .checkpoints import State
from .record_format import Record
from .tables import rms_factor

log = logging.getLogger(__name__)

KINDS = (".csv", ".parquet")  # of tables' files
APART = {*Measurement.model_fields, "overrides", "keep_epochs"}  # training does not depend on these
PLACE = {"experiment", "scale", "n_evaluations", "n_last_evaluations"}  # nor on these, which older keys have
# What the history's sharpness depends on.
NEAR = ("points_from", "n_clean_points", "n_noisy_points", "n_tangents", "delta")


def weights_path(config: Run, fingerprint: str = "", epoch: int | None = None) -> Path:
    """Where the weights of this run are kept: the same for all ways of measuring it, whatever its experiment is called.

    The fingerprint is of the images that it was trained on, which settings only name; empty: the newest that there are.
    """
    name = f"{config.model.replace(':', '.')}-w{config.width:03d}-s{config.seed}-{_training_key(config)}"
    name += "" if epoch is None else f"-e{epoch}"
    plain = locations.cache() / "weights" / f"{name}{fingerprint and '-'}{fingerprint[:12]}.safetensors"
    if fingerprint:
        return plain
    there = plain.parent.glob(f"{name}*.safetensors")
    found = [path for path in there if re.fullmatch(f"{name}(-[0-9a-f]{{12}})?", path.stem)]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=plain)


def committed_path(config: Run) -> Path:
    """Where the weights of a run are that came with the records, whatever is measured of it."""
    return store.path_of(config).parent.parent / config.experiment / f"{config.path.stem}.safetensors"


def _training_key(config: Run, apart: Set[str] = APART | PLACE) -> str:
    """The same for all ways of measuring a network, and for no other network."""
    values = {name: value for name, value in config.canonical().items() if name not in apart}
    return hashlib.sha256(json.dumps([SCHEMA, values], sort_keys=True).encode()).hexdigest()[:16]


def save_network(
    model: nn.Module,
    config: Run,
    fingerprint: str = "",
    *,
    epoch: int | None = None,
    image_shape: Sequence[int] = (3, 32, 32),
    state: State | None = None,
) -> None:
    """Keep the weights in the cache, after an epoch or the last, with the fingerprint of the images trained on.

    `state` is how the training went, for a record of the network measured again. A full disk is no reason to lose the record.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    text = {"run": str(config), "training": _training_key(config), "fingerprint": fingerprint}
    text |= {"shape": json.dumps(list(image_shape)), "source": models.source(config.model)}
    if state:
        text |= {"state": state.model_dump_json(), "near": json.dumps(_near(config))}
    try:
        files.write_tensors(weights_path(config, fingerprint, epoch), tensors, text)
    except OSError as error:
        log.warning("The weights of %s could not be kept (%s).", config, error.strerror)


def network(config: Run, fingerprint: str = "", epoch: int | None = None) -> nn.Module:
    """The trained network of a run, from beside its record or from the cache, on the CPU.

    Args:
        config: the run, however it is to be measured.
        fingerprint: of the images that it must have been trained on; empty: those of its record, or whatever they were if
            it has none.
        epoch: one of its `keep_epochs`; None: as it was trained in the end.

    Raises:
        RecordError: if its weights are in neither, or its record is damaged.

    Example:
        >>> from smooth_interpolation import config
        >>> plan = config.find("demo", "convnet-noise20", {"epochs": 3}).run(width=2, seed=1)
        >>> save_network(models.create("convnet", 2, 10, seed=1), plan)  # as a run does when it has trained
        >>> type(network(plan)).__name__
        'ConvNet'
    """
    return _kept(config, fingerprint, epoch)[0]


def trained(config: Run, fingerprint: str) -> tuple[dict[str, Tensor], State] | None:
    """The final weights of a run on these images and how its training went, if both are known; it need not be trained again.

    What the history says of sharpness at the points is left out where other points or directions are to be measured.
    """
    try:
        model, text = _kept(config, fingerprint)
    except RecordError:
        return None
    if "state" in text:
        state, near = State.model_validate_json(text["state"]), json.loads(text["near"])
    else:
        beside = committed_path(config).with_suffix(".json")
        if not beside.is_file():
            return None
        record = store.read_file(beside)
        near, origin = _near(build(Run, record["config"], "its configuration")), record["provenance"]
        state = State(
            epoch=record["epochs_run"], step=0, done=record["status"], history=record["history"],
            seconds=origin["wall_s"] | {"measure": 0.0}, cpu_seconds=origin.get("cpu_s", 0.0),
            networks=origin.get("side_by_side", 1.0), origin=origin, stopped=origin["end"],
        )  # fmt: skip
    if near != _near(config):
        state.history = [{name: v for name, v in entry.items() if name not in AT_POINTS} for entry in state.history]
    return model.state_dict(), state


def kept(config: Run) -> bool:
    """Whether final weights of a run seem to be kept, on whatever images."""
    return committed_path(config).is_file() or weights_path(config).is_file()


def _near(config: Run) -> list[Any]:
    return [getattr(config, name) for name in NEAR]


def _kept(config: Run, fingerprint: str = "", epoch: int | None = None) -> tuple[nn.Module, dict[str, str]]:
    if not fingerprint and (record := store.read(config)) is not None:
        fingerprint = record["data"]["fingerprint"]
    keys = {_training_key(config), _training_key(config, APART)}
    places = [*([committed_path(config)] if epoch is None else []), weights_path(config, fingerprint, epoch)]
    for path in places:
        try:
            tensors, text = files.read_tensors(path)
            if text.get("training") in keys and fingerprint in ("", text.get("fingerprint")):
                model = models.of_run(config, json.loads(text.get("shape", "[3, 32, 32]")))
                if text.get("source", "") != models.source(config.model):
                    continue  # another network by the same name
                model.load_state_dict(tensors)
                return model.to(memory_format=torch.channels_last), text
        except (OSError, ValueError, RuntimeError):  # not there, damaged, or of another network
            continue
    where = f"{places[-1].parent} or at {committed_path(config)}"
    at = "" if epoch is None else f" after epoch {epoch}"
    raise RecordError(f"No weights of {config}{at} in {where}: run it again to make them.")


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
        >>> from smooth_interpolation import config
        >>> few = config.find("demo", "convnet-noise20", {"n_clean_points": 2, "n_noisy_points": 1, "strengths": [5]})
        >>> table = points_table([few.run(width=8, seed=0)])
        >>> table[["id", "noisy", "size"]].drop_duplicates().shape, bool((table.label != table.true_label).any())
        ((6, 3), True)
    """
    chosen = [run if isinstance(run, Run) else build(Run, run["config"], "the record") for run in runs]
    if not chosen:
        raise ConfigError("There is no run to measure the points of.")
    place = resources.choose(device)
    data = prepared or prepare(chosen[0])
    evaluator, points = Evaluator(data, chosen[0], place), data.points_table()
    parts = []
    for run in chosen:
        with resources.threads(threads):
            found = evaluator.at_points(network(run, data.dataset.fingerprint, epoch).to(place))
        for size, strength in enumerate((0, *run.strengths)):
            columns = {name: values[:, size].numpy() for name, values in found._asdict().items()}
            columns["tangent_hessian_rms"] = columns["tangent_hessian_norm"] * rms_factor(run.n_tangents, run.delta)
            parts.append(points.assign(width=run.width, seed=run.seed, size=size, strength=strength, **columns))
    table = pd.concat(parts, ignore_index=True)
    return table[["width", "seed", *(name for name in table if name not in ("width", "seed"))]]


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A table as CSV or, where pandas can write it, Parquet: as the file's name ends."""
    try:
        content = table.to_csv(index=False).encode() if path.suffix == ".csv" else table.to_parquet(index=False)
    except ImportError:
        raise ConfigError(f"{path}: Parquet needs pyarrow (pip install pyarrow); a .csv needs nothing.") from None
    files.write_atomically(path, lambda file: file.write(content))
