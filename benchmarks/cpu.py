"""On one CPU thread: this library against the first version of `baseline`, and against what the machine can do.

Tried once and given up as slower, with the numbers in `results/cpu.json` (`explorations`; the code is in the commit that they name):
Winograd convolutions (NNPACK), `torch.compile`, forward-over-reverse differentiation, other chunks, micro-batches in training.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smooth_interpolation import config
from smooth_interpolation.cli import options
from smooth_interpolation.data import preparation
from smooth_interpolation.measure import anchors, volumes
from smooth_interpolation.runs import sweep
from smooth_interpolation.train import loop, models
from smooth_interpolation.train.evaluation import Evaluator
from smooth_interpolation.train.step import Recipe

from . import baseline, flops, many, timing
from .gpu import NORMALIZE, data_of, random_images

PATHS = {"strengths": [5, 10, 15, 20, 22, 25], "n_paths": 4, "n_tangents": 4, "seed": 0}


def settings_of(**changes: Any) -> config.Experiment:
    return config.find("laptop", "convnet-noise20", changes)


def trainer_of(width: int, images: Tensor, labels: Tensor, precision: str = "bf16", **options: Any) -> loop.Trainer:
    settings = settings_of(precision=precision, epochs=100_000)
    data = data_of(images, labels, precision, "cpu")
    return loop.Trainer(models.create("convnet", width, 10, 0), data, Recipe.of(settings), 0, **options)


def epoch(trainer: loop.Trainer) -> None:
    trainer.launch()
    trainer.finish()


def ceilings(quick: bool) -> dict[str, float]:
    """What one thread's multipliers can do."""
    sizes = {"sides": (64,), "repetitions": 1} if quick else {}
    found = {
        f"matrix product, {name}, FLOP/s": timing.matrix_product_rate(dtype, **sizes)
        for name, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32))
    }
    print(*(f"{name}: {value:.3g}" for name, value in found.items()), sep="\n", flush=True)
    return found


def training_rates(quick: bool) -> list[dict[str, Any]]:
    """Images per second of the two training loops, once their losses are known to agree."""
    rows = []
    for width in [1, 2] if quick else [1, 2, 4, 8, 16, 32]:
        n = 128 if quick else max(256, 4096 // (1 + width) // 128 * 128)
        images, labels = random_images(n)
        settings = settings_of(epochs=2, precision="fp32")
        theirs = list(baseline.train(models.create("convnet", width, 10, 0), images, labels, settings, NORMALIZE, 0))
        ours: list[float] = []
        loop.train(
            models.create("convnet", width, 10, 0), images, labels, **vars(Recipe.of(settings)), normalize=NORMALIZE,
            after_epoch=lambda progress, losses=ours: losses.append(progress.loss),
        )  # fmt: skip
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-4, atol=0)
        endless = settings_of(epochs=100_000)
        first = baseline.train(models.create("convnet", width, 10, 0), images, labels, endless, NORMALIZE, 0)
        trainer = trainer_of(width, images, labels)
        times = timing.alternate(
            {"baseline": partial(next, first), "library": partial(epoch, trainer)}, 1 if quick else 7
        )
        work = flops.count(models.ConvNet(width)).step
        row = {"width": width, "ratio": timing.ratio(times["baseline"], times["library"]), "flop": work}
        rows.append(row | {name: timing.rate(n, t) for name, t in times.items()})
        _say("training", rows[-1], "images/s")
    return rows


def measuring_rates(quick: bool) -> list[dict[str, Any]]:
    """Points per second, all four metrics over seven volumes, once the metrics are known to agree.

    The library's paths come from the cache, where an earlier network left them; the baseline has no such place.
    """
    rows = []
    for width in [1] if quick else [1, 2, 4, 8, 16, 32]:
        n = 2 if quick else max(4, 32 // width)
        images, labels = random_images(n)
        x = images.float() / 255
        near = anchors.make(x, **PATHS)
        plain, ours = (models.create("convnet", width, 10, 0) for _ in range(2))
        ours = ours.to(memory_format=torch.channels_last)
        slow = partial(baseline.volume_metrics, plain, x, labels, normalize=NORMALIZE, delta=0.1, **PATHS)

        def fast(images: Tensor = images, labels: Tensor = labels, model: torch.nn.Module = ours) -> list:
            found = anchors.shared(images, path_kind="svd", **PATHS)
            return [
                volumes.neighbourhood_metrics(model, near, labels[part], normalize=NORMALIZE) for part, near in found
            ]

        expected, found = slow(), volumes.neighbourhood_metrics(ours, near, labels, normalize=NORMALIZE)
        for metric in set(expected) - {"accuracy"}:
            # Where a ReLU is within rounding of its kink, float32 decides either way: so the median, and the mean.
            torch.testing.assert_close(getattr(found, metric).median(), expected[metric].median(), rtol=1e-3, atol=0)
            torch.testing.assert_close(getattr(found, metric).mean(), expected[metric].mean(), rtol=1e-2, atol=0)
        times = timing.alternate({"baseline": slow, "library": fast}, 1 if quick else 7)
        work = flops.count(models.ConvNet(width)).gradient * 25 * 5
        row = {"width": width, "ratio": timing.ratio(times["baseline"], times["library"]), "flop": work}
        rows.append(row | {name: timing.rate(n, t) for name, t in times.items()})
        _say("measuring", rows[-1], "points/s")
    return rows


def epoch_shares(quick: bool) -> list[dict[str, Any]]:
    """Errors and sharpness during training as a share of training, at laptop scale: a fifth of its images and points."""
    rows = []
    share = 5
    settings = settings_of(dataset="dead_leaves", n_train=4000 // share, n_test=10_000 // share,
                           n_clean_points=250 // share, n_noisy_points=250 // share)  # fmt: skip
    data = preparation.prepare(settings)
    n_evaluations = len(loop.evaluation_epochs(settings.epochs, settings.n_evaluations, settings.n_last_evaluations))
    for width in [1] if quick else [1, 4, 8, 24]:
        evaluator = Evaluator(data, settings.run(width, 0), torch.device("cpu"))
        trainer = trainer_of(width, data.train.images, data.train.labels)
        times = timing.alternate(
            {"evaluation": partial(evaluator.epoch, trainer.model), "epoch": partial(epoch, trainer)}, 1 if quick else 5
        )
        found = timing.ratio(
            [t * n_evaluations for t in times["evaluation"]], [t * settings.epochs for t in times["epoch"]]
        )
        rows.append({"width": width, "share": found})
        print(f"evaluating during training, w = {width}: {found['median']:.1%} of training", flush=True)
    return rows


def core_scaling(quick: bool) -> dict[str, Any]:
    """A sweep of independent runs on all cores against one, start of the processes included."""
    cores = options.cores()
    changes = {"epochs": 2 if quick else 20, "n_evaluations": 2, "n_clean_points": 10, "n_noisy_points": 10}
    experiment = config.find("demo", "convnet-noise20", changes)
    todo = [experiment.run(1 if quick else 8, seed) for seed in range(2 * cores)]
    preparation.prepare(experiment)

    def swept(workers: int) -> None:
        with tempfile.TemporaryDirectory() as root:
            outcome = sweep.sweep(todo, workers=workers, root=Path(root), device="cpu")
            assert len(outcome.complete) == len(todo), outcome.failed

    cases = {"one": partial(swept, 1), "all": partial(swept, cores)}
    times = timing.alternate(cases, 1 if quick else 3, warm_up=False)
    found = {"cores": cores, "runs": len(todo), "speed-up": timing.ratio(times["one"], times["all"])}
    # The same work without a sweep: what the memory and the clock of the machine leave of a second core.
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(_product_seconds, [0.1] * cores)
        alone = pool.apply(_product_seconds, (1.0,))
        together = pool.map(_product_seconds, [1.0] * cores)
    found["matrix products"] = sum(together) / alone
    print(
        f"{cores} cores: {found['speed-up']['median']:.2f} x one; products {found['matrix products']:.2f} x", flush=True
    )
    return found


def _product_seconds(seconds: float) -> float:
    """Matrix products done in so many seconds."""
    import time

    torch.set_num_threads(1)
    a = torch.randn(512, 512)
    end, done = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        a @ a
        done += 1
    return done


def cost_curves(quick: bool) -> dict[str, list[dict[str, float]]]:
    """Seconds, and the operations needed, against images, points and paths, at width 4."""
    width = 4
    curves: dict[str, list[dict[str, float]]] = {}
    cases: dict[tuple[str, int], Any] = {}
    work = {}
    one = flops.count(models.ConvNet(width))
    for n in [128, 256] if quick else [500, 1000, 2000, 4000]:
        cases["images", n] = partial(epoch, trainer_of(width, *random_images(n)))
        work["images", n] = n * one.step
    model = models.create("convnet", width, 10, 0).to(memory_format=torch.channels_last)
    for what, amounts in (
        ("points", [1, 2] if quick else [8, 16, 32, 64]),
        ("paths", [1, 2] if quick else [1, 2, 4, 8]),
    ):
        for amount in amounts:
            images, labels = random_images(amount if what == "points" else 1 if quick else 16)
            near = anchors.make(
                images.float() / 255, **PATHS | {"n_paths": amount if what == "paths" else PATHS["n_paths"]}
            )
            cases[what, amount] = partial(volumes.neighbourhood_metrics, model, near, labels, normalize=NORMALIZE)
            work[what, amount] = near.jitters[..., 0, 0].numel() // near.jitters.shape[2] * 5 * one.gradient
    for (what, amount), times in timing.alternate(cases, 1 if quick else 5).items():
        row = {"amount": amount, "width": width, "flop": work[what, amount], "seconds": sorted(times)[len(times) // 2]}
        curves.setdefault(what, []).append({**row, "min": min(times), "max": max(times)})
    return curves


def float32(quick: bool) -> dict[str, dict[str, float]]:
    """Seconds of an epoch in float32 over those in bfloat16, by width."""
    found = {}
    for width in [1] if quick else [1, 8, 32]:
        images, labels = random_images(32 if quick else 128)
        cases = {
            precision: partial(epoch, trainer_of(width, images, labels, precision)) for precision in ("fp32", "bf16")
        }
        times = timing.alternate(cases, 1 if quick else 5)
        found[str(width)] = timing.ratio(times["fp32"], times["bf16"])
    return found


PARTS = {  # of a profile: what PyTorch calls the operations
    "convolutions": ("convolution",),
    "pooling": ("max_pool",),
    "ReLU": ("relu", "clamp_min", "threshold"),
    "copies, casts, zeros": ("copy", "index", "cat", "clone", "fill_", "zero_", "empty", "contiguous"),
    "optimiser": ("SGD",),
}


def profile(quick: bool) -> dict[str, dict[str, dict[str, float]]]:
    """Where the time goes: the share of each kind of operation, by width."""
    found: dict[str, dict[str, dict[str, float]]] = {"training": {}, "measuring": {}}
    for width in [1] if quick else [1, 2, 4, 8, 32]:
        trainer = trainer_of(width, *random_images(128 if quick else 1024 if width < 32 else 256))
        images, labels = random_images(1 if quick or width == 32 else 8)
        near = anchors.make(images.float() / 255, **PATHS)
        model = models.create("convnet", width, 10, 0).to(memory_format=torch.channels_last)
        measure = partial(volumes.neighbourhood_metrics, model, near, labels, normalize=NORMALIZE)
        for what, case in (("training", partial(epoch, trainer)), ("measuring", measure)):
            case()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
                case()
            times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
            shares = dict.fromkeys([*PARTS, "the rest"], 0.0)
            for key, seconds in times.items():
                part = next((p for p, names in PARTS.items() if any(name in key for name in names)), "the rest")
                shares[part] += seconds / sum(times.values())
            found[what][str(width)] = shares
            print(f"{what}, w = {width}: " + ", ".join(f"{p} {s:.0%}" for p, s in shares.items()), flush=True)
    return found


def _say(what: str, row: dict[str, Any], unit: str) -> None:
    ratio = row["ratio"]
    print(
        f"{what:9} w = {row['width']:<3} {row['baseline']['median']:>9,.1f} -> {row['library']['median']:>9,.1f} {unit}  "
        f"x {ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})",
        flush=True,
    )


SECTIONS = {
    "ceilings": ceilings,
    "training": training_rates,
    "measuring": measuring_rates,
    "evaluating": epoch_shares,
    "cores": core_scaling,
    "cost": cost_curves,
    "profile": profile,
    "float32": float32,
    "many": many.many,
}
