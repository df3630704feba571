"""Images and labels of a user's own, in whatever form they come, as two tensors."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, default_collate

from .. import locations
from ..data import image_folders
from ..errors import ConfigError, DataError
from ..measure import foreign

Data = Tensor | list[Any] | np.ndarray | tuple[Any, Any] | Dataset[Any] | DataLoader[Any] | str | os.PathLike[str]


def read(
    data: Data, labels: Any = None, *, noisy: Any = None, n_points: int = 100, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """At most `n_points` images with their labels, and which of these are wrong.

    Args:
        data: images (N, C, H, W), a tensor or an array, or a list of images, or one image (C, H, W), in [0, 1] or uint8, with `labels`; a
            pair of images and labels; a Dataset or list of (image, label), or a DataLoader of one; a folder `<class>/*` of images of one size.
        labels: of images, any array-like.
        noisy: (N,) booleans, which labels are wrong, in the order of the whole data; None: not known.
        n_points: more points than these are thinned out at random, noisy and clean ones to equal numbers.
        seed: of that choice.

    Returns:
        images (n, C, H, W) floating in [0, 1]; labels (n, ...); mask (n,) or None; indices (n,) in the whole data.

    Raises:
        DataError, ConfigError: in one sentence.
    """
    if isinstance(n_points, bool) or not isinstance(n_points, int) or n_points < 1:
        raise ConfigError(f"n_points is {n_points!r}: it must be a whole number of at least 1.")
    if isinstance(data, DataLoader):
        data = _behind(data, n_points)
    if isinstance(data, (str, os.PathLike)):
        data = Folder(data)
    if isinstance(data, tuple | list) and len(data) == 2 and labels is None and not _is_example(data[0]):
        data, labels = data
    if isinstance(data, np.ndarray | Tensor):
        data = foreign.tensor(data, "Images")
    if isinstance(data, tuple | list) and labels is not None:
        data, labels = list(zip(data, _labels(labels, len(data)), strict=True)), None
    if isinstance(data, Tensor):
        images, targets = _pair(data, labels)
        mask = _mask(noisy, len(images))
        chosen = _choose(len(images), mask, n_points, seed)
        images, targets = images[chosen], targets[chosen]
    elif isinstance(data, IterableDataset):
        if noisy is not None:
            raise ConfigError("noisy marks the points of data that has a length: an iterable dataset has none.")
        images, targets = _stacked(itertools.islice(iter(data), n_points))
        mask, chosen = None, torch.arange(len(images))
    elif isinstance(data, Sized) and hasattr(data, "__getitem__"):
        if labels is not None:
            raise ConfigError("A dataset brings its own labels: leave labels out.")
        mask = _mask(noisy, len(data))
        chosen = _choose(len(data), mask, n_points, seed)
        _warn_if_random(data, int(chosen[0]))
        images, targets = _stacked(data[int(i)] for i in chosen)
    else:
        raise DataError(
            f"Data must be a tensor of images, a pair (images, labels), a Dataset, a DataLoader or a folder, not a {type(data).__name__}."
        )
    return _in_unit_range(images), targets, None if mask is None else mask[chosen], chosen


class Folder(Dataset[tuple[Tensor, int]]):
    """Images `<class>/*` below a folder, decoded one by one; labels number the classes in alphabetical order."""

    def __init__(self, place: str | os.PathLike[str]):
        self.place = locations.expanded(Path(place))
        if not self.place.is_dir():
            raise DataError(f"{place} is no folder: name one that holds a folder of images for each class.")
        listing = image_folders.find(self.place, splits=())
        self.names, self.classes = [image.name for image in listing.images], listing.classes[""]
        odd = [(n, i) for i, n in enumerate(self.classes) if n.isdecimal() and int(n) != i]
        if odd and all(name.isdecimal() for name in self.classes):
            warnings.warn(
                f"{place}: classes are numbered in alphabetical order, as torchvision's ImageFolder does: '{odd[0][0]}' is "
                f"label {odd[0][1]}. If the network knows them by their own numbers, give images and labels.",
                stacklevel=3,
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        name = self.names[index]
        pixels = image_folders.read_image(self.place, None, name)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1), self.classes.index(name.split("/")[0])


def _behind(loader: DataLoader[Any], n_points: int) -> Any:
    """The dataset of a loader, whose points can be chosen by a seed; the loader's first batches where it has none."""
    plain = loader.batch_size is not None and loader.collate_fn is default_collate
    if plain and not isinstance(loader.dataset, IterableDataset):
        if not isinstance(loader.sampler, torch.utils.data.SequentialSampler | RandomSampler):
            warnings.warn("The loader's sampler is not used: points are drawn from its dataset.", stacklevel=4)
        return loader.dataset
    if isinstance(loader.sampler, RandomSampler) and loader.generator is None:
        warnings.warn("The loader shuffles without a seed: another call measures other points.", stacklevel=4)
    images, labels, n = [], [], 0
    for batch in loader:
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise DataError(f"The loader must give pairs (images, labels), not a {type(batch).__name__}.")
        images.append(batch[0])
        labels.append(foreign.tensor(batch[1], "Labels"))
        n += len(batch[0])
        if n >= n_points:
            break
    if not images:
        raise DataError("The loader gives no batch.")
    return torch.cat(images)[:n_points], torch.cat(labels)[:n_points]


def _pair(images: Tensor, labels: Any) -> tuple[Tensor, Tensor]:
    if labels is None:
        raise DataError("A tensor of images needs labels: those that the network was trained on.")
    labels = foreign.tensor(labels, "Labels")
    if images.ndim == 3 and labels.ndim == 0:
        images, labels = images[None], labels[None]
    if images.ndim != 4:
        hint = " and one label" if images.ndim == 3 else ""
        raise DataError(f"Images must have shape (N, C, H, W), or (C, H, W){hint}, not {tuple(images.shape)}.")
    return images, _labels(labels, len(images))


def _labels(labels: Any, n: int) -> Tensor:
    found = foreign.tensor(labels, "Labels")
    if found.ndim == 0 or len(found) != n:
        raise DataError(f"There are {n} images and labels of shape {tuple(found.shape)}: give one for each.")
    return found


def _mask(noisy: Any, n: int) -> Tensor | None:
    if noisy is None:
        return None
    mask = foreign.tensor(noisy, "noisy")
    if not mask.is_floating_point() and ((mask == 0) | (mask == 1)).all():
        mask = mask.bool()
    if mask.dtype != torch.bool or mask.shape != (n,):
        raise DataError(f"noisy must be {n} booleans, one per point, not {mask.dtype} of shape {tuple(mask.shape)}.")
    return mask.cpu()


def _is_example(item: Any) -> bool:
    """An image with its label, as a dataset gives them; no images, which may be two."""
    if not (isinstance(item, tuple | list) and len(item) == 2):
        return False
    return not isinstance(item[1], Image.Image) and getattr(item[1], "ndim", 0) < getattr(item[0], "ndim", 3)


def _choose(n: int, mask: Tensor | None, n_points: int, seed: int) -> Tensor:
    """At most `n_points` of n indices, in order; half of them noisy where that is known, as far as there are enough."""
    if n == 0:
        raise DataError("The data holds no images.")
    if n <= n_points:
        return torch.arange(n)
    generator = np.random.default_rng(seed)
    if mask is None or mask.all() or not mask.any():
        return torch.from_numpy(np.sort(generator.permutation(n)[:n_points]))
    clean, noisy = (np.flatnonzero(part.numpy()) for part in (~mask, mask))
    n_noisy = max(min(n_points // 2, len(noisy)), n_points - len(clean))
    parts = generator.permutation(clean)[: n_points - n_noisy], generator.permutation(noisy)[:n_noisy]
    return torch.from_numpy(np.sort(np.concatenate(parts)))


def _warn_if_random(data: Any, index: int) -> None:
    """Say so where a dataset gives another image each time it is asked."""
    first = _example(data[index])[0]
    if not all(torch.equal(first, _example(data[index])[0]) for _ in range(foreign.AGAIN)):
        warnings.warn(
            "The dataset gives another image each time: its random augmentation takes part in what is measured. Measure "
            "with the transform of the test set.",
            stacklevel=4,
        )


def _example(item: Any) -> tuple[Tensor, Tensor]:
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise DataError(f"The dataset must give pairs (image, label), not a {type(item).__name__}.")
    image, label = item
    if isinstance(image, Image.Image):
        image = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    if isinstance(image, np.ndarray):
        image = foreign.tensor(image, "Images")
    if not isinstance(image, Tensor) or image.ndim != 3:
        shape = f"a tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else f"a {type(image).__name__}"
        raise DataError(f"The dataset's images must be tensors (C, H, W) or PIL images, not {shape}.")
    return image, foreign.tensor(label, "Labels")


def _stacked(items: Iterable[Any]) -> tuple[Tensor, Tensor]:
    pairs = [_example(item) for item in items]
    if not pairs:
        raise DataError("The data holds no images.")
    images, labels = zip(*pairs, strict=True)
    resize = "resize them to one size, such as by torchvision's ImageFolder with Resize and CenterCrop"
    for values, what, remedy in ((images, "images", resize), (labels, "labels", "make their shapes equal")):
        shapes = sorted({tuple(value.shape) for value in values})
        if len(shapes) > 1:
            raise DataError(f"The {what} differ in shape ({', '.join(map(str, shapes[:3]))}): {remedy}.")
    return torch.stack(images), torch.stack(labels)


def _in_unit_range(images: Tensor) -> Tensor:
    """Images (N, C, H, W), floating point in [0, 1]; uint8 is divided by 255."""
    images = images.detach()
    if images.shape[3] in (1, 3, 4) and images.shape[1] > 4:
        shape = tuple(images.shape)
        raise DataError(
            f"Images of shape {shape} have their channels last: bring these first, by permute or transpose."
        )
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise DataError(f"Images must be uint8, or floating point in [0, 1], not {images.dtype}.")
    if images.dtype not in (torch.float32, torch.float64):
        images = images.float()
    if not torch.isfinite(images).all():
        raise DataError("Images must be finite: some values are NaN or infinite.")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        raise DataError(
            f"Images run from {low:.3g} to {high:.3g}: give them in [0, 1], before normalisation, and the network's "
            "normalisation as normalize."
        )
    return images
