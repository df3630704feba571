"""What a run writes down of its network: errors and sharpness while it trains, volumes at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Run
from ..data import preparation
from ..data.preparation import Prepared
from ..measure import anchors, volumes
from ..measure.foreign import full_precision
from ..measure.volumes import VolumeMetrics

AT_POINTS = ("jacobian_norm", "tangent_hessian_norm", "residual_norm", "sensitivity", "exact_fit")
KEPT_INPUTS = 1 << 29  # bytes; larger sets of normalised images are made anew at each evaluation


class Evaluator:
    """Evaluates networks of one run, or of several with the same data and measurement; what does not depend on them is made once."""

    def __init__(self, data: Prepared, config: Run, device: torch.device):
        self.data, self.config = data, config
        self.points, self.corrupted, self.noisy_share = data.measured
        self._inputs = {"train": self._keep(data.train.images, device), "test": self._keep(data.test.images, device)}
        # Copies: a view would keep its whole group in memory.
        near = [(group.anchors[:, :1].clone(), group.jitters[:, :1].clone()) for _, group in self._neighbourhoods()]
        self._anchors, self._jitters = (torch.cat(parts) for parts in zip(*near, strict=True))

    def epoch(self, model: nn.Module) -> dict[str, Any]:
        """Test and training error (percent) and crossentropy, and sharpness at the measured points, by subset."""
        data = self.data
        entry: dict[str, Any] = {}
        logits = self._logits(model, "test")
        wrong = (logits.argmax(1) != data.test.labels).double()
        entry["test_error"] = 100 * wrong.mean().item()
        entry["test_crossentropy"] = F.cross_entropy(logits, data.test.labels).item()
        if data.corrupted_classes:
            among = torch.isin(data.test.labels, torch.tensor(data.corrupted_classes))
            groups = {"corrupted_classes": wrong[among], "other_classes": wrong[~among]}
            entry["test_error_by_group"] = {name: 100 * w.mean().item() for name, w in groups.items() if len(w)}
        logits = self._logits(model, "train")
        wrong = (logits.argmax(1) != data.train.labels).double()
        losses = F.cross_entropy(logits, data.train.labels, reduction="none")
        subsets = {"all": torch.ones_like(data.corrupted), "clean": ~data.corrupted, "noisy": data.corrupted}
        for name, values, unit in (("train_error", wrong, 100), ("train_crossentropy", losses, 1)):
            entry[name] = {s: unit * values[mask].mean().item() for s, mask in subsets.items() if mask.any()}
        near = self._anchors, self._jitters, self.points.labels
        metrics = volumes.anchor_metrics(model, *near, data.normalize, self.config.delta)
        for name in AT_POINTS:
            summary = volumes.summarise(getattr(metrics, name)[:, 0], self.corrupted, self.noisy_share)
            entry[name] = {subset: values["mean"] for subset, values in summary.items()}
        return entry

    def volumes(
        self, model: nn.Module, progress: Callable[[int, int], None] = lambda done, n: None
    ) -> list[dict[str, Any]]:
        """Mean and standard deviation over points of every metric, by volume size and subset; told are points done, and all."""
        whole = self.at_points(model, progress)
        n_points = len(self.points)
        counts = {"all": n_points, "clean": int((~self.corrupted).sum()), "noisy": int(self.corrupted.sum())}
        rows = []
        for size, strength in enumerate((0, *self.config.strengths)):
            summaries = {
                metric: volumes.summarise(values[:, size], self.corrupted, self.noisy_share)
                for metric, values in whole._asdict().items()
            }
            for subset in summaries["accuracy"]:
                row = {"size": size, "strength": strength, "subset": subset, "n_points": counts[subset]}
                rows.append({**row, **{metric: summary[subset] for metric, summary in summaries.items()}})
        return rows

    def at_points(self, model: nn.Module, progress: Callable[[int, int], None] = lambda done, n: None) -> VolumeMetrics:
        """Every metric of each point, over every volume size: (N, K + 1) each, as `volumes.volume_metrics`."""
        parts, n_points = [], len(self.points)
        how: dict[str, Any] = {"normalize": self.data.normalize, "delta": self.config.delta}
        for part, near in self._neighbourhoods():
            parts.append(volumes.neighbourhood_metrics(model, near, self.points.labels[part], **how))
            progress(min(part.stop, n_points), n_points)
        return VolumeMetrics(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _neighbourhoods(self) -> Iterator[tuple[slice, anchors.Neighbourhood]]:
        config = self.config
        return anchors.shared(
            self.points.images,
            path_kind=config.path_kind,
            strengths=list(config.strengths),
            n_paths=config.n_paths,
            n_tangents=config.n_tangents,
            seed=config.data_seed,
        )

    def _keep(self, images: Tensor, device: torch.device) -> Tensor:
        """The images on the device: normalised if they are few, as they are otherwise."""
        if images.numel() * 4 > KEPT_INPUTS:
            return images.to(device)
        parts = [preparation.network_inputs(part, self.data.normalize, device) for part in images.split(1000)]
        return torch.cat(parts)

    def _logits(self, model: nn.Module, which: str) -> Tensor:
        return predict(model, self._inputs[which], self.data.normalize).double().cpu()


@torch.no_grad()
@full_precision()
def predict(model: nn.Module, images: Tensor, normalize: preparation.Normalization) -> Tensor:
    """Logits (N, n_classes), float32, in evaluation mode; the training mode is put back.
    Images are (N, C, H, W), uint8, or floating point and normalised already, see `network_inputs`.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        parts = images.split(64 if device.type == "cpu" else 4096)
        raw = images.dtype == torch.uint8
        ready = (preparation.network_inputs(x, normalize, device) if raw else x.to(device) for x in parts)
        return torch.cat([model(x) for x in ready])
    finally:
        model.train(was_training)
