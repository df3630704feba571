"""Where the images of a dataset are, one folder, zip or archive of its name, or why there is none; torchvision's archives."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from .. import locations
from ..errors import DataError
from . import image_folders

# Of torchvision's archives: the folder, the file and its checksum, which says what is in it; and the number of classes.
CIFAR = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 10),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", 100),
}

ARCHIVES = {".zip", ".gz", ".tgz", ".tar"}


def find(name: str) -> Path | None:
    """The image folder `name/` or zip `name.zip` in the first data directory that has one; for CIFAR it may be that
    itself. Raises DataError if there are two in one directory, or a link to nothing.
    """
    for directory in locations.data_directories():
        here = [path for path in (directory / name, directory / f"{name}.zip") if os.path.lexists(path)]
        if len(here) > 1:
            raise DataError(f"{here[0]} and {here[1]} are both images of '{name}': rename or remove one of them.")
        for path in here:
            if not path.exists():
                raise DataError(f"{path} is a link to nothing ({os.readlink(path)!r:.80}): remove or mend it.")
            if path.suffix != ".zip" and not path.is_dir():
                raise DataError(f"{path} is no folder and no zip of images: rename or remove it.")
            if archive := next((a for a in _archives(name, directory) if a.exists()), None):
                image_folders.say(f"The images of {name} are read from {path}, not from {archive}.")
            return path
    archives = [archive for directory in locations.data_directories() for archive in _archives(name, directory)]
    if name in CIFAR and not any(archive.exists() for archive in archives):
        splits = image_folders.SPLITS
        return next((d for d in locations.data_directories() if any((d / split).is_dir() for split in splits)), None)
    return None


def listing_of(name: str, place: Path) -> image_folders.Listing:
    """What is in it, of as many classes as the name says. Raises DataError, naming the place."""
    listing = image_folders.find(place)
    classes = listing.classes["train"]
    if name in CIFAR and len(classes) != CIFAR[name][-1]:
        raise DataError(
            f"{place} holds {len(classes)} classes and {name} has {CIFAR[name][-1]}: those are other images, or a part of "
            f"them; name the place of {name} in ${locations.DATA_VARIABLE}, or put a folder {name}/ there."
        )
    return listing


def find_archive(name: str) -> Path:
    """The directory with torchvision's archive, or the one that it is downloaded to. Raises DataError if something is
    there that looks like these images, but is not whole or has another name.
    """
    directories = locations.data_directories()
    for directory in directories:
        unpacked, packed = _archives(name, directory)
        if unpacked.exists() or packed.exists():
            return directory
    refuse_similar(name)
    return directories[0]


def refuse_similar(name: str) -> None:
    """Refuse to go on without, or to download, images that may be there under nearly the same name. Raises DataError,
    naming what is there.
    """
    letters = r"[\W_]*".join(re.sub(r"[\W_]", "", name))
    alike = re.compile(letters + r"(?![^\W_])", re.IGNORECASE)  # of cifar10: CIFAR-10 and cifar10_png, not cifar100
    for directory in locations.data_directories():
        for path in sorted(directory.iterdir()) if directory.is_dir() else []:
            if image_folders.hidden(path.name) or not (path.is_dir() or path.suffix.lower() in ARCHIVES):
                continue
            if alike.match(path.name):
                to_do = f"name it {name}.zip" if path.suffix.lower() == ".zip" else f"make them a folder {name}/"
                to_do = f"name it {name}/" if path.is_dir() else to_do
                raise DataError(
                    f"{path} may be images of '{name}', all or a part: if they are all, {to_do}; else move it away."
                )


def missing(name: str, how: str) -> str:
    places = " and ".join(str(d) for d in locations.data_directories())
    return (
        f"No images of '{name}' in {places}: {how}, name another place in ${locations.DATA_VARIABLE}, "
        "or choose scale demo (-p scale demo), which needs none."
    )


def _archives(name: str, directory: Path) -> list[Path]:
    return [directory / part for part in CIFAR[name][:2]] if name in CIFAR else []


def read_archive(name: str) -> tuple[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]]:
    """torchvision's CIFAR-10 or CIFAR-100, as `image_folders.read` returns images; downloaded where it is not there.
    Raises DataError if it is damaged, or cannot be had.
    """
    import torchvision.datasets as sources

    root = find_archive(name)
    kind = sources.CIFAR10 if name == "cifar10" else sources.CIFAR100
    _check_archive(kind, root)
    try:
        splits = [kind(root, train=train, download=True) for train in (True, False)]
    except Exception as error:  # no network, a broken download, a full disk: torchvision raises many kinds
        how = "put torchvision's archive or an image folder there, or run this once with a network"
        raise DataError(f"{missing(name, how)} (The download failed: {type(error).__name__}.)") from None
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
            raise DataError(
                f"{path} is damaged or was changed: its checksum is not the original's. "
                "Remove it, and it is fetched again if there is a network."
            )
