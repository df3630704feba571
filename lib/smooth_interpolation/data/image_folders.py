"""Images in folders and zips, in classes and splits, from whoever made them: all of them, or a sentence on why not.

One reader for whoever takes images: `<split>/<class>/*`, or `<class>/*` without splits. Hidden names (`.ipynb_checkpoints`,
`._x.png`, `__MACOSX`) are passed over. A class is never dropped, since that would renumber those after it: a folder without
an image, or a link to nothing, is refused by name. Whatever else is left out is counted in one warning. Nothing is unpacked
onto the disk; bytes and pixels are counted before an image is decoded, and memory's need before it is taken.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import re
import struct
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from .. import locations
from ..errors import DataError

log = logging.getLogger(__name__)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp"}
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")  # no others are tried: some of Pillow's start other programs
SPLITS = ("train", "test")
SPLIT_NAMES = {*SPLITS, "training", "testing", "val", "valid", "validation", "dev", "eval"}
HIDDEN = {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
OTHERS = "files of other formats"
MAX_BYTES = 4 << 20  # of one image's file
MAX_PIXELS = 512 * 512  # of one image
MAX_TOTAL = 4 << 30  # bytes of all pixels of a split
ARCHIVES = {".zip", ".gz", ".tgz", ".tar"}
DEEP_MODES = ("I", "F")  # and I;16 in its variants


class Item(NamedTuple):
    """A file or folder in a place of images."""

    name: str  # "train/cat/0.png"
    size: int = 0  # bytes
    changed: int = 0  # ns, of the file's content; 0 in a zip, whose own time says it
    folder: bool = False


@dataclass(frozen=True)
class Listing:
    """What is read of a folder or zip."""

    place: Path
    images: tuple[Item, ...]  # by name
    classes: dict[str, tuple[str, ...]]  # of each split, by name; "" where there are no splits


def find(place: Path, splits: tuple[str, ...] = SPLITS) -> Listing:
    """List the images of a folder or zip; `splits=()` for one of classes only. Raises DataError for what cannot be read."""
    try:
        items = list(_in_folder(place, splits) if place.is_dir() else _in_zip(place))
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}.") from None
    _check_layout(place, items, splits)
    depth = 1 + bool(splits)  # of a class
    images: list[Item] = []
    classes: set[str] = set()
    left_out: defaultdict[str, set[str]] = defaultdict(set)
    for item in items:
        parts = item.name.split("/")
        if splits and parts[0] not in splits:
            left_out["names beside train/ and test/"].add(parts[0])
            continue
        if len(parts) > depth or (len(parts) == depth and item.folder):
            classes.add("/".join(parts[:depth]))
        if len(parts) <= depth:
            if not item.folder:
                left_out["files in no class"].add(item.name)
        elif len(parts) > depth + 1 or item.folder:
            left_out["folders within a class"].add("/".join(parts[: depth + 1]))
        elif PurePosixPath(item.name).suffix.lower() in SUFFIXES:
            images.append(item)
        else:
            left_out[OTHERS].add(item.name)
    for name in [*classes, *(image.name for image in images)]:
        if not name.isprintable():
            raise DataError(f"{place}: the name {name!r:.80} is not printable: rename it.")
    filled, found = {image.name.rpartition("/")[0] for image in images}, {}
    for split in splits or ("",):
        under = f"{split}/" if split else ""
        here = sorted(name for name in classes if name.startswith(under))
        if filled.isdisjoint(here):
            raise DataError(f"{place} holds no images under {under}<class>/*.")
        if empty := [name for name in here if name not in filled]:
            more = f", nor do {len(empty) - 1} more" if empty[1:] else ""
            read = f"that are read (of {', '.join(sorted(SUFFIXES))}, not in further folders)"
            why = "it is no class, or one that would be lost; remove or fill it"
            raise DataError(f"{place}: {empty[0]:.80}/ holds no images {read}{more}: {why}.")
        found[split] = tuple(name.removeprefix(under) for name in here)
    if left_out:
        say(f"{place}: left out are {'; '.join(_counted(*kind) for kind in sorted(left_out.items()))}.")
    return Listing(place, tuple(sorted(images)), found)


def _counted(kind: str, names: set[str]) -> str:
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in sorted(names))
    which = f": {', '.join(f'{n} {suffix}' for suffix, n in suffixes.most_common(3))}" if kind == OTHERS else ""
    return f"{kind} ({len(names):,}{which}, such as {min(names)!r:.80})"


@functools.cache
def say(text: str) -> None:
    """Once in a process, however often it reads a folder."""
    log.warning("%s", text)


def _check_layout(place: Path, items: Iterable[Item], splits: tuple[str, ...]) -> None:
    """Refuse a dataset that lacks a split, and splits where there should be classes."""
    folders = sorted({item.name.split("/")[0] for item in items if item.folder or "/" in item.name})
    shown = ", ".join(f"{repr(name)[1:-1]:.40}/" for name in folders[:5]) + ", ..." * (len(folders) > 5)
    alike = [name for name in folders if name.lower() in SPLIT_NAMES]
    if not splits and folders and alike == folders:
        raise DataError(f"{place} holds {shown}, which are splits and no classes: name one of them.")
    if lacking := [split for split in splits if split not in folders]:
        others = [name for name in alike if name not in splits]
        hint = "it needs train/<class>/* and test/<class>/*"
        if others:
            hint = f"rename {others[0]}/ to {lacking[0]}/ if that is what it is"
        held = f"{shown} but" if folders else "no folder and"
        raise DataError(f"{place} holds {held} no {'/ and no '.join(lacking)}/: {hint}.")


def hidden(name: str) -> bool:
    """Of no meaning to anyone but an editor or a file manager."""
    return name.startswith(".") or name in HIDDEN


def _in_folder(place: Path, splits: tuple[str, ...], above: str = "") -> Iterator[Item]:
    """Everything down to the classes' files; what is beside the splits, and within a class, is not entered."""
    with os.scandir(place / above) as entries:
        there = [entry for entry in entries if not hidden(entry.name)]
    for entry in there:
        name = above + entry.name
        if splits and not above and name not in splits:
            yield Item(name, folder=entry.is_dir())
            continue
        if entry.is_symlink():
            path = place / name
            if not os.path.exists(path):
                raise DataError(f"{place}: {name} is a link to nothing ({os.readlink(path)!r:.80}): remove it.")
            if not path.resolve().is_relative_to(place.resolve()):
                raise DataError(f"{place}: {name} is a link that leads out of it: put a copy there.")
        if entry.is_dir():
            yield Item(name, folder=True)
            if name.count("/") < 1 + bool(splits):
                yield from _in_folder(place, splits, f"{name}/")
        else:
            status = entry.stat()
            yield Item(name, status.st_size, status.st_mtime_ns)


def _in_zip(place: Path) -> Iterator[Item]:
    with open_zip(place) as archive:
        infos = archive.infolist()
    seen = set()
    for info in infos:
        name = info.filename.rstrip("/")
        parts = name.split("/")
        if "\\" in name or not {"", "..", "."}.isdisjoint(parts):
            raise DataError(f"{place}: {name!r:.80} is no plain path such as train/cat/0.png: make the zip again.")
        if name in seen and not info.is_dir():
            raise DataError(f"{place}: {name!r:.80} is in it twice: make the zip again.")
        if info.flag_bits & 1:
            raise DataError(f"{place} is encrypted: make it again without a password.")
        seen.add(name)
        if not any(map(hidden, parts)):
            yield Item(name, info.file_size, folder=info.is_dir())


def open_zip(place: Path) -> zipfile.ZipFile:
    """A zip that can be read. Raises DataError if it cannot."""
    try:
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        raise DataError(f"{place} is damaged or no zip: fetch or make it again.") from None


def read(listing: Listing) -> tuple[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]]:
    """Classes, and of the training and the test split the images (N, H, W, C) uint8 and labels (N,) int64.
    C is 3, or 1 if all of them are stored as grey values. Raises DataError, naming the image that is wrong.
    """
    place = listing.place
    train, test = (listing.classes[split] for split in SPLITS)
    if odd := sorted(set(train) ^ set(test)):
        raise DataError(f"{place}: train and test must have the same classes; '{odd[0]}' is only in one of them.")
    first = next(image.name for image in listing.images if image.name.startswith(f"{SPLITS[0]}/"))
    index = {label: i for i, label in enumerate(train)}
    splits, grey = [], True
    with contextlib.nullcontext() if place.is_dir() else open_zip(place) as archive:
        shape = (*read_image(place, archive, first).shape[:2], 3)
        for split in SPLITS:
            names = [image.name for image in listing.images if image.name.startswith(f"{split}/")]
            if len(names) * np.prod(shape) > MAX_TOTAL:
                what = f"{len(names):,} images of {shape[1]} x {shape[0]} pixels take more than {MAX_TOTAL >> 30} GiB"
                raise DataError(f"{place}: {what}: use smaller or fewer ones.")
            images = np.empty((len(names), *shape), dtype=np.uint8)
            for i, name in enumerate(names):
                pixels = read_image(place, archive, name, grey=True)
                if pixels.shape[:2] != shape[:2]:
                    sizes = f"{pixels.shape[1]} x {pixels.shape[0]} pixels and {first} is {shape[1]} x {shape[0]}"
                    raise DataError(f"{place}: {name} is {sizes}: resize them to one size.")
                images[i] = pixels
                grey = grey and pixels.shape[2] == 1
            splits.append((images, np.array([index[name.split("/")[1]] for name in names])))
    return train, [(images[..., :1] if grey else images, labels) for images, labels in splits]


def read_image(place: Path, archive: zipfile.ZipFile | None, name: str, grey: bool = False) -> np.ndarray:
    """The pixels (H, W, 3) uint8 of an image in a folder or an open zip; with `grey` (H, W, 1) of one stored as grey
    values. Raises DataError if it is damaged, no image, or none that has a meaning here.
    """
    try:
        if not archive and not (place / name).is_file():  # a pipe would be waited for
            raise FileNotFoundError(name)
        with archive.open(name) if archive else open(place / name, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(f"{place}: {name} is larger than {MAX_BYTES >> 20} MiB: resize it first.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of tags that make no sense beside pixels that do
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _pixels(image, f"{place}: {name}", grey)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{place}: {name} has more than {MAX_PIXELS:,} pixels: resize it first.") from None
    except Exception:  # decoders meet damage in many ways
        raise DataError(f"{place}: {name} is damaged or no image: replace or remove it.") from None


def _pixels(image: Image.Image, what: str, grey: bool) -> np.ndarray:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{what} is {image.width} x {image.height} pixels: resize it first.")
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{what} is animated: keep one frame of it.")
    if image.mode.split(";")[0] in DEEP_MODES:
        raise DataError(f"{what} has more than 8 bits a channel: convert it to 8.")
    if image.mode == "P" and "transparency" in image.info:  # Pillow warns of what RGB would make of it
        image = image.convert("RGBA")
    if grey and image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def refuse_similar(name: str) -> None:
    """Refuse to go on without, or to download, images that may be there under nearly the same name."""
    letters = r"[\W_]*".join(re.sub(r"[\W_]", "", name))
    alike = re.compile(letters + r"(?![^\W_])", re.IGNORECASE)  # of cifar10: CIFAR-10 and cifar10_png, not cifar100
    for directory in locations.data_directories():
        for path in sorted(directory.iterdir()) if directory.is_dir() else []:
            suffix, folder = path.suffix.lower(), path.is_dir()
            if (folder or suffix in ARCHIVES) and alike.match(path.name) and not hidden(path.name):
                to_do = f"make them a folder {name}/"
                if folder or suffix == ".zip":
                    to_do = f"name it {name}{'/' if folder else '.zip'}"
                what = f"{path} may be images of '{name}', all or a part"
                raise DataError(f"{what}: if they are all, {to_do}; else move it away.")
