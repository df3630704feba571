"""One run from configuration to record: load the data, train, evaluate, measure."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import files, locations, models, provenance, store, training, volumes
from .config import SCHEMA, Measurement, Run
from .errors import ConfigError, RecordError
from .preparation import Prepared, prepare

log = logging.getLogger(__name__)
MEASURE_BATCH = 64  # images per call of the progress display while measuring


@dataclass(frozen=True)
class Status:
    """What a run is doing, for progress displays."""

    stage: str  # "train" or "measure"
    done: int
    total: int
    loss: float = float("nan")
    error: float = float("nan")  # of the epoch's batches, in percent


Watch = Callable[[Status], None]


def run(
    config: Run,
    *,
    device: str = "auto",
    threads: int = 1,
    watch: Watch = lambda status: None,
    prepared: Prepared | None = None,
) -> store.Record:
    """Train and measure one network.

    Args:
        config: what to do.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or another of PyTorch's names.
        threads: CPU threads; records are equal bit by bit only for the same number.
        watch: called after every epoch and every few measured images.
        prepared: the data, if it is at hand already.

    Returns:
        The record, not yet written. The final weights are in the cache, see `network`.

    Raises:
        UserError: for what a user can mend; nothing has been trained then.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _run(config, choose_device(device), watch, prepared)
    finally:
        torch.set_num_threads(threads_before)


def _run(config: Run, place: torch.device, watch: Watch, prepared: Prepared | None) -> store.Record:
    origin = {
        **provenance.code(),
        **provenance.machine(place),
        "precision": config.precision,
        "start": provenance.now(),
    }
    data = prepared or prepare(config)
    model = models.create(config.model, config.width, config.n_classes, config.seed).to(place)
    evaluate = set(training.evaluation_epochs(config.epochs, config.n_evaluations))
    history: list[dict[str, Any]] = []
    seconds = {"evaluate": 0.0, "measure": 0.0}
    began = time.perf_counter()
    epochs_run = 0

    def after_epoch(progress: training.Progress) -> None:
        nonlocal epochs_run
        epochs_run = progress.epoch
        if progress.epoch in evaluate and not progress.diverged:
            started = time.perf_counter()
            history.append({"epoch": progress.epoch, **evaluate_network(model, data, config)})
            seconds["evaluate"] += time.perf_counter() - started
        watch(Status("train", progress.epoch, config.epochs, progress.loss, progress.error))

    complete = training.train(
        model,
        data.train.images,
        data.train.labels,
        config,
        normalize=data.normalize,
        seed=config.seed,
        after_epoch=after_epoch,
    )
    seconds["train"] = time.perf_counter() - began - seconds["evaluate"]
    measured = None
    if complete:
        save_network(model, config)
        started = time.perf_counter()
        measured = measure_volumes(model, data, config, watch)
        seconds["measure"] = time.perf_counter() - started
    origin |= {
        "end": provenance.now(),
        "wall_s": {stage: round(value, 2) for stage, value in seconds.items()},
        "images_per_s": round(epochs_run * len(data.train) / seconds["train"], 1),
        "peak_memory_mib": provenance.peak_memory_mib(place),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return {
        "schema": SCHEMA,
        "status": "complete" if complete else "diverged",
        "digest": config.digest,
        "config": config.model_dump(mode="json"),
        "data": {
            "name": data.dataset.name,
            "source": data.dataset.source,
            "fingerprint": data.dataset.fingerprint,
            "n_train": len(data.train),
            "n_test": len(data.test),
            "n_corrupted": int(data.corrupted.sum()),
            "corrupted_classes": list(data.corrupted_classes),
            "mean": list(data.normalize.mean),
            "std": list(data.normalize.std),
        },
        "epochs_run": epochs_run,
        "history": history,
        "volumes": measured,
        "provenance": origin,
    }


def evaluate_network(model: nn.Module, data: Prepared, config: Run) -> dict[str, Any]:
    """Test and training error (percent) and crossentropy, and sharpness at the measured points, by subset."""
    entry: dict[str, Any] = {}
    logits = training.predict(model, data.test.images, data.normalize).double().cpu()
    wrong = (logits.argmax(1) != data.test.labels).double()
    entry["test_error"] = 100 * wrong.mean().item()
    entry["test_crossentropy"] = F.cross_entropy(logits, data.test.labels).item()
    if data.corrupted_classes:
        among = torch.isin(data.test.labels, torch.tensor(data.corrupted_classes))
        groups = {"corrupted_classes": wrong[among], "other_classes": wrong[~among]}
        entry["test_error_by_group"] = {name: 100 * w.mean().item() for name, w in groups.items() if len(w)}
    logits = training.predict(model, data.train.images, data.normalize).double().cpu()
    wrong = (logits.argmax(1) != data.train.labels).double()
    losses = F.cross_entropy(logits, data.train.labels, reduction="none")
    subsets = {"all": torch.ones_like(data.corrupted), "clean": ~data.corrupted, "noisy": data.corrupted}
    for name, values, unit in (("train_error", wrong, 100), ("train_crossentropy", losses, 1)):
        entry[name] = {s: unit * values[mask].mean().item() for s, mask in subsets.items() if mask.any()}
    points = data.train[data.points]
    metrics = volumes.point_metrics(
        model,
        points.images.float() / 255,
        points.labels,
        normalize=data.normalize,
        n_tangents=config.n_tangents,
        delta=config.delta,
        seed=config.data_seed,
    )
    for name in ("jacobian_norm", "tangent_hessian_norm"):
        summary = summarise(metrics[name], data.corrupted[data.points], data.corrupted.double().mean().item())
        entry[name] = {subset: values["mean"] for subset, values in summary.items()}
    return entry


def measure_volumes(
    model: nn.Module, data: Prepared, config: Run, watch: Watch = lambda status: None
) -> list[dict[str, Any]]:
    """Mean and standard deviation over points of the four metrics, for each volume size and subset."""
    points, corrupted = data.train[data.points], data.corrupted[data.points]
    share = data.corrupted.double().mean().item()
    collected: dict[str, list[Tensor]] = {metric: [] for metric in volumes.METRICS}
    done = 0
    for part in torch.arange(len(points)).split(MEASURE_BATCH):
        metrics = volumes.volume_metrics(
            model,
            points.images[part].float() / 255,
            points.labels[part],
            normalize=data.normalize,
            strengths=config.strengths,
            n_paths=config.n_paths,
            n_tangents=config.n_tangents,
            delta=config.delta,
            seed=config.data_seed,
            path_kind=config.path_kind,
        )
        for metric, values in metrics._asdict().items():
            collected[metric].append(values)
        done += len(part)
        watch(Status("measure", done, len(points)))
    whole = {metric: torch.cat(values) for metric, values in collected.items()}
    rows = []
    for size, strength in enumerate((0, *config.strengths)):
        summaries = {metric: summarise(values[:, size], corrupted, share) for metric, values in whole.items()}
        counts = {"all": len(points), "clean": int((~corrupted).sum()), "noisy": int(corrupted.sum())}
        for subset in summaries["accuracy"]:
            row = {"size": size, "strength": strength, "subset": subset, "n_points": counts[subset]}
            rows.append({**row, **{metric: summary[subset] for metric, summary in summaries.items()}})
    return rows


def summarise(values: Tensor, corrupted: Tensor, noisy_share: float) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over points, for clean, noisy and all of them.

    Points are stratified; 'all' weights the two strata back to the true share of noisy points. It is absent if a
    stratum that the data has was not measured.
    """
    strata = {"clean": values[~corrupted], "noisy": values[corrupted]}
    weights = {"clean": 1 - noisy_share, "noisy": noisy_share}
    moments = {s: (v.mean().item(), (v**2).mean().item()) for s, v in strata.items() if len(v)}
    if all(s in moments for s, weight in weights.items() if weight > 0):
        moments["all"] = tuple(sum(weights[s] * m[i] for s, m in moments.items()) for i in (0, 1))
    return {
        s: {"mean": mean, "std": max(0.0, square - mean**2) ** 0.5} for s, (mean, square) in sorted(moments.items())
    }


def choose_device(name: str = "auto") -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(f"There is no device '{name}' here: use cpu, or auto to take what there is.") from None
    return device


def weights_path(config: Run) -> Path:
    """Where the final weights of this run are kept: the same for all ways of measuring it."""
    values = config.model_dump(mode="json", exclude=set(Measurement.model_fields) | {"overrides"})
    key = hashlib.sha256(json.dumps([SCHEMA, values], sort_keys=True).encode()).hexdigest()[:16]
    return locations.cache() / "weights" / f"{config.experiment}-w{config.width:03d}-s{config.seed}-{key}.safetensors"


def save_network(model: nn.Module, config: Run) -> None:
    """Keep the weights in the cache; a full disk there is no reason to lose the record."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        files.write_tensors(weights_path(config), tensors, {"run": str(config)})
    except OSError as error:
        log.warning("The final weights of %s could not be kept (%s).", config, error.strerror)


def network(config: Run) -> nn.Module:
    """The trained network of a run, from the cache, on the CPU.

    Raises:
        RecordError: if its weights are not there.
    """
    path = weights_path(config)
    model = models.create(config.model, config.width, config.n_classes, config.seed)
    try:
        tensors, _ = files.read_tensors(path)
        model.load_state_dict(tensors)
    except (OSError, ValueError, RuntimeError):
        raise RecordError(f"No weights of {config} in the cache ({path.parent}): run it again to make them.") from None
    return model
