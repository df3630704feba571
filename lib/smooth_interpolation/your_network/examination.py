"""The paper's measures for a network and data of your own: tables and a figure from one call."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..measure import foreign, sharpness, volumes
from ..measure.losses import Loss, losses_of, targets_for
from ..measure.paths import scaled_strengths
from ..runs import cost, tables, watching
from . import images as your_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure


CHECKED = 4  # images on which the network is tried before it is measured
FIRST = 8  # points by which the time is predicted
SAID_ABOVE = 10.0  # seconds, that it is told of


@dataclass(frozen=True)
class Examination:
    """What `examine` found.

    Attributes:
        volumes: a row per network (by width or name), volume size, subset and metric, in the columns of `tables.volumes_table`. The metrics
            are accuracy, crossentropy (or "loss", for a loss of your own), jacobian_norm, tangent_hessian_norm,
            residual_norm, sensitivity and exact_fit, see `volumes.VolumeMetrics`; NaN where they have no meaning; and
            tangent_hessian_rms, the root mean square that does not depend on `n_tangents`, see `runs.tables.rms_factor`.
        points: a row per network, point and volume size: index in the data, whether its label is wrong, the metrics.
        input_scale: per channel, by what `normalize` multiplies images; None without one, or where it is no scaling.
    """

    volumes: pd.DataFrame
    points: pd.DataFrame
    input_scale: tuple[float, ...] | None = None

    @property
    def units(self) -> dict[str, str]:
        """The unit of every metric, as `runs.tables.UNITS`, and what an image's unit is to the network's input."""
        if self.input_scale is None:
            inside = "the network takes images in [0, 1] as they are, or normalize is no scaling of them; a normalisation within it counts as part of it"
        else:
            factors = ", ".join(f"{scale:.3g}" for scale in self.input_scale)
            inside = f"normalize is outside the network: a unit of an image in [0, 1] is {factors} of its input (by channel), and norms per unit of the image are larger by that factor"
        return {**tables.UNITS, "input": inside}

    def figure(self, reference: bool = True) -> Figure:
        """Four panels: over the volume's size for one network or for several by name, over the width for several by width.

        For one network the shade is one standard error of the mean over points. For scale, the same curves are drawn of two
        networks of this book, one at and one beyond the threshold, unless `reference` is off or nothing compares.
        """
        from . import figure as your_figure

        return your_figure.draw(self, reference)


def examine(
    model: nn.Module | Mapping[Any, nn.Module],
    data: your_data.Data,
    labels: Any = None,
    *,
    normalize: Callable[[Tensor], Tensor] | None = None,
    loss: Loss | None = None,
    noisy: Any = None,
    n_points: int = 100,
    strengths: Sequence[int] | None = None,
    n_paths: int = 4,
    n_tangents: int = 4,
    delta: float = 0.1,
    path_kind: str = "svd",
    seed: int = 0,
    memory: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Examination:
    """Accuracy, loss, Jacobian norm and tangent Hessian norm of a network around points of your data (Equation 7).

    Args:
        model: any `torch.nn.Module` from images to logits, or to whatever your `loss` takes; or several, by their width or name.
            It is measured in evaluation mode where its parameters are, and left as it was.
        data: images (N, C, H, W) in [0, 1] or uint8, with `labels`; a pair of both; one image (C, H, W) and its label; a
            Dataset or DataLoader of (image, label); a folder `<class>/*` of images of one size.
        labels: those that the network was trained on, wrong where they were wrong; with a `loss`, targets of any kind.
        normalize: from a batch of images (N, C, H, W) to the network's inputs, each by itself, such as
            `torchvision.transforms.Normalize`; it may work in place, resize, or be a module. None: it takes images as they are.
        loss: from outputs, of any kind, and targets to one loss per sample (N,); None: the crossentropy.
        noisy: (N,) booleans, which labels are wrong; the tables then have the subsets clean, noisy, and all, which is
            weighted back to their true shares.
        n_points: at most so many points, drawn by `seed`; half of them noisy where that is known.
        strengths: of the paths, increasing; None: the paper's, scaled from 32 pixels to the images' shorter side.
        n_paths, n_tangents, delta, path_kind, seed, memory, progress: as `volumes.volume_metrics`.

    Returns:
        The tables, and a method that draws them.

    Raises:
        DataError, ConfigError: for data, settings or networks that cannot be measured, in one sentence.

    Warns:
        UserWarning: if the data or the network answer at random, or the loss does not change with the images at all.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 5))
        >>> images, labels = torch.rand(6, 3, 16, 16), torch.tensor([0, 1, 2, 3, 4, 0])
        >>> found = examine(network, images, labels, n_paths=2)
        >>> sorted(found.volumes.metric.unique())[:4]
        ['accuracy', 'crossentropy', 'exact_fit', 'jacobian_norm']
        >>> len(found.points)  # 6 points at 7 sizes
        42
    """
    networks = _by_width(model)
    whole = None if noisy is None else foreign.tensor(noisy, "noisy")
    if isinstance(data, str | os.PathLike):
        data = your_data.Folder(data)
    images, targets, mask, indices = your_data.read(data, labels, noisy=whole, n_points=n_points, seed=seed)
    sharpness.check_points(images, targets, loss)
    share = 0.0 if whole is None else whole.double().mean().item()
    corrupted = torch.zeros(len(images), dtype=torch.bool) if mask is None else mask
    if strengths is None:
        strengths = scaled_strengths(min(images.shape[-2:])) if path_kind == "svd" else (1, 2, 3, 4)
    outside, normalize = normalize is not None, foreign.normalizer(normalize)
    classes = len(data.classes) if isinstance(data, your_data.Folder) else None
    options: dict[str, Any] = {
        "normalize": normalize, "strengths": strengths, "n_paths": n_paths, "n_tangents": n_tangents, "delta": delta,
        "seed": seed, "path_kind": path_kind, "loss": loss, "memory": memory, "progress": progress,
    }  # fmt: skip
    summaries, points = [], []
    for width, network in networks.items():
        _try(network, images[:CHECKED], targets, normalize, loss, classes)
        measure = partial(volumes.volume_metrics, network, **options)
        found = _told(measure, images, targets, f"network {width}" if len(networks) > 1 else "the network")
        if not found.jacobian_norm.any():
            warnings.warn(
                "The loss does not change with the images at all: is the network saturated, or its output rounded?",
                stacklevel=2,
            )
        metrics = {("loss" if loss and name == "crossentropy" else name): v for name, v in found._asdict().items()}
        metrics["tangent_hessian_rms"] = found.tangent_hessian_norm * tables.rms_factor(n_tangents, delta)
        for size, strength in enumerate((0, *strengths)):
            at = {"width": width, "seed": seed, "size": size, "strength": strength}
            for name, values in metrics.items():
                for subset, moments in volumes.summarise(values[:, size], corrupted, share).items():
                    if mask is not None or subset == "all":
                        summaries.append({**at, "subset": subset, "metric": name, **moments})
            columns = {name: values[:, size].numpy() for name, values in metrics.items()}
            points.append(pd.DataFrame({"index": indices.numpy(), "noisy": corrupted.numpy(), **at, **columns}))
    table = pd.DataFrame(summaries)[["width", "seed", "size", "strength", "subset", "metric", "mean", "std"]]
    return Examination(
        _sorted(table, ["metric", "subset", "size", "width", "seed"], networks),
        _sorted(pd.concat(points), ["width", "index", "size"], networks),
        _scale(normalize, images[:1]) if outside else None,
    )


def _scale(normalize: Callable[[Tensor], Tensor], image: Tensor) -> tuple[float, ...] | None:
    """By what a normalisation multiplies each channel, if that is all that it does besides adding."""
    try:
        low, high = (normalize(torch.full_like(image, value)) for value in (0.25, 0.75))
        found = normalize(image)
    except DataError:  # such as one that divides by the image's own deviation
        return None
    if found.shape != image.shape:
        return None
    scale = (2 * (high - low)).mean(dim=(0, 2, 3))
    linear = low + (image - 0.25).to(found) * scale[:, None, None]
    return tuple(scale.tolist()) if torch.allclose(linear, found, rtol=1e-3, atol=1e-3) else None


def _told(
    measure: Callable[[Tensor, Tensor], volumes.VolumeMetrics], images: Tensor, targets: Tensor, what: str
) -> volumes.VolumeMetrics:
    """Measured part by part, saying how long it takes if that is more than ten seconds."""
    if len(images) <= 4 * FIRST:
        return measure(images, targets)
    began = time.monotonic()
    parts = [measure(images[:FIRST], targets[:FIRST])]
    predicted = (time.monotonic() - began) / FIRST * len(images)
    step, say = len(images), None
    if predicted > SAID_ABOVE:
        step, say = max(FIRST, len(images) // 20), watching.line()
    for start in range(FIRST, len(images), step):
        if say:
            left = (time.monotonic() - began) / start * (len(images) - start)
            say(f"Measuring {what}: {start} of {len(images)} points, about {cost.duration(left)} left")
        parts.append(measure(images[start : start + step], targets[start : start + step]))
    if say:
        say(f"Measured {what}: {len(images)} points in {cost.duration(time.monotonic() - began)}", True)
    return volumes.VolumeMetrics(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _by_width(model: Any) -> dict[Any, nn.Module]:
    """Networks by increasing width, or by name in the order in which they were given."""
    if not isinstance(model, Mapping | nn.ModuleDict):
        return {1: model}
    networks = dict(model.items())
    if not networks:
        raise ConfigError("There is no network to examine.")
    if all(isinstance(name, str) for name in networks):
        return networks
    if any(isinstance(width, bool) or not isinstance(width, int | float | np.number) for width in networks):
        raise ConfigError(
            f"Several networks are told apart by their widths, all numbers, or by names, all text, not by {list(networks)}."
        )
    return dict(sorted(networks.items()))


def _sorted(table: pd.DataFrame, by: list[str], networks: Mapping[Any, Any]) -> pd.DataFrame:
    """With networks in their order."""
    places = {width: place for place, width in enumerate(networks)}
    return table.sort_values(by, ignore_index=True, key=lambda c: c.map(places) if c.name == "width" else c)


def _try(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    normalize: Callable[[Tensor], Tensor],
    loss: Loss | None,
    classes: int | None,
) -> None:
    """Evaluate the network on a few images, to say in one sentence what would make measuring it fail or mislead.

    Raises:
        DataError: if it does not take such images, mixes the images of a batch, or has other classes than a folder.
    """
    foreign.check_model(model)
    dtype, device = foreign.model_type(model)
    inputs = images.to(device=device, dtype=dtype or images.dtype)
    every, targets = targets, targets_for(targets[: len(images)], device, loss)

    def losses(part: slice) -> Tensor:
        return sharpness.evaluate_points(model, inputs[part], targets[part], loss).crossentropy

    with foreign.measuring(model, loss):
        inputs = normalize(inputs)
        if loss is None:
            outputs = foreign.outputs(model, inputs)
            if isinstance(outputs, Tensor) and outputs.ndim == 2 and classes not in (None, outputs.shape[1]):
                found = f"The folder holds {classes} classes and the network has {outputs.shape[1]} outputs"
                if classes > outputs.shape[1]:
                    raise DataError(f"{found}: name a folder of the network's classes, or give images and labels.")
                warnings.warn(
                    f"{found}: labels number the folder's classes in alphabetical order. If the network knows them by other "
                    "numbers, give images and labels.",
                    stacklevel=3,
                )
            if isinstance(outputs, Tensor):
                losses_of(outputs[:1], targets_for(every.max()[None], device, loss))  # the largest label fits
        together, again = losses(slice(None)), losses(slice(None))
        if not torch.isfinite(together).all():
            warnings.warn("The loss is NaN or infinite at some of the images: did training diverge?", stacklevel=3)
        if not torch.allclose(together, again, rtol=0, atol=0, equal_nan=True):
            warnings.warn(
                "The network gives another answer each time, in evaluation mode too: what is measured is random.",
                stacklevel=3,
            )
            return
        alone = torch.cat([losses(slice(i, i + 1)) for i in range(len(inputs))])
    if not torch.allclose(alone, together, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise DataError(
            "The network's answer to an image depends on the others of its batch (normalisation by the batch, also in "
            "evaluation mode?): its loss has no gradient per image."
        )
