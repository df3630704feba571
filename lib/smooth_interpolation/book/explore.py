"""The book's instruments: a width's metrics along the volume, a heatmap to point at, a walk along a path of images.

Each is data as JSON inside an element that stays hidden until the book's `_static/explore.js` draws it. Where that does not
run, in a notebook or on paper, the figure beside it says the same.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import figures
from ..errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.preparation import Prepared

SUBSETS = {"all": "all points", "clean": "clean labels", "noisy": "noisy labels"}
SUBSTEPS = 4  # of a segment of a path


class Instrument:
    """HTML that the book's script brings to life."""

    def __init__(self, kind: str, title: str, data: Mapping[str, Any]):
        self.kind, self.data = kind, {"title": title, **data}

    def _repr_html_(self) -> str:
        content = json.dumps(self.data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
        label = html.escape(self.data["title"])
        return (
            f'<div class="explore" data-kind="{self.kind}" role="group" aria-label="{label}" hidden>'
            f'<script type="application/json">{content}</script></div>'
        )

    def __repr__(self) -> str:
        return f"{self.data['title']} (in the built book)"


def volumes(table: pd.DataFrame, threshold: int | None = None, width: int | None = None) -> Instrument | None:
    """Choose a width and see every metric along the volume: means over points and seeds. None without rows.

    Args:
        table: from `store.volumes_table`.
        threshold: drawn dotted.
        width: chosen at first; else the threshold.
    """
    if table.empty:
        return None
    widths, sizes = sorted(table["width"].unique().tolist()), sorted(table["size"].unique().tolist())
    subsets = [name for name in SUBSETS if name in set(table.subset)]
    means = table.groupby(["metric", "subset", "width", "size"])["mean"].mean()
    metrics = [
        {
            "title": title,
            "values": {
                subset: [[_number(means.get((metric, subset, w, size))) for size in sizes] for w in widths]
                for subset in subsets
            },
        }
        for metric, title in figures.PANELS.items()
    ]
    data = {
        "widths": widths,
        "sizes": sizes,
        "threshold": threshold,
        "start": _start(widths, width, threshold),
        "subsets": [{"name": name, "title": SUBSETS[name]} for name in subsets],
        "metrics": metrics,
    }
    return Instrument("volumes", "Choose a width: its metrics along the volume", data)


def heatmap(history: pd.DataFrame, threshold: int | None = None, width: int | None = None) -> Instrument | None:
    """Point at a cell of Figure 5: its number, and the course over the epochs at its width. None without rows."""
    whole = history[(history.subset == "all") & history.metric.isin(figures.HEATMAPS)]
    if whole.empty:
        return None
    widths = sorted(whole.width.unique().tolist())
    epochs = sorted(epoch for epoch in whole.epoch.unique().tolist() if epoch > 0)
    means = whole.groupby(["metric", "width", "epoch"]).value.mean()
    metrics = [
        {
            "title": title,
            "log": metric != "test_error",
            "values": [[_number(means.get((metric, w, epoch))) for epoch in epochs] for w in widths],
        }
        for metric, title in figures.HEATMAPS.items()
    ]
    data = {
        "widths": widths,
        "epochs": epochs,
        "threshold": threshold,
        "start": _start(widths, width, threshold),
        "metrics": metrics,
    }
    return Instrument("heatmap", "Point at a network and an epoch", data)


def walk(
    networks: Mapping[str, nn.Module], prepared: Prepared, examples: Mapping[str, int], *, n_paths: int = 4
) -> Instrument:
    """Walk along SVD paths, and see the image, the predictions, the loss and the Jacobian norm of up to four networks.

    Args:
        networks: by a name such as "w = 8, the threshold".
        prepared: the images and the labels that the networks were trained on, from `runs.prepare`.
        examples: indices of training images, by a name such as "a wrong label".

    Raises:
        ConfigError: for no network or example, or more than four networks.
    """
    import torch

    from ..measure.paths import svd_paths

    if not 1 <= len(networks) <= 4 or not examples:
        raise ConfigError(f"{len(networks)} networks and {len(examples)} images: one to four, and at least one.")
    told = []
    for title, index in examples.items():
        image, label = prepared.train.images[index].float() / 255, prepared.train.labels[index]
        anchors = svd_paths(image[None], n_paths=n_paths)[0]  # (P, K + 1, C, H, W)
        between = torch.linspace(0, 1, SUBSTEPS + 1)[:-1, None, None, None]
        segments = [torch.cat([a + between * (b - a) for a, b in pairwise(path)]) for path in anchors]
        steps = [torch.cat([inside, path[-1:]]) for inside, path in zip(segments, anchors, strict=True)]
        k = anchors.shape[1]
        told.append(
            {
                "title": title,
                "label": int(label),
                "truth": int(prepared.dataset.train.labels[index]),
                "sprite": _sprite(anchors.flatten(0, 1)),
                "paths": [
                    {
                        "anchors": list(range(p * k, (p + 1) * k)),
                        "networks": [_seen(network, prepared.normalize(x), label) for network in networks.values()],
                    }
                    for p, x in enumerate(steps)
                ],
            }
        )
    data = {"networks": list(networks), "examples": told, "substeps": SUBSTEPS, "steps": len(steps[0])}
    return Instrument("walk", "Walk along a path: what the networks see", data)


def _seen(network: nn.Module, inputs: Tensor, label: Tensor) -> dict[str, list[Any]]:
    """What a network makes of inputs on a path: its class, the label's probability, the loss and the Jacobian norm."""
    import torch

    from ..measure.sharpness import jacobian_norm

    labels = label.expand(len(inputs))
    with torch.inference_mode():
        logits = network.eval()(inputs).double()
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return {
        "predicted": logits.argmax(1).tolist(),
        "probability": [_number(p) for p in torch.exp(-loss).tolist()],
        "loss": [_number(value) for value in loss.tolist()],
        "jacobian": [_number(value) for value in jacobian_norm(network, inputs, labels).tolist()],
    }


def _sprite(images: Tensor) -> str:
    """Images (N, C, H, W) in [0, 1] side by side, as the address of one PNG."""
    from PIL import Image

    pixels = (images.clamp(0, 1) * 255).round().byte().permute(2, 0, 3, 1).flatten(1, 2).numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    content = buffer.getvalue()
    return f"data:image/png;name=path.png;base64,{base64.b64encode(content).decode()}"


def _start(widths: Sequence[int], width: int | None, threshold: int | None) -> int:
    """The index of the width shown at first."""
    return next((widths.index(w) for w in (width, threshold) if w in widths), len(widths) - 1)


def _number(value: float | None) -> float | None:
    """Four digits, which no screen resolves; JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
