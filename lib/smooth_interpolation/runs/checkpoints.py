"""Checkpoints within a run: everything that the rest of it depends on, so that a stopped run goes on with the same bits.

A checkpoint is a safetensors file, written atomically: tensors, and text as JSON; reading it executes nothing. Its
checksum is the SHA-256 of the file with zeros in the checksum's place. The last two are kept, or one, in `.work` beside the
records. Nothing in it is of a machine, a path or a device: a run goes on wherever its file is brought to. A damaged one is
passed over, with a warning, for the one before; one of another configuration, schema or set of images is refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, TypeAdapter, ValidationError
from torch import Tensor
from typing_extensions import TypedDict

from .. import files
from ..config import SCHEMA, Run, completed
from ..errors import RecordError
from . import record_format, store

if TYPE_CHECKING:
    from ..train.loop import Trainer

log = logging.getLogger(__name__)

FORMAT = 1  # of checkpoints; raise it whenever their content changes
KEPT = 2
SECONDS = 180.0  # between checkpoints, by default
UNSIGNED = "0" * 64


class State(BaseModel, strict=True, extra="forbid"):
    """How far a run is, apart from its tensors."""

    epoch: int  # that the trainer is in, or has finished
    step: int
    done: str | None  # "complete" when all epochs are trained
    history: list[dict[str, Any]]
    seconds: dict[str, float]
    cpu_seconds: float = 0.0
    networks: float = 0.0  # side by side, on average, so far
    origin: dict[str, Any]  # of the part before
    stopped: str = ""  # when this was written
    resumed: list[dict[str, Any]] = []


class _Text(TypedDict):
    format: int
    schema: int
    digest: str
    config: dict[str, Any]
    fingerprint: str
    progress: dict[str, Any]  # a `State`


TEXT = TypeAdapter(_Text)


@dataclass
class DiskKeeper:
    """Keeps the last checkpoints of a run beside its record, at most so many.

    One is due after so many seconds, and after so many epochs if that is sooner. Before it is written, `check` raises if the run
    is not ours any more.
    """

    run: Run
    root: Path | None = None
    seconds: float = SECONDS
    epochs: int | None = None
    check: Callable[[], None] = lambda: None
    kept: int = KEPT

    def __post_init__(self) -> None:
        self.directory = store.work_directory(store.path_of(self.run, self.root))
        self._last, self._last_epoch, self._warned = time.monotonic(), 0, False

    def paths(self) -> list[Path]:
        """The checkpoints there are, the latest first."""
        return sorted(self.directory.glob(f"{self.run.path.stem}.*.safetensors"), reverse=True)

    def load(self, fingerprint: str) -> tuple[dict[str, Tensor], State] | None:
        """The latest sound checkpoint; None if there is none."""
        found = self.paths()
        for path in found:
            try:
                tensors, state = read(path, self.run, fingerprint)
            except ValueError as error:
                rest = "the one before is taken" if path != found[-1] else "training starts anew"
                log.warning("The checkpoint %s is damaged (%s): %s.", path, error, rest)
                continue
            self._last_epoch = state.epoch
            return tensors, state
        return None

    def due(self, epoch: int) -> bool:
        by_epochs = self.epochs is not None and epoch - self._last_epoch >= self.epochs
        return by_epochs or time.monotonic() - self._last >= self.seconds

    def save(self, tensors: dict[str, Tensor], state: State, fingerprint: str) -> None:
        """Write a checkpoint; that it cannot be written is no reason to stop training."""
        path = self.directory / f"{self.run.path.stem}.{state.step:012d}.safetensors"
        try:
            self.check()
            write(path, tensors, state, self.run, fingerprint)
            found = self.paths()
            # Later ones than this were passed over, damaged.
            kept = [other for other in found if other.name <= path.name][: self.kept]
            for other in found:
                if other not in kept:
                    other.unlink(missing_ok=True)
            self._warned = False
        except OSError as error:
            if not self._warned:
                text = "No checkpoint of %s could be written to %s (%s): training goes on, with the one before."
                log.warning(text, self.run, path.parent, error.strerror or error)
            self._warned = True
        self._last, self._last_epoch = time.monotonic(), state.epoch

    def discard(self) -> None:
        """Remove the checkpoints, once the record is written, and what killed processes left half-written."""
        for path in [*self.paths(), *self.directory.glob(f".{self.run.path.stem}.*.tmp")]:
            path.unlink(missing_ok=True)


def write(path: Path, tensors: dict[str, Tensor], state: State, run: Run, fingerprint: str) -> None:
    """Save a checkpoint atomically, in a directory that exists. Raises OSError if it cannot be written; earlier ones
    are left as they were.
    """
    from safetensors.torch import save

    text = {"format": FORMAT, "schema": SCHEMA, "digest": run.digest, "config": run.canonical()}
    text |= {"fingerprint": fingerprint, "progress": state.model_dump()}
    content = save(tensors, {"checkpoint": json.dumps(text), "checksum": UNSIGNED})
    signed = content.replace(UNSIGNED.encode(), hashlib.sha256(content).hexdigest().encode(), 1)
    files.write_atomically(path, lambda file: file.write(signed), make_directory=False)


def read(path: Path, run: Run, fingerprint: str) -> tuple[dict[str, Tensor], State]:
    """A run's checkpoint.

    Raises:
        ValueError: if it is damaged, or cannot be read.
        RecordError: if it is sound and of another configuration, schema or set of images.
    """
    tensors, text = read_file(path)
    try:
        state = State.model_validate(text["progress"])
    except ValidationError as error:
        raise ValueError(record_format.fault(error, text["progress"])) from None
    advice = f"remove {path} to train anew"
    if (text["schema"], text["format"]) != (SCHEMA, FORMAT):
        raise RecordError(f"{path} has schema {text['schema']} and this code resumes schema {SCHEMA}: {advice}.")
    theirs, ours = completed(text["config"]), run.model_dump(mode="json")
    if text["digest"] != run.digest or theirs != ours:
        field = store.first_difference(theirs, ours)
        raise RecordError(f"{path} is of another configuration ({field}): {advice}, or restore the params file.")
    if text["fingerprint"] != fingerprint:
        images = f"other images (fingerprint {text['fingerprint'][:12]}) than those found here ({fingerprint[:12]})"
        raise RecordError(f"{path} was trained on {images}: point SMOOTH_INTERPOLATION_DATA at those, or {advice}.")
    return tensors, state


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and text of a checkpoint whose checksum is right, whatever run it is of. Raises ValueError if it is
    damaged, or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = files.read_bytes(path, files.MAX_TENSORS)
        end = 8 + int.from_bytes(content[:8], "little")
        if not 8 < end <= len(content):
            raise ValueError("it is cut short")
        metadata = json.loads(content[8:end])["__metadata__"]
        signature = metadata["checksum"].encode()
        unsigned = content.replace(signature, UNSIGNED.encode(), 1)
        if hashlib.sha256(unsigned).hexdigest().encode() != signature:
            raise ValueError("its checksum does not match")
        text = TEXT.validate_python(json.loads(metadata["checkpoint"]), strict=True)
        return load(content), dict(text)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except (ValidationError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise ValueError(f"it is no checkpoint: {type(error).__name__}") from None


def capture(trainer: Trainer) -> dict[str, Tensor]:
    """Copies, on the host, of everything that the rest of the training depends on.

    Within an epoch that is the generator as the epoch began, from which its order and its augmentation are drawn again.
    """
    generator = trainer.epoch_began if trainer.within_epoch else trainer.generator.get_state()
    tensors = {f"model.{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    tensors |= {
        f"optimizer.{i}.{name}": value
        for i, parameter in enumerate(trainer.model.parameters())
        for name, value in trainer.optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }
    tensors |= {"generator": generator, "sums": trainer.sums}
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


@torch.no_grad()
def restore(trainer: Trainer, tensors: dict[str, Tensor], state: State) -> None:
    """Put a trainer where `capture` found one, in place, so that a captured graph stays valid."""
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    trainer.start(0, weights)
    for i, parameter in enumerate(trainer.model.parameters()):
        kept, prefix = trainer.optimizer.state[parameter], f"optimizer.{i}."
        for name, saved in tensors.items():
            if not name.startswith(prefix):
                continue
            key = name.removeprefix(prefix)
            if key not in kept:  # with the parameter's layout, as the optimiser makes them
                like = saved.shape == parameter.shape
                kept[key] = torch.empty_like(parameter if like else saved, device=parameter.device, dtype=saved.dtype)
            kept[key].copy_(saved)
    trainer.generator.set_state(tensors["generator"])
    trainer.sums.copy_(tensors["sums"])
    trainer.step, trainer.done = state.step, state.done
    within = state.step < state.epoch * trainer.steps_per_epoch
    trainer.epoch = state.epoch - within  # the epoch is begun again, and its first batches skipped
