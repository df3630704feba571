"""Images in folders and zips, `train/<class>/*` and `test/<class>/*`, from whoever made them.

Nothing is unpacked onto the disk. Names, sizes and counts are checked before a byte is decompressed, the pixels' number
before an image is decoded, and memory's need before it is taken: what is refused is refused early, in one sentence.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from .errors import DataError

log = logging.getLogger(__name__)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp"}
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")  # no others are tried: some of Pillow's start other programs
MAX_PIXELS = 512 * 512  # of one image; larger ones are refused before they are decoded
MAX_BYTES = 4 << 20  # of one image's file
MAX_ENTRIES = 1_000_000  # of a folder or zip
MAX_DIRECTORY = 128 << 20  # bytes of a zip's list of names
MAX_TOTAL = 4 << 30  # bytes of all pixels of a split
MAX_SCANS = 100  # of a JPEG; each costs the time of a whole image
DEFLATE = 1032  # times as large, at most, as what it was compressed to
DEEP_MODES = ("I", "F")  # and I;16 in its variants


def entries(place: Path) -> list[tuple[str, int]]:
    """Names of the two splits' images below `place` (or in the zip) with their sizes in bytes, sorted.

    Raises:
        DataError: for anything that cannot be read safely and whole.
    """
    try:
        found = list(_in_folder(place)) if place.is_dir() else _in_zip(place)
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}.") from None
    for name, size in found:
        if not name.isprintable():
            raise DataError(f"{place}: the name {name!r:.80} is not printable: rename it.")
        if size > MAX_BYTES:
            raise DataError(f"{place}: {name} is larger than {MAX_BYTES >> 20} MiB: resize it first.")
    return sorted(found)


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 3 and parts[0] in ("train", "test") and PurePosixPath(name).suffix.lower() in SUFFIXES


def _in_folder(place: Path) -> Iterator[tuple[str, int]]:
    root = place.resolve()
    n = 0
    for split in ("train", "test"):
        for label in _scan(place / split):
            if label.name.startswith(".") or not label.is_dir():
                continue
            _stay(Path(label.path), root, place)
            for file in _scan(Path(label.path)):
                name = f"{split}/{label.name}/{file.name}"
                if not _is_image(name):
                    if file.is_dir() and not file.name.startswith("."):
                        log.warning("%s: the folder %s within a class is not read.", place, name)
                    continue
                _stay(Path(file.path), root, place)
                status = os.stat(file.path)
                if not stat.S_ISREG(status.st_mode):
                    raise DataError(f"{place}: {name} is no file: remove it.")
                n += 1
                if n > MAX_ENTRIES:
                    raise DataError(f"{place} holds more than {MAX_ENTRIES:,} images: use fewer.")
                yield name, status.st_size


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as found:
        return list(found)


def _stay(path: Path, root: Path, place: Path) -> None:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
        raise DataError(f"{place}: {path.relative_to(place)} is a link that leads out of it: put a copy there.")


def _in_zip(place: Path) -> list[tuple[str, int]]:
    with open_zip(place) as archive:
        infos = archive.infolist()
    twice = [name for name, n in Counter(info.filename for info in infos).items() if n > 1]
    if twice:
        raise DataError(f"{place}: {twice[0]!r:.80} is in it twice: make the zip again.")
    found = []
    for info in infos:
        name = info.filename
        parts = PurePosixPath(name).parts
        if ".." in parts or name.startswith("/") or "\\" in name or ":" in name.split("/")[0]:
            raise DataError(f"{place}: the path {name!r:.80} leads out of it: make the zip again, with plain paths.")
        if not _is_image(name):
            continue
        if info.flag_bits & 1:
            raise DataError(f"{place} is encrypted: make it again without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{place}: {name} is compressed in an unusual way: make the zip again, by deflate.")
        found.append((name, info.file_size))
    if sum(info.file_size for info in infos) > DEFLATE * place.stat().st_size:
        raise DataError(
            f"{place} claims to hold more than a zip of its size can: it was not made by an honest program."
        )
    return found


def open_zip(place: Path) -> zipfile.ZipFile:
    """A zip whose list of names is of a bearable size.

    Raises:
        DataError: if there is no such list, or it is too long.
    """
    try:
        n, size = _directory(place)
        if n > MAX_ENTRIES or size > MAX_DIRECTORY:
            raise DataError(f"{place} holds {n:,} files: at most {MAX_ENTRIES:,} are read.")
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, UnicodeDecodeError):
        raise DataError(f"{place} is damaged or no zip: fetch or make it again.") from None


def _directory(place: Path) -> tuple[int, int]:
    """Number and bytes of the entries that a zip says it has, read off its end (4.3.14-16 of the zip specification)."""
    with open(place, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - 65_557 - 20)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0:
            raise zipfile.BadZipFile
        n, length = struct.unpack_from("<HI", tail, at + 10)
        if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":
            file.seek(struct.unpack_from("<Q", tail, at - 12)[0])
            n, length = struct.unpack_from("<32xQQ", file.read(56))
    return n, length


def read(place: Path) -> tuple[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]]:
    """Classes, and of the training and the test split the images (N, H, W, 3) uint8 and labels (N,) int64.

    Raises:
        DataError: naming the image that is wrong.
    """
    names = [name for name, _ in entries(place)]
    classes = {
        split: sorted({n.split("/")[1] for n in names if n.startswith(f"{split}/")}) for split in ("train", "test")
    }
    if not classes["train"] or not classes["test"]:
        raise DataError(f"{place} holds no images under train/<class>/ and test/<class>/.")
    if classes["train"] != classes["test"]:
        odd = sorted(set(classes["train"]) ^ set(classes["test"]))
        raise DataError(f"{place}: train and test must have the same classes; '{odd[0]}' is only in one of them.")
    archive = None if place.is_dir() else open_zip(place)
    try:
        splits = [
            _read_split(place, archive, [n for n in names if n.startswith(f"{split}/")], classes["train"])
            for split in ("train", "test")
        ]
    finally:
        if archive:
            archive.close()
    if len({images.shape[1:] for images, _ in splits}) > 1:
        raise DataError(f"{place}: training and test images differ in size: resize them to one size.")
    return tuple(classes["train"]), splits


def _read_split(
    place: Path, archive: zipfile.ZipFile | None, names: list[str], classes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    first = read_image(place, archive, names[0])
    if len(names) * first.size > MAX_TOTAL:
        raise DataError(
            f"{place}: {len(names):,} images of {first.shape[1]} x {first.shape[0]} pixels take more than "
            f"{MAX_TOTAL >> 30} GiB: use smaller or fewer ones."
        )
    images = np.empty((len(names), *first.shape), dtype=np.uint8)
    for i, name in enumerate(names):
        pixels = read_image(place, archive, name) if i else first
        if pixels.shape != first.shape:
            raise DataError(
                f"{place}: {name} is {pixels.shape[1]} x {pixels.shape[0]} pixels and {names[0]} is "
                f"{first.shape[1]} x {first.shape[0]}: resize them to one size."
            )
        images[i] = pixels
    index = {label: i for i, label in enumerate(classes)}
    return images, np.array([index[name.split("/")[1]] for name in names])


def read_image(place: Path, archive: zipfile.ZipFile | None, name: str) -> np.ndarray:
    """The pixels (H, W, 3) uint8 of an image in a folder or an open zip.

    Raises:
        DataError: if it is damaged, no image, or none that has a meaning here.
    """
    try:
        with archive.open(name) if archive else open(_regular(place / name), "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(f"{place}: {name} is larger than {MAX_BYTES >> 20} MiB: resize it first.")
        if content.count(b"\xff\xda") > MAX_SCANS:
            raise DataError(f"{place}: {name} is in more than {MAX_SCANS} scans: save it again as an ordinary JPEG.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of tags that make no sense beside pixels that do
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decode(place, name, content)
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(f"{place}: {name} has more than {MAX_PIXELS:,} pixels: resize it first.") from None
    except Exception:  # decoders meet damage in many ways
        raise DataError(f"{place}: {name} is damaged or no image: replace or remove it.") from None


def _regular(path: Path) -> Path:
    if not path.is_file():  # a pipe would be waited for
        raise FileNotFoundError(path)
    return path


def _decode(place: Path, name: str, content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{place}: {name} is {image.width} x {image.height} pixels: resize it first.")
        if getattr(image, "n_frames", 1) > 1:
            raise DataError(f"{place}: {name} is animated: keep one frame of it.")
        if image.mode.split(";")[0] in DEEP_MODES:
            raise DataError(f"{place}: {name} has more than 8 bits a channel: convert it to 8.")
        if image.mode == "P" and "transparency" in image.info:  # Pillow warns of what RGB would make of it
            return np.asarray(image.convert("RGBA").convert("RGB"))
        return np.asarray(image.convert("RGB"))
