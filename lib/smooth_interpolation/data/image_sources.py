"""Where the images of a dataset are, one folder, zip or archive of its name, or why there is none; torchvision's archives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
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


def refuse_similar(name: str) -> None:
    """Refuse to go on without, or to download, images that may be there under nearly the same name."""
    letters = r"[\W_]*".join(re.sub(r"[\W_]", "", name))
    alike = re.compile(letters + r"(?![^\W_])", re.IGNORECASE)  # of cifar10: CIFAR-10 and cifar10_png, not cifar100
    for directory in locations.data_directories():
        for path in sorted(directory.iterdir()) if directory.is_dir() else []:
            suffix, folder = path.suffix.lower(), path.is_dir()
            if (folder or suffix in ARCHIVES) and alike.match(path.name) and not image_folders.hidden(path.name):
                to_do = f"make them a folder {name}/"
                if folder or suffix == ".zip":
                    to_do = f"name it {name}{'/' if folder else '.zip'}"
                what = f"{path} may be images of '{name}', all or a part"
                raise DataError(f"{what}: if they are all, {to_do}; else move it away.")


def missing(name: str, how: str) -> str:
    places = " and ".join(str(d) for d in locations.data_directories())
    return (
        f"No images of '{name}' in {places}: {how}, name another place in ${locations.DATA_VARIABLE}, "
        "or choose scale demo (-p scale demo), which needs none."
    )


def _archives(name: str, directory: Path) -> Iterator[Path]:
    """torchvision's folder and file of CIFAR images, if they are there."""
    return (path for part in CIFAR.get(name, ())[:2] if (path := directory / str(part)).exists())


def read_archive(name: str) -> tuple[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]]:
    """torchvision's CIFAR-10 or CIFAR-100, as `image_folders.read` returns images; downloaded where it is not there."""
    import torchvision.datasets as sources

    directories = locations.data_directories()
    root = next((directory for directory in directories if any(_archives(name, directory))), None)
    if root is None:
        refuse_similar(name)
        root = directories[0]
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
            raise DataError(f"{path} is damaged or was changed: its checksum is another. Remove it to fetch it.")
