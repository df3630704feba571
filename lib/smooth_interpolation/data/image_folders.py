"""Images in folders and zips, `train/<class>/*` and `test/<class>/*`, from whoever made them.

Nothing is unpacked onto the disk. Names, sizes and counts are checked before a byte is decompressed, the pixels' number
before an image is decoded, and memory's need before it is taken: what is refused is refused early, in one sentence.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError
from . import image_names
from .image_names import MAX_BYTES

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")  # no others are tried: some of Pillow's start other programs
MAX_PIXELS = 512 * 512  # of one image; larger ones are refused before they are decoded
MAX_TOTAL = 4 << 30  # bytes of all pixels of a split
JPEG = b"\xff\xd8"  # how one begins
MAX_SCANS = 100  # of a JPEG; each costs the time of a whole image
DEEP_MODES = ("I", "F")  # and I;16 in its variants


def read(listing: image_names.Listing) -> tuple[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]]:
    """Classes, and of the training and the test split the images (N, H, W, 3) uint8 and labels (N,) int64.

    Raises:
        DataError: naming the image that is wrong.
    """
    place = listing.place
    train, test = (listing.classes[split] for split in image_names.SPLITS)
    if train != test:
        odd = sorted(set(train) ^ set(test))
        raise DataError(f"{place}: train and test must have the same classes; '{odd[0]}' is only in one of them.")
    names = [entry.name for entry in listing.entries]
    archive = None if place.is_dir() else image_names.open_zip(place)
    try:
        splits = [
            _read_split(place, archive, [n for n in names if n.startswith(f"{split}/")], train)
            for split in image_names.SPLITS
        ]
    finally:
        if archive:
            archive.close()
    if len({images.shape[1:] for images, _ in splits}) > 1:
        raise DataError(f"{place}: training and test images differ in size: resize them to one size.")
    return train, splits


def _read_split(
    place: Path, archive: zipfile.ZipFile | None, names: list[str], classes: tuple[str, ...]
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
        if content.startswith(JPEG) and content.count(b"\xff\xda") > MAX_SCANS:  # elsewhere they are two pixels' bytes
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
