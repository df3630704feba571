"""Images as tensors: CIFAR-10 and CIFAR-100, folders or zips of images, and the built-in `dead_leaves`.

Every source becomes one in-memory `Dataset` of uint8 tensors, is put into the order of `canonical`, cached as one file and
fingerprinted: the same images are the same data, whatever they came in.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import files, locations
from ..errors import DataError
from . import dead_leaves, image_folders
from .image_folders import SPLITS, Listing

log = logging.getLogger(__name__)
VERSION = 4  # part of the cache's key: raise it when the order of the images changes, or which are read
# Of torchvision's archives: the folder, the file and its checksum, which says what is in it; and the number of classes.
CIFAR = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 10),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", 100),
}
MAX_CACHE = 10 << 30  # bytes of a cached dataset: two splits of the largest size, and more


@dataclass(frozen=True)
class Split:
    """N images (N, C, H, W) uint8, of 3 channels or 1, and their labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor | slice) -> Split:
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, the names of the classes, where it comes from, and its fingerprint."""

    name: str
    source: str  # "torchvision archive", "image folder (PNG)", "zip of images (WEBP)", "drawn"; no part of the data
    classes: tuple[str, ...]
    train: Split
    test: Split
    fingerprint: str
    place: Path | None = None  # of a folder or zip


def load(
    name: str, n_classes: int = 10, n_train: int | None = None, n_test: int | None = None, seed: int = 0
) -> Dataset:
    """A dataset by name, from the cache where it was decoded before.

    Args:
        name: `cifar10`, `cifar100`, `dead_leaves`, or an image folder or zip (`train/<class>/*`, `test/<class>/*`)
            in one of the data directories.
        n_classes, n_train, n_test, seed: what to draw, for `dead_leaves` only; other sources are read whole.

    Raises:
        DataError: naming the places searched, how to fetch the data, and what needs none.

    Example:
        >>> data = load("dead_leaves", n_classes=10, n_train=20, n_test=10)
        >>> data.train.images.shape, data.train.images.dtype, len(data.test)
        (torch.Size([20, 3, 32, 32]), torch.uint8, 10)
    """
    if name == "dead_leaves":
        if not 10 <= n_classes <= 100:
            raise DataError(f"dead_leaves has 10 to 100 classes, not {n_classes}.")
        key = f"dead_leaves-v{dead_leaves.VERSION}-{n_classes}-{n_train}-{n_test}-{seed}"
        return _cached(name, "drawn", key, lambda: _drawn(n_classes, n_train or 1000, n_test or 1000, seed))
    listing = look(name)
    if listing is not None:
        key = f"{name}-{_state(listing)}"
        data = _cached(name, _source(listing), key, lambda: _as_splits(*image_folders.read(listing)))
        return replace(data, place=listing.place)
    key = f"{name}-{CIFAR[name][2]}"  # its checksum tells what is in it
    return _cached(name, "torchvision archive", key, lambda: _as_splits(*_read_archive(name)))


def look(name: str) -> Listing | None:
    """What is in the folder or zip of a dataset; None where none is needed. Nothing is written or fetched."""
    if name == "dead_leaves":
        return None
    place = find_images(name)
    if place is not None:
        listing = image_folders.find(place)
        if name in CIFAR and len(listing.classes["train"]) != CIFAR[name][-1]:
            held = f"{place} holds {len(listing.classes['train'])} classes and {name} has {CIFAR[name][-1]}"
            place_of = f"name the place of {name} in ${locations.DATA_VARIABLE}, or put a folder {name}/ there"
            raise DataError(f"{held}: those are other images, or a part of them; {place_of}.")
        return listing
    if name not in CIFAR:
        image_folders.refuse_similar(name)
        how = "put a folder or zip with train/<class>/* and test/<class>/* there under this name"
        raise DataError(_missing(name, how))
    return None


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 of the tensors' types, shapes and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def canonical(classes: tuple[str, ...], *splits: Split) -> tuple[tuple[str, ...], tuple[Split, ...]]:
    """Classes by name, and each split's images by the SHA-256 of their label and pixels: one order of the same images.

    What is hashed is the label in the new order of the classes as one little-endian int64, then the pixels as C x H x W
    bytes. Identical images with the same label are interchangeable.

    Example:
        >>> images, labels = torch.arange(48, dtype=torch.uint8).reshape(4, 3, 2, 2), torch.tensor([0, 1, 1, 0])
        >>> _, (first,) = canonical(("cat", "dog"), Split(images, labels))
        >>> _, (second,) = canonical(("dog", "cat"), Split(images, 1 - labels)[torch.tensor([2, 0, 3, 1])])
        >>> torch.equal(first.images, second.images), torch.equal(first.labels, second.labels)
        (True, True)
    """
    order = sorted(range(len(classes)), key=classes.__getitem__)
    numbers = torch.empty(len(order), dtype=torch.int64)
    numbers[order] = torch.arange(len(order))
    ordered = []
    for split in splits:
        labels = numbers[split.labels]
        pairs = zip(labels.numpy().astype("<i8"), split.images.contiguous().numpy(), strict=True)
        digests = [hashlib.sha256(label.tobytes() + image.tobytes()).digest() for label, image in pairs]
        places = torch.tensor(sorted(range(len(digests)), key=digests.__getitem__))
        ordered.append(Split(split.images, labels)[places])
    return tuple(classes[i] for i in order), tuple(ordered)


def balanced_subset(labels: Tensor, n: int | None, seed: int) -> Tensor:
    """Indices of a random subset with the same number of points, to within one, of every class.

    Raises:
        DataError: if a class has too few points.

    Example:
        >>> labels = torch.tensor([0, 1] * 50)
        >>> labels[balanced_subset(labels, 10, seed=0)].bincount()
        tensor([5, 5])
    """
    if n is None or n == len(labels):
        return torch.arange(len(labels))
    generator = np.random.default_rng(seed)
    classes = torch.unique(labels).tolist()
    share, extra = divmod(n, len(classes))
    chosen = []
    for rank, label in enumerate(generator.permutation(classes)):
        members = np.flatnonzero(labels.numpy() == label)
        wanted = share + (rank < extra)
        if wanted > len(members):
            raise DataError(f"A balanced subset of {n} needs {wanted} points of class {label}, of {len(members)}.")
        chosen.append(generator.permutation(members)[:wanted])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def _cached(name: str, source: str, key: str, build: Callable[[], tuple[tuple[str, ...], Split, Split]]) -> Dataset:
    path = locations.cache() / "datasets" / f"{key}-v{VERSION}.safetensors"
    if path.is_file():
        try:
            tensors, metadata = files.read_tensors(path, MAX_CACHE)
            train, test = (Split(tensors[f"{split}_images"], tensors[f"{split}_labels"]) for split in SPLITS)
            if (found := fingerprint(*_tensors(train, test).values())) == metadata["fingerprint"]:
                return Dataset(name, source, tuple(metadata["classes"].split("\n")), train, test, found)
        except (OSError, KeyError, ValueError, TypeError):
            pass
        log.warning("%s is damaged: decoding the images again.", path)
    classes, (train, test) = canonical(*build())
    tensors = _tensors(train, test)
    found = fingerprint(*tensors.values())
    try:
        files.write_tensors(path, tensors, {"fingerprint": found, "classes": "\n".join(classes)})
    except OSError as error:
        log.warning("Could not cache the images in %s (%s): next time they are decoded again.", path, error.strerror)
    return Dataset(name, source, classes, train, test, found)


def _tensors(*splits: Split) -> dict[str, Tensor]:
    pairs = zip(SPLITS, splits, strict=True)
    return {f"{name}_{kind}": getattr(split, kind) for name, split in pairs for kind in ("images", "labels")}


def _drawn(n_classes: int, n_train: int, n_test: int, seed: int) -> tuple[tuple[str, ...], Split, Split]:
    drawn = (dead_leaves.draw(n, n_classes, seed, split) for split, n in enumerate((n_train, n_test)))
    train, test = (Split(torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in drawn)
    return tuple(f"leaves {i:02}" for i in range(n_classes)), train, test


def _as_splits(
    classes: tuple[str, ...], parts: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[tuple[str, ...], Split, Split]:
    train, test = (
        Split(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels))
        for images, labels in parts
    )
    return classes, train, test


def _state(listing: Listing) -> str:
    """A digest of where the images are, of their names, and of the size and time of every file."""
    place, status = listing.place, listing.place.stat()
    there = [image[:3] for image in listing.images] if place.is_dir() else [(status.st_size, status.st_mtime_ns)]
    return hashlib.sha256(repr((os.fspath(place.resolve()), there)).encode()).hexdigest()[:16]


def _source(listing: Listing) -> str:
    suffixes = {PurePosixPath(image.name).suffix.lower() for image in listing.images}
    kind = "image folder" if listing.place.is_dir() else "zip of images"
    return f"{kind} ({', '.join(sorted(s[1:].upper() for s in suffixes))})"


def find_images(name: str) -> Path | None:
    """The image folder `name/` or zip `name.zip` in the first data directory that has one; for CIFAR it may be that itself."""
    directories = locations.data_directories()
    for directory in directories:
        here = [path for path in (directory / name, directory / f"{name}.zip") if os.path.lexists(path)]
        if len(here) > 1:
            raise DataError(f"{here[0]} and {here[1]} are both images of '{name}': rename or remove one of them.")
        for path in here:
            if not path.exists():
                raise DataError(f"{path} is a link to nothing ({os.readlink(path)!r:.80}): remove or mend it.")
            if path.suffix != ".zip" and not path.is_dir():
                raise DataError(f"{path} is no folder and no zip of images: rename or remove it.")
            if archive := next(_archives(name, directory), None):
                image_folders.say(f"The images of {name} are read from {path}, not from {archive}.")
            return path
    if name in CIFAR and not any(any(_archives(name, directory)) for directory in directories):
        return next((d for d in directories if any((d / split).is_dir() for split in image_folders.SPLITS)), None)
    return None


def _missing(name: str, how: str) -> str:
    places = " and ".join(str(d) for d in locations.data_directories())
    return (
        f"No images of '{name}' in {places}: {how}, name another place in ${locations.DATA_VARIABLE}, "
        "or choose scale demo (-p scale demo), which needs none."
    )


def _archives(name: str, directory: Path) -> Iterator[Path]:
    """torchvision's folder and file of CIFAR images, if they are there."""
    return (path for part in CIFAR.get(name, ())[:2] if (path := directory / str(part)).exists())


def _read_archive(name: str) -> tuple[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]]:
    """torchvision's CIFAR-10 or CIFAR-100, as `image_folders.read` returns images; downloaded where it is not there."""
    import torchvision.datasets as sources

    directories = locations.data_directories()
    root = next((directory for directory in directories if any(_archives(name, directory))), None)
    if root is None:
        image_folders.refuse_similar(name)
        root = directories[0]
    kind = sources.CIFAR10 if name == "cifar10" else sources.CIFAR100
    _check_archive(kind, root)
    try:
        splits = [kind(root, train=train, download=True) for train in (True, False)]
    except Exception as error:  # no network, a broken download, a full disk: torchvision raises many kinds
        how = "put torchvision's archive or an image folder there, or run this once with a network"
        raise DataError(f"{_missing(name, how)} (The download failed: {type(error).__name__}.)") from None
    return tuple(splits[0].classes), [(split.data, np.array(split.targets)) for split in splits]


def _check_archive(kind: Any, root: Path) -> None:
    """Refuse parts of the archive that are not the original ones: they are pickles, which could run anything.

    torchvision unpickles no file without its checksum either, but would fetch changed ones again and say nothing.
    """
    from torchvision.datasets import cifar

    parts = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    checksums = {root / kind.base_folder / name: checksum for name, checksum in parts}
    if lost := [path for path in checksums if not path.exists()]:
        archive = root / kind.filename
        if lost[0].parent.exists() and not archive.exists():
            raise DataError(f"{lost[0]} is missing: remove {lost[0].parent}, and it is fetched again, or complete it.")
        checksums[archive] = kind.tgz_md5
    for path, checksum in checksums.items():
        if path.exists() and not (path.is_file() and cifar.check_integrity(path, checksum)):
            raise DataError(f"{path} is damaged or was changed: its checksum is another. Remove it to fetch it.")
