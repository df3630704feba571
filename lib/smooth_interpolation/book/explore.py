"""The book's instruments: a figure of volumes at a width, a heatmap to point at, a walk along a path of images.

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
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import figures
from ..studies.walks import SUBSTEPS, Walk

if TYPE_CHECKING:
    from torch import Tensor

SUBSETS = {"all": "all points", "clean": "clean labels", "noisy": "noisy labels"}
SEEN = ("predicted", "probability", "loss", "jacobian")


class Instrument:
    """HTML that the book's script brings to life."""

    def __init__(self, kind: str, title: str, data: Mapping[str, Any]):
        self.kind, self.data = kind, {"title": title, **data}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        # LaTeX takes Markdown before plain text, and sees nothing: the figure above is the first state.
        return {"text/html": self._repr_html_(), "text/markdown": "<!-- moves -->", "text/plain": repr(self)}

    def _repr_html_(self) -> str:
        content = json.dumps(self.data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
        label = html.escape(self.data["title"])
        return (
            f'<div class="explore" data-kind="{self.kind}" role="group" aria-label="{label}" hidden>'
            f'<script type="application/json">{content}</script></div>'
        )

    def __repr__(self) -> str:
        return f"{self.data['title']} (in the built book)"


def volumes(
    table: pd.DataFrame,
    thresholds: Mapping[str, int | None],
    width: int | None = None,
    *,
    subsets: Sequence[str] = ("all",),
    forgotten: Sequence[int] = (),
    unit: str = "singular values erased",
) -> Instrument | None:
    """Choose a width, and see what a figure of volumes has there, on the figure's own axes. None without rows.

    `thresholds` are by the training error that they allow, such as "0%"; the first is the one that decides, and shown at first
    unless a width is. The `forgotten` widths, see `moments.forgotten`, are crosses beside the curves.
    """
    table = table[table.subset.isin(subsets)]
    if table.empty:
        return None
    widths, strengths = (sorted(table[name].unique().tolist()) for name in ("width", "strength"))
    means = table.groupby(["metric", "subset", "width", "strength"])["mean"].mean()
    metrics = [
        {
            "title": title,
            "values": [
                [[_number(means.get((metric, subset, w, k))) for w in widths] for k in strengths] for subset in subsets
            ],
        }
        for metric, title in figures.PANELS.items()
    ]
    data = {
        "widths": widths,
        "apart": [widths.index(w) for w in forgotten if w in widths],
        "log": figures.geometric(widths),
        "strengths": strengths,
        "unit": unit,
        "colours": figures.sequence(len(strengths) - 1),
        "thresholds": list(thresholds.items()),
        "start": _start(widths, width, next(iter(thresholds.values()))),
        "subsets": [SUBSETS[name] for name in subsets],
        "metrics": metrics,
    }
    return Instrument("volumes", "Choose a width, and how much training error the threshold allows", data)


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


def walk(walk: Walk) -> Instrument:
    """Walk along SVD paths, and see the image, and the predictions, the loss and the Jacobian norm of each network."""
    told = []
    for i, title in enumerate(walk.titles):
        paths = []
        for _, on_path in walk.seen[walk.seen.image == i].groupby("path"):
            networks = [
                {name: [_number(v) for v in part[name]] for name in SEEN} for _, part in on_path.groupby("width")
            ]
            paths.append(networks)
        told.append({"title": title, "sprite": _sprite(walk.anchors[i].flatten(0, 1)), "paths": paths})
    data = {
        "networks": list(walk.networks.values()),
        "classes": walk.about["classes"],
        "examples": told,
        "strengths": walk.strengths,
        "substeps": SUBSTEPS,
    }
    return Instrument("walk", "Walk along a path: what the networks see", data)


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
