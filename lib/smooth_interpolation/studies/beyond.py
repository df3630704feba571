"""What this book measures beyond the paper, of networks that runs have trained: made by one command, kept as verified files.

`results/beyond/<scale>/<experiment>-<study>.json` holds a table with the origin of every row. `python -m benchmarks.beyond`
makes it from the final weights in the cache.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from .. import config, files, locations
from ..config import Experiment, Run
from ..data.preparation import Prepared
from ..errors import RecordError
from ..measure import anchors, curvature, neighbours, sharpness, tangents, volumes
from ..runs import record_format, store

SCHEMA = 1  # of these files
N_POINTS = 100  # half of them noisy, if there are any
N_SAMPLES = 16  # of Hutchinson's estimate
FACTORS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of the step of Equation 5
N_DIFFERENCES = 16  # points at which differences are compared with derivatives
STRENGTHS = {"svd": (5, 10, 15, 20, 22, 25), "shift": (1, 2, 3, 4)}


@dataclass(frozen=True)
class Study:
    """A measured table, with where it comes from."""

    name: str  # a key of STUDIES
    experiment: Experiment
    table: pd.DataFrame  # width, seed, and what was measured
    origin: Mapping[str, Any]
    data: Mapping[str, Any]

    @property
    def threshold(self) -> int | None:
        """The interpolation threshold, of the records of the experiment's networks."""
        return store.threshold_of(store.read_all(self.experiment.runs()))

    @property
    def widths(self) -> list[int]:
        return sorted(self.table.width.unique().tolist())

    def remake(self) -> str:
        """The commands that make the table again, as Markdown."""
        file = f"params/{self.experiment.scale}/{self.experiment.experiment}.yaml"
        return f"To remake it: `smooth-interpolation sweep {file}`, then `python -m benchmarks.beyond {file} --only {self.name}`."

    def sentence(self) -> str:
        """Networks, data, machine and commit."""
        seeds = sorted(self.table.seed.unique())
        widths = self.table.width.nunique()
        origin, data = self.origin, self.data
        return (
            f"Scale `{self.experiment.scale}`: {widths} widths, seed{'s' if len(seeds) > 1 else ''} "
            f"{', '.join(map(str, seeds))}; {data['name']}, {data['source']}, "
            f"fingerprint `{data['fingerprint'][:12]}`. Measured on {origin['device_name']}, PyTorch {origin['torch']}, commit "
            f"`{(origin['commit'] or 'unknown')[:10]}`{' with changes' if origin['dirty'] else ''}."
        )


def some_points(data: Prepared, n: int = N_POINTS) -> torch.Tensor:
    """At most n of the measured points, evenly through the clean and the noisy ones (they are sorted by image)."""
    noisy = data.corrupted[data.points]
    chosen = []
    for part in (data.points[~noisy], data.points[noisy]):
        wanted = min(len(part), n // 2 if noisy.any() else n)
        if wanted:
            chosen.append(part[torch.linspace(0, len(part) - 1, wanted).round().long()])
    return torch.cat(chosen)


def measure_curvature(network: nn.Module, data: Prepared, run: Run) -> pd.DataFrame:
    """Curvature at points: Equation 5, its exact counterpart, the whole Hessian's norm, and the error of differences."""
    points = some_points(data)
    images, labels = data.train.images[points].float() / 255, data.train.labels[points]
    noisy = data.corrupted[points]
    inputs = data.normalize(images)
    jitters = tangents.draw_jitters(images, 1, run.n_tangents, run.data_seed)[:, 0]
    moved = data.normalize(tangents.apply_jitters(images, jitters))
    whole = curvature.hessian_frobenius_norm(network, inputs, labels, n_samples=N_SAMPLES, seed=run.data_seed)
    found = {
        "finite difference": sharpness.tangent_hessian_norm(network, inputs, moved, labels, run.delta),
        "exact tangent": curvature.exact_tangent_hessian_norm(network, inputs, moved, labels, run.delta),
        "whole Hessian": whole.norm,
        "whole Hessian, standard error": whole.error,
    }
    rows = []
    for subset, mask in (("clean", ~noisy), ("noisy", noisy)):
        rows += [
            {"metric": name, "subset": subset, "factor": None, "value": values[mask].double().mean().item()}
            for name, values in found.items()
            if mask.any()
        ]
    ranks = pd.DataFrame({name: values.double().numpy() for name, values in found.items()}).rank().corr()
    for one, other in (("exact tangent", "whole Hessian"), ("finite difference", "exact tangent")):
        value = float(ranks.loc[one, other])
        rows.append({"metric": f"rank correlation: {one}, {other}", "subset": "all", "factor": None, "value": value})
    few = torch.linspace(0, len(points) - 1, min(N_DIFFERENCES, len(points))).round().long()
    wide = copy.deepcopy(network).double()
    for precision, model, dtype in (("float32", network, torch.float32), ("float64", wide, torch.float64)):
        x, m = inputs[few].to(dtype), moved[few].to(dtype)
        errors = curvature.difference_errors(model, x, m, labels[few], list(FACTORS))
        for factor, values in zip(FACTORS, errors.flatten(1).nanmedian(1).values.tolist(), strict=True):
            rows.append({"metric": f"error, {precision}", "subset": "all", "factor": factor, "value": values})
    return pd.DataFrame(rows)


def measure_neighbours(network: nn.Module, data: Prepared, run: Run) -> pd.DataFrame:
    """Test errors by what is near, in the space of inputs and in that of features; see `neighbours.compare`."""
    train, test = (data.normalize(split.images.float() / 255) for split in (data.train, data.test))
    (train_features, _), (test_features, logits) = (
        neighbours.features(network, train),
        neighbours.features(network, test),
    )
    key = (data.dataset.fingerprint, len(train), len(test), run.data_seed)
    if key not in _near:
        _near.clear()
        _near[key] = neighbours.nearest(test, train, neighbours.NEAREST)
    near = {"input": _near[key], "features": neighbours.nearest(test_features, train_features, neighbours.NEAREST)}
    noisy, predicted, true = data.train.labels, logits.argmax(1), data.test.labels
    tables = [
        neighbours.compare(*found, data.corrupted, noisy, predicted, true, run.n_classes).assign(space=space)
        for space, found in near.items()
    ]
    return pd.concat(tables)


_near: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}  # of the inputs, which all networks share


def measure_paths(network: nn.Module, data: Prepared, run: Run) -> pd.DataFrame:
    """The four metrics over volumes of SVD paths and of shift paths, around the same points."""
    points = some_points(data)
    images, labels, noisy = data.train.images[points], data.train.labels[points], data.corrupted[points]
    rows = []
    for kind, strengths in STRENGTHS.items():
        parts = []
        near_settings = {"path_kind": kind, "strengths": list(strengths), "n_paths": run.n_paths}
        for part, near in anchors.shared(images, **near_settings, n_tangents=run.n_tangents, seed=run.data_seed):
            parts.append(
                volumes.neighbourhood_metrics(network, near, labels[part], normalize=data.normalize, delta=run.delta)
            )
        found = volumes.VolumeMetrics(*(torch.cat(values) for values in zip(*parts, strict=True)))
        for size, strength in enumerate((0, *strengths)):
            for metric, values in found._asdict().items():
                for subset, mask in (("clean", ~noisy), ("noisy", noisy)):
                    if mask.any():
                        rows.append((kind, size, strength, subset, metric, values[mask, size].mean().item()))
    return pd.DataFrame(rows, columns=["path_kind", "size", "strength", "subset", "metric", "value"])


def measure_silence(network: nn.Module, data: Prepared, run: Run) -> pd.DataFrame:
    """What is left of the last hidden layer, over all training images, in percent: images that no unit of it answers to, for
    which the network's output is its last bias whatever they show; units that answer to no image; the training error, and
    that of the silent images. And the norm of all weights."""
    seen, logits = neighbours.features(network, data.normalize(data.train.images.float() / 255))
    active, wrong = seen > 0, logits.argmax(1) != data.train.labels
    silent = ~active.any(1)
    found = {
        "silent images": silent,
        "dead units": ~active.any(0),
        "training error": wrong,
        "training error, silent images": wrong[silent],
    }
    rows = [(name, values.double().mean().item() * 100) for name, values in found.items() if len(values)]
    norm = torch.cat([weight.detach().double().flatten() for weight in network.parameters()]).norm().item()
    return pd.DataFrame([*rows, ("norm of the weights", norm)], columns=["quantity", "value"])


STUDIES: dict[str, Callable[[nn.Module, Prepared, Run], pd.DataFrame]] = {
    "curvature": measure_curvature,
    "neighbours": measure_neighbours,
    "paths": measure_paths,
    "silence": measure_silence,
}


def path_of(study: str, experiment: Experiment) -> Path:
    return locations.repository() / "results" / "beyond" / experiment.scale / f"{experiment.name}-{study}.json"


def write(
    study: str, experiment: Experiment, table: pd.DataFrame, data: Mapping[str, Any], origin: Mapping[str, Any]
) -> Path:
    """Keep a measured table, atomically, with its origin and a checksum."""
    columns = {name: [None if v != v else v for v in values] for name, values in table.to_dict("list").items()}
    content = {
        "schema": SCHEMA,
        "study": study,
        "experiment": _settings(experiment),
        "data": dict(data),
        "origin": dict(origin),
        "table": columns,
    }
    text = json.dumps({**content, "checksum": record_format.checksum(content)}, indent=None, allow_nan=False)
    path = path_of(study, experiment)
    files.write_atomically(path, lambda file: file.write(text.replace('], "', '],\n "').encode() + b"\n"))
    return path


def read(study: str, scale: str, experiment: str) -> Study:
    """A measured table, verified.

    Raises:
        RecordError: if there is none, or it is damaged, changed, or of other networks than the params file describes.
    """
    settings = config.find(scale, experiment)
    path = path_of(study, settings)
    remedy = f"python -m benchmarks.beyond params/{scale}/{experiment}.yaml --only {study} makes it"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        claimed = content.pop("checksum")
        kept, origin, data, table = (content[key] for key in ("experiment", "origin", "data", "table"))
    except OSError:
        raise RecordError(f"There is no {path}: {remedy}.") from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise RecordError(f"{path} is damaged: {remedy}.") from None
    if claimed != record_format.checksum(content):
        raise RecordError(f"{path} was changed after it was written: {remedy}.")
    if content["schema"] != SCHEMA or content["study"] != study or kept != _settings(settings):
        raise RecordError(f"{path} was made from another configuration than {settings.name} has now: {remedy}.")
    return Study(study, settings, pd.DataFrame(table), origin, data)


def _settings(experiment: Experiment) -> dict[str, Any]:
    """What the networks and the points depend on: everything but which of them were measured."""
    return {name: value for name, value in experiment.canonical().items() if name not in ("widths", "seeds")}
