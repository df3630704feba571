"""On one CPU thread: this library against the first version of `baseline`, and against what the machine can do."""

from __future__ import annotations

import multiprocessing
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from smooth_interpolation import config
from smooth_interpolation.cli import options
from smooth_interpolation.data import inputs
from smooth_interpolation.measure import anchors, volumes
from smooth_interpolation.runs import single, sweep
from smooth_interpolation.train import loop, models
from smooth_interpolation.train.evaluation import Evaluator

from . import baseline, flops, many, timing
from .gpu import NORMALIZE, data_of, random_images

PATHS = {"strengths": [5, 10, 15, 20, 22, 25], "n_paths": 4, "n_tangents": 4, "seed": 0}


def settings_of(**changes: Any) -> config.Experiment:
    return config.find("laptop", "convnet-noise20", changes)


def trainer_of(width: int, images: Tensor, labels: Tensor, precision: str = "bf16", **options: Any) -> loop.Trainer:
    settings = settings_of(precision=precision, epochs=100_000)
    data = data_of(images, labels, precision, "cpu")
    return loop.Trainer(models.create("convnet", width, 10, 0), data, settings, 0, **options)


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
            models.create("convnet", width, 10, 0), images, labels, settings, normalize=NORMALIZE, seed=0,
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
    data = single.prepare(settings)
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
    single.prepare(experiment)

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


def explorations(quick: bool) -> dict[str, dict[str, Any]]:
    """What might have been faster: seconds of it over seconds of what is kept; above 1 it lost."""
    found: dict[str, dict[str, Any]] = {}
    repetitions = 1 if quick else 5
    for width in [1] if quick else [1, 8, 32]:
        n = 32 if quick else 128
        images, labels = random_images(n)
        model = models.create("convnet", width, 10, 0).to(memory_format=torch.channels_last)
        x = inputs.network_inputs(images, NORMALIZE)
        kept = model.requires_grad_(False).eval()

        def gradients(model: Any, x: Tensor = x, labels: Tensor = labels, size: int = 64) -> None:
            for part, y in zip(x.split(size), labels.split(size), strict=True):
                part = part.detach().requires_grad_()
                torch.autograd.grad(F.cross_entropy(model(part).double(), y, reduction="sum"), part)

        with_parameters = models.create("convnet", width, 10, 0).to(memory_format=torch.channels_last)
        default_format = models.create("convnet", width, 10, 0).requires_grad_(False)
        relu_first = ReluFirst(width, 10).to(memory_format=torch.channels_last).requires_grad_(False)
        measuring = {
            "kept": partial(gradients, kept),
            "parameters that require gradients": partial(gradients, with_parameters),
            "default memory format": partial(gradients, default_format, x=x.contiguous()),
            "ReLU before pooling, not in place": partial(gradients, relu_first),
            "chunks of 16": partial(gradients, kept, size=16),
            "chunks of 512": partial(gradients, kept, x=x.repeat(4, 1, 1, 1), labels=labels.repeat(4), size=512),
            "forward-over-reverse": partial(_tangent_curvature, kept, x[:32], labels[:32]),
            "Winograd convolutions (NNPACK)": partial(gradients, Winograd(kept), x=x.contiguous()),
        }
        if not quick:
            measuring["torch.compile"] = partial(gradients, torch.compile(kept, dynamic=False))
        times = timing.alternate(measuring, repetitions)
        times["chunks of 512"] = [t / 4 for t in times["chunks of 512"]]
        # Per direction and image, against one more gradient.
        times["forward-over-reverse"] = [t / 4 * n / 32 for t in times["forward-over-reverse"]]
        _compare(found, "measuring", width, times)

        trainer = trainer_of(width, images, labels)
        halves = trainer_of(width, images, labels)
        steps = {
            "kept": partial(epoch, trainer),
            "float32": partial(epoch, trainer_of(width, images, labels, "fp32")),
            "default memory format": partial(
                epoch, trainer_of(width, images, labels, acceleration=loop.Acceleration(channels_last=False))
            ),
            "micro-batches of 32": partial(_micro_batches, halves, 32),
        }
        if not quick:
            compiled = trainer_of(width, images, labels)
            compiled.model = torch.compile(compiled.model, dynamic=False)
            steps["torch.compile"] = partial(epoch, compiled)
        _compare(found, "training", width, timing.alternate(steps, repetitions))
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


class ReluFirst(models.ConvNet):
    """The network as it is usually written."""

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.convolutions[0](images))
        for convolution in self.convolutions[1:]:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        return self.linear(F.max_pool2d(x, 4).flatten(1))


class Winograd(torch.nn.Module):
    """The network with NNPACK's convolutions, forward and backward."""

    class Convolution(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            ctx.weight = weight.flip(2, 3).transpose(0, 1).contiguous()
            return torch._nnpack_spatial_convolution(x, weight.contiguous(), bias, padding=1)

        @staticmethod
        def backward(ctx, gradient: Tensor) -> tuple:
            return torch._nnpack_spatial_convolution(gradient.contiguous(), ctx.weight, None, padding=1), None, None

    def __init__(self, network: models.ConvNet):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        first, *rest = ((c.weight, c.bias) for c in self.network.convolutions)
        x = F.relu(self.Convolution.apply(images, *first), inplace=True)
        for weight, bias in rest:
            x = F.relu(F.max_pool2d(self.Convolution.apply(x, weight, bias), 2), inplace=True)
        return self.network.linear(F.max_pool2d(x, 4).flatten(1))


def _tangent_curvature(model: torch.nn.Module, x: Tensor, labels: Tensor) -> None:
    """H u of four directions by forward-over-reverse differentiation."""

    def gradient(x: Tensor) -> Tensor:
        return torch.func.grad(lambda x: F.cross_entropy(model(x).double(), labels, reduction="sum"))(x)

    for _ in range(4):
        torch.func.jvp(gradient, (x,), (torch.ones_like(x),))


def _micro_batches(trainer: loop.Trainer, size: int) -> None:
    """One step on the whole batch from gradients of its parts, which stay nearer to the processor."""
    data = trainer.data
    trainer.optimizer.zero_grad(set_to_none=True)
    for part in torch.arange(len(data)).split(size):
        with torch.autocast("cpu", torch.bfloat16):
            logits = trainer.model(data.images[part].permute(0, 3, 1, 2))
        (F.cross_entropy(logits.float(), data.labels[part], reduction="sum") / len(data)).backward()
    trainer.optimizer.step()


def _compare(found: dict, what: str, width: int, times: dict[str, list[float]]) -> None:
    for name, seconds in times.items():
        if name != "kept":
            against = timing.ratio(seconds, times["kept"])
            found.setdefault(f"{what}: {name}", {})[str(width)] = against
            print(f"{what}, w = {width}: {name} takes {against['median']:.2f} x", flush=True)


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
    "explorations": explorations,
    "many": many.many,
}
