"""What is measured around points: the anchors of their paths, and the tangent directions at each anchor.

None of it depends on a network. It is made once per set of points, group by group, and kept in the cache, where every
width, seed and epoch finds it; memory holds one group at a time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files, locations
from ..errors import ConfigError
from . import paths as path_kinds
from . import tangents

log = logging.getLogger(__name__)

PATHS = {"svd": path_kinds.svd_paths, "shift": path_kinds.shift_paths}
GROUP = 64  # points in a file of the cache
SHARE_OF_DISK = 0.1
VERSION = 1  # of what is kept; raise it whenever paths or jitters change


@dataclass(frozen=True)
class Neighbourhood:
    """Anchors and directions of N points, A = 1 + P K: the image, then path after path its K augmentations."""

    anchors: Tensor  # (N, A, C, H, W), not normalised
    jitters: Tensor  # (N, A, M, 3, 2), see `tangents.draw_jitters`
    n_paths: int  # P

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def n_steps(self) -> int:
        """K."""
        return (self.anchors.shape[1] - 1) // self.n_paths

    def along_paths(self, values: Tensor) -> Tensor:
        """Values at the anchors (N, A, ...) put in the order of the paths, (N, P, K + 1, ...)."""
        shape = (len(values), self.n_paths, self.n_steps, *values.shape[2:])
        start = values[:, None, :1].expand(-1, self.n_paths, *values[:, :1].shape[1:])
        return torch.cat([start, values[:, 1:].reshape(shape)], dim=2)

    def lengths(self, normalize: Callable[[Tensor], Tensor], device: torch.device | None = None) -> Tensor:
        """Lengths of the paths' segments in normalised space, (N, P, K), float64 on the CPU; it normalises on a device."""
        # Point by point: a normalisation may enlarge images.
        points = (normalize(anchors.to(device=device)).cpu()[None] for anchors in self.anchors)
        parts = [path_kinds.segment_lengths(self.along_paths(inputs)).double() for inputs in points]
        return torch.cat([torch.empty(0, self.n_paths, self.n_steps, dtype=torch.float64), *parts])


def make(
    images: Tensor,
    *,
    strengths: Sequence[int],
    n_paths: int,
    n_tangents: int,
    seed: int,
    path_kind: str = "svd",
) -> Neighbourhood:
    """Paths and directions around images (N, C, H, W) in [0, 1], on the CPU and in the images' type.

    Raises:
        ConfigError, DataError: for settings or images that do not fit.
    """
    if path_kind not in PATHS:
        raise ConfigError(f"path_kind is {path_kind!r}: it must be one of {', '.join(PATHS)}.")
    images = images.detach().cpu()
    paths = PATHS[path_kind](images, strengths, n_paths)
    anchors = torch.cat([paths[:, :1, 0], paths[:, :, 1:].flatten(1, 2)], dim=1)
    jitters = tangents.draw_jitters(images, anchors.shape[1], n_tangents, seed)
    return Neighbourhood(anchors, jitters, n_paths)


def shared(images: Tensor, **settings: Any) -> Iterator[tuple[slice, Neighbourhood]]:
    """`make(images, **settings)` group by group, from the cache; what is not there yet is made and kept.

    Images are uint8. A damaged file is made again. Nothing is kept where the cache cannot be written, or where all groups
    together would take more than a tenth of the disk's free space.
    """
    n_anchors = 1 + settings["n_paths"] * len(settings["strengths"])
    keep = 4 * n_anchors * images.numel() < SHARE_OF_DISK * _free(locations.cache())
    for start in range(0, len(images), GROUP):
        part = slice(start, start + GROUP)
        yield part, _group(images[part], settings, keep)


def _free(directory: Path) -> int:
    """Bytes free on the disk that a directory is on, or will be."""
    existing = next(d for d in (directory, *directory.parents) if d.exists())
    return shutil.disk_usage(existing).free


def _group(images: Tensor, settings: dict[str, Any], keep: bool) -> Neighbourhood:
    text = json.dumps([VERSION, list(images.shape), settings], sort_keys=True)
    key = hashlib.sha256(text.encode() + images.contiguous().numpy().tobytes()).hexdigest()
    path = locations.cache() / "neighbourhoods" / f"{key[:32]}.safetensors"
    try:
        tensors, _ = files.read_tensors(path)
        return Neighbourhood(tensors["anchors"], tensors["jitters"], settings["n_paths"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s is damaged and made again (%s).", path, error)
    made = make(images.float() / 255, **settings)
    if not keep:
        return made
    try:
        files.write_tensors(path, {"anchors": made.anchors, "jitters": made.jitters}, {"settings": text})
    except OSError as error:
        log.warning(
            "The paths cannot be kept in %s (%s): they are made again when needed.", path.parent, error.strerror
        )
    return made
