"""Final weights, so that a network can be measured again without training: in the cache, and for a few beside their record."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import torch
from torch import nn

from .. import files, locations
from ..config import SCHEMA, Measurement, Run
from ..errors import RecordError
from ..train import models
from . import store

log = logging.getLogger(__name__)


def weights_path(config: Run, fingerprint: str = "") -> Path:
    """Where the final weights of this run are kept: the same for all ways of measuring it.

    Args:
        fingerprint: of the images that it was trained on, which settings only name; empty: the newest that there are.
    """
    name = f"{config.experiment}-w{config.width:03d}-s{config.seed}-{_training_key(config)}"
    plain = locations.cache() / "weights" / f"{name}{fingerprint and '-'}{fingerprint[:12]}.safetensors"
    return plain if fingerprint else next(iter(_kept(plain)), plain)


def _kept(plain: Path) -> list[Path]:
    """The weights of a run, on whatever images, newest first."""
    found = [path for path in plain.parent.glob(f"{plain.stem}*.safetensors") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def committed_path(config: Run) -> Path:
    """Where the weights of a run are that came with the records."""
    return store.path_of(config).with_suffix(".safetensors")


def _training_key(config: Run) -> str:
    """The same for all ways of measuring a network, and for no other network."""
    apart = {*Measurement.model_fields, "overrides"}
    values = {name: value for name, value in config.canonical().items() if name not in apart}
    return hashlib.sha256(json.dumps([SCHEMA, values], sort_keys=True).encode()).hexdigest()[:16]


def save_network(model: nn.Module, config: Run, fingerprint: str = "") -> None:
    """Keep the weights in the cache; a full disk there is no reason to lose the record.

    Args:
        fingerprint: of the images that the network was trained on.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        text = {"run": str(config), "training": _training_key(config), "fingerprint": fingerprint}
        files.write_tensors(weights_path(config, fingerprint), tensors, text)
    except OSError as error:
        log.warning("The final weights of %s could not be kept (%s).", config, error.strerror)


def network(config: Run, fingerprint: str = "") -> nn.Module:
    """The trained network of a run, from beside its record or from the cache, on the CPU.

    Args:
        fingerprint: of the images that it must have been trained on; empty: those of its record, or whatever they were if
            it has none.

    Raises:
        RecordError: if its weights are in neither, or its record is damaged.

    Example:
        >>> from smooth_interpolation import config
        >>> plan = config.find("demo", "convnet-noise20", {"epochs": 3}).run(width=2, seed=1)
        >>> save_network(models.create("convnet", 2, 10, seed=1), plan)  # as a run does when it has trained
        >>> type(network(plan)).__name__
        'ConvNet'
    """
    model = models.create(config.model, config.width, config.n_classes, config.seed)
    if not fingerprint and (record := store.read(config)) is not None:
        fingerprint = record["data"]["fingerprint"]
    wanted = {"training": _training_key(config)} | ({"fingerprint": fingerprint} if fingerprint else {})
    for path in (committed_path(config), weights_path(config, fingerprint)):
        try:
            tensors, text = files.read_tensors(path)
            if all(text.get(name) == value for name, value in wanted.items()):
                model.load_state_dict(tensors)
                return model.to(memory_format=torch.channels_last)
        except (OSError, ValueError, RuntimeError):  # not there, damaged, or of another network
            continue
    where = f"{weights_path(config).parent} or at {committed_path(config)}"
    raise RecordError(f"No weights of {config} in {where}: run it again to make them.")
