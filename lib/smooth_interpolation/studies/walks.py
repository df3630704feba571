"""What networks below, at and beyond the threshold see along paths from typical training images, computed from their weights.

The images, a few of those that are measured, lie beside the records as `walk.png`, with their labels and origin in its
text; `python -m benchmarks.typical_images` chooses them. The networks are those whose final weights are kept there, too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import RecordError
from ..runs import resources, store
from ..runs.records import Records

if TYPE_CHECKING:
    from torch import Tensor, nn

ABOUT = "about"  # the key of the image file's text
SUBSTEPS = 4  # of a segment of a path
N_PATHS = 2


@dataclass(frozen=True)
class Walk:
    """Images on their way, and what networks see of them.

    Attributes:
        anchors: (N, P, K + 1, 3, H, W), in [0, 1].
        seen: a row per image, path, width and step: position, in augmentations, predicted, probability (of the label), loss
            and jacobian.
        titles: of the images, such as "a cat, trained on as dog".
        about: the images' classes, labels, indices and origin.
        networks: names of the widths, such as "w = 32, the threshold".
        strengths: of the anchors.
    """

    anchors: Tensor
    seen: pd.DataFrame
    titles: tuple[str, ...]
    about: dict[str, Any]
    networks: dict[int, str]
    strengths: tuple[int, ...]


def images_path(runs: Records) -> Path:
    """Where the images of an experiment lie."""
    return store.path_of(runs.experiment.runs()[0]).with_name("walk.png")


@resources.threads(1)  # several wait for each other longer than they compute, where much else is done
def walk(runs: Records) -> Walk | None:
    """The walk of an experiment; None if no images or weights are kept beside its records.

    Raises:
        RecordError: if the images are not of the records' data.
    """
    import torch
    from PIL import Image

    from ..data.preparation import Normalization
    from ..measure.paths import svd_paths
    from ..runs import weights

    e, kept = runs.experiment, images_path(runs)
    widths = [r["config"]["width"] for r in runs if weights.committed_path(e.run(r["config"]["width"], 0)).exists()]
    if not kept.is_file() or not widths:
        return None
    with Image.open(kept) as file:
        about, pixels = json.loads(file.text[ABOUT]), np.asarray(file.convert("RGB"))  # type: ignore[attr-defined]
    if about["data"]["fingerprint"] != runs[0]["data"]["fingerprint"]:
        raise RecordError(f"{kept} is of other data than the records beside it: python -m benchmarks.typical_images")
    images = torch.from_numpy(pixels.copy()).unflatten(1, (len(about["labels"]), -1)).permute(1, 3, 0, 2).float() / 255
    normalize = Normalization(tuple(about["data"]["mean"]), tuple(about["data"]["std"]))
    anchors = svd_paths(images, e.strengths, n_paths=N_PATHS)
    between = torch.linspace(0, 1, SUBSTEPS + 1)[:-1, None, None, None]
    tables = []
    for width in sorted(set(widths)):
        network = weights.network(e.run(width, 0))
        for i, (paths, label) in enumerate(zip(anchors, about["labels"], strict=True)):
            for p, path in enumerate(paths):
                steps = torch.cat([*(a + between * (b - a) for a, b in pairwise(path)), path[-1:]])
                seen = pd.DataFrame(_seen(network, normalize(steps), label))
                seen["position"] = seen.index / SUBSTEPS
                tables.append(seen.assign(image=i, path=p, width=width))
    return Walk(
        anchors=anchors,
        seen=pd.concat(tables, ignore_index=True),
        titles=tuple(
            _title(*(about["classes"][i] for i in pair)) for pair in zip(about["truth"], about["labels"], strict=True)
        ),
        about=about,
        networks={w: f"w = {w}, {_place(w, runs.threshold)}" for w in sorted(set(widths))},
        strengths=(0, *e.strengths),
    )


def _title(truth: str, label: str) -> str:
    article = "an" if truth[0] in "aeiou" else "a"
    return f"{article} {truth}, " + ("its own label" if truth == label else f"trained on as {label}")


def _place(width: int, threshold: int | None) -> str:
    if threshold is None:
        return "no threshold"
    return "below" if width < threshold else "the threshold" if width == threshold else "beyond"


def _seen(network: nn.Module, inputs: Tensor, label: int) -> dict[str, Any]:
    """What a network makes of inputs on a path: its class, the label's probability, the loss and the Jacobian norm."""
    import torch

    from ..measure.sharpness import jacobian_norm

    labels = torch.full((len(inputs),), label)
    with torch.inference_mode():
        logits = network.eval()(inputs).double()
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return {
        "predicted": logits.argmax(1),
        "probability": torch.exp(-loss),
        "loss": loss,
        "jacobian": jacobian_norm(network, inputs, labels),
    }
