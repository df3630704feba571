"""Final weights, kept in the cache, so that a network can be measured again without training."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import torch
from torch import nn

from . import files, locations, models
from .config import SCHEMA, Measurement, Run
from .errors import RecordError

log = logging.getLogger(__name__)


def weights_path(config: Run) -> Path:
    """Where the final weights of this run are kept: the same for all ways of measuring it."""
    values = config.model_dump(mode="json", exclude=set(Measurement.model_fields) | {"overrides"})
    key = hashlib.sha256(json.dumps([SCHEMA, values], sort_keys=True).encode()).hexdigest()[:16]
    return locations.cache() / "weights" / f"{config.experiment}-w{config.width:03d}-s{config.seed}-{key}.safetensors"


def save_network(model: nn.Module, config: Run) -> None:
    """Keep the weights in the cache; a full disk there is no reason to lose the record."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        files.write_tensors(weights_path(config), tensors, {"run": str(config)})
    except OSError as error:
        log.warning("The final weights of %s could not be kept (%s).", config, error.strerror)


def network(config: Run) -> nn.Module:
    """The trained network of a run, from the cache, on the CPU.

    Raises:
        RecordError: if its weights are not there.
    """
    path = weights_path(config)
    model = models.create(config.model, config.width, config.n_classes, config.seed)
    try:
        tensors, _ = files.read_tensors(path)
        model.load_state_dict(tensors)
    except (OSError, ValueError, RuntimeError):
        raise RecordError(f"No weights of {config} in the cache ({path.parent}): run it again to make them.") from None
    return model.to(memory_format=torch.channels_last)
