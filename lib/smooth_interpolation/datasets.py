"""Images as tensors: CIFAR-10 and CIFAR-100, folders or zips of images, and the built-in `dead_leaves`.

Every source becomes one in-memory `Dataset` of uint8 tensors, is decoded once, cached as one file and fingerprinted.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from . import dead_leaves, files, locations
from .errors import DataError

log = logging.getLogger(__name__)
CIFAR = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp"}
MAX_PIXELS = 512 * 512  # of one image; larger ones are refused before they are decoded


@dataclass(frozen=True)
class Split:
    """N images (N, 3, H, W) uint8 and their labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> Split:
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, the names of the classes, where it comes from, and its fingerprint."""

    name: str
    source: str  # "torchvision archive", "image folder (JPEG)", "drawn"
    classes: tuple[str, ...]
    train: Split
    test: Split
    fingerprint: str


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
    """
    if name == "dead_leaves":
        if not 10 <= n_classes <= 100:
            raise DataError(f"dead_leaves has 10 to 100 classes, not {n_classes}.")
        key = f"dead_leaves-v{dead_leaves.VERSION}-{n_classes}-{n_train}-{n_test}-{seed}"
        return _cached(name, "drawn", key, lambda: _drawn(n_classes, n_train or 1000, n_test or 1000, seed))
    place = _find_images(name)
    if place is not None:
        return _cached(name, _folder_source(place), _state_key(name, place), lambda: _read_folder(place))
    if name in CIFAR:
        root = _find_archive(name)
        return _cached(name, "torchvision archive", f"{name}-torchvision", lambda: _read_torchvision(name, root))
    raise DataError(_missing(name, "put a folder or zip with train/<class>/* and test/<class>/* there under this name"))


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 of the tensors' types, shapes and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def balanced_subset(labels: Tensor, n: int | None, seed: int) -> Tensor:
    """Indices of a random subset with the same number of points, to within one, of every class.

    Raises:
        DataError: if a class has too few points.
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
            raise DataError(
                f"A balanced subset of {n} needs {wanted} points of class {label}: there are {len(members)}."
            )
        chosen.append(generator.permutation(members)[:wanted])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def _cached(name: str, source: str, key: str, build: Callable[[], tuple[tuple[str, ...], Split, Split]]) -> Dataset:
    path = locations.cache() / "datasets" / f"{key}.safetensors"
    if path.is_file():
        try:
            tensors, metadata = files.read_tensors(path)
            splits = (
                Split(tensors["train_images"], tensors["train_labels"]),
                Split(tensors["test_images"], tensors["test_labels"]),
            )
            found = fingerprint(*tensors_of(*splits))
            if found == metadata["fingerprint"]:
                return Dataset(name, source, tuple(metadata["classes"].split("\n")), *splits, found)
            log.warning("%s is damaged: decoding the images again.", path)
        except (OSError, KeyError, ValueError):
            log.warning("%s cannot be read: decoding the images again.", path)
    classes, train, test = build()
    found = fingerprint(*tensors_of(train, test))
    tensors = {
        "train_images": train.images,
        "train_labels": train.labels,
        "test_images": test.images,
        "test_labels": test.labels,
    }
    try:
        files.write_tensors(path, tensors, {"fingerprint": found, "classes": "\n".join(classes)})
    except OSError as error:
        log.warning(
            "Could not cache the images in %s (%s); they will be decoded again next time.", path, error.strerror
        )
    return Dataset(name, source, classes, train, test, found)


def tensors_of(train: Split, test: Split) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return train.images, train.labels, test.images, test.labels


def _drawn(n_classes: int, n_train: int, n_test: int, seed: int) -> tuple[tuple[str, ...], Split, Split]:
    splits = []
    for split, n_images in enumerate((n_train, n_test)):
        images, labels = dead_leaves.draw(n_images, n_classes, seed, split)
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(labels)))
    train, test = splits
    return tuple(f"leaves {i}" for i in range(n_classes)), train, test


def _find_images(name: str) -> Path | None:
    """An image folder or zip for this name: `name/`, `name*.zip`, or the data directory itself."""
    for directory in locations.data_directories():
        candidates = [directory, directory / name, *sorted(directory.glob(f"{name}*.zip"))]
        if not name.startswith("cifar"):
            candidates = [c for c in candidates if c != directory] + [directory / f"{name}.zip"]
        for candidate in candidates:
            if candidate.is_file() and zipfile.is_zipfile(candidate):
                return candidate
            if (candidate / "train").is_dir() and (candidate / "test").is_dir():
                return candidate
    return None


def _find_archive(name: str) -> Path:
    for directory in locations.data_directories():
        if any((directory / part).exists() for part in CIFAR[name]):
            return directory
    return locations.data_directories()[0]


def _read_torchvision(name: str, root: Path) -> tuple[tuple[str, ...], Split, Split]:
    import torchvision.datasets as sources

    kind = sources.CIFAR10 if name == "cifar10" else sources.CIFAR100
    try:
        train, test = (kind(root, train=train, download=True) for train in (True, False))
    except Exception as error:  # no network, a broken download, a full disk: torchvision raises many kinds
        how = "put torchvision's archive or an image folder there, or run this once with a network"
        raise DataError(f"{_missing(name, how)} (The download failed: {type(error).__name__}.)") from None
    first, second = (
        Split(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in (train, test)
    )
    return tuple(train.classes), first, second


def _missing(name: str, how: str) -> str:
    places = " and ".join(str(d) for d in locations.data_directories())
    return (
        f"No images of '{name}' in {places}: {how}, name another place in ${locations.DATA_VARIABLE}, "
        "or choose scale demo (-p scale demo), which needs none."
    )


def _entries(place: Path) -> Iterator[tuple[str, int]]:
    """Names below `place` (or in the zip) with their sizes, sorted, images of the two splits only."""
    if place.is_dir():
        found = [(p.relative_to(place).as_posix(), p.stat().st_size) for p in place.rglob("*") if p.is_file()]
    else:
        with zipfile.ZipFile(place) as archive:
            found = [(info.filename, info.file_size) for info in archive.infolist()]
    for name, size in sorted(found):
        parts = PurePosixPath(name).parts
        if len(parts) == 3 and parts[0] in ("train", "test") and PurePosixPath(name).suffix.lower() in SUFFIXES:
            yield name, size


def _state_key(name: str, place: Path) -> str:
    if place.is_dir():
        state = "".join(f"{entry}{size}" for entry, size in _entries(place))
    else:
        status = place.stat()
        state = f"{status.st_size}-{status.st_mtime_ns}-{os.fspath(place.resolve())}"
    return f"{name}-{hashlib.sha256(state.encode()).hexdigest()[:16]}"


def _folder_source(place: Path) -> str:
    suffixes = {PurePosixPath(name).suffix.lower() for name, _ in _entries(place)}
    kind = "JPEG" if suffixes <= {".jpg", ".jpeg"} else ", ".join(sorted(s[1:].upper() for s in suffixes))
    return f"image folder ({kind})"


def _read_folder(place: Path) -> tuple[tuple[str, ...], Split, Split]:
    names = [name for name, _ in _entries(place)]
    classes = {
        split: sorted({n.split("/")[1] for n in names if n.startswith(f"{split}/")}) for split in ("train", "test")
    }
    if not classes["train"] or not classes["test"]:
        raise DataError(f"{place} holds no images under train/<class>/ and test/<class>/.")
    if classes["train"] != classes["test"]:
        odd = sorted(set(classes["train"]) ^ set(classes["test"]))
        raise DataError(f"{place}: train and test must have the same classes; '{odd[0]}' is only in one of them.")
    opener = zipfile.ZipFile(place) if place.is_file() else None
    try:
        train, test = (
            _read_split(place, opener, [n for n in names if n.startswith(f"{split}/")], classes["train"])
            for split in ("train", "test")
        )
    finally:
        if opener:
            opener.close()
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(f"{place}: training and test images differ in size: resize them to one size.")
    return tuple(classes["train"]), train, test


def _read_split(place: Path, archive: zipfile.ZipFile | None, names: list[str], classes: list[str]) -> Split:
    images: np.ndarray | None = None
    for i, name in enumerate(names):
        pixels = _read_image(place, archive, name)
        if images is None:
            images = np.empty((len(names), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"{place}: {name} is {pixels.shape[1]} x {pixels.shape[0]} pixels and {names[0]} is "
                f"{images.shape[2]} x {images.shape[1]}: resize them to one size."
            )
        images[i] = pixels
    index = {label: i for i, label in enumerate(classes)}
    labels = torch.tensor([index[name.split("/")[1]] for name in names])
    return Split(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


def _read_image(place: Path, archive: zipfile.ZipFile | None, name: str) -> np.ndarray:
    try:
        content = archive.read(name) if archive else (place / name).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{place}: {name} is {image.width} x {image.height} pixels: resize it first.")
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, zipfile.BadZipFile, Image.DecompressionBombError, ValueError, SyntaxError):
        raise DataError(f"{place}: {name} is damaged or no image: replace or remove it.") from None
