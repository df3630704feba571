"""The step of training on a GPU: its variants, before and after, and sweeps on one GPU and on two."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smooth_interpolation import config
from smooth_interpolation.data import preparation
from smooth_interpolation.runs import cost, sweep
from smooth_interpolation.train import loop, models, step
from smooth_interpolation.train.step import Recipe

from . import flops, timing

NORMALIZE = preparation.Normalization((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
EAGER, COMPILED = "eager", "compiled"
# As the book calls them, which is not imported: a GPU's host may lack Jupyter.
BEFORE, AFTER = "captured", "compiled, as one"
VARIANTS = {
    EAGER: loop.Acceleration(cuda_graph=False),
    BEFORE: loop.Acceleration(compile=False, stack=False),
    COMPILED: loop.Acceleration(stack=False),
    AFTER: loop.Acceleration(),
}
WIDTHS = (1, 4, 8, 16, 32, 64)
Case = tuple[str, int, int, str, tuple[str, ...]]  # family, width, networks, precision, variants


def random_images(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 10, (n,), generator=generator)


def data_of(images: Tensor, labels: Tensor, precision: str, device: str) -> preparation.TrainingData:
    return preparation.TrainingData.of(images, labels, NORMALIZE, precision, torch.device(device))


def epochs_of(trainers: Sequence[loop.Trainer]) -> None:
    loop.launch(trainers)
    for trainer in trainers:
        trainer.finish()


def step_cases(widths: Sequence[int]) -> Iterator[Case]:
    """Side by side first: three networks and one then find compiled what they share with it."""
    for width in widths:
        alone = (COMPILED,) if 2 * width <= step.CHANNELS else ()  # else nothing is trained as one
        yield "convnet", width, together(width), "bf16", (BEFORE, *alone, AFTER)
        yield "convnet", width, 3, "bf16", (BEFORE, AFTER)
        yield "convnet", width, 1, "bf16", (EAGER, BEFORE, AFTER)
        if width in (8, 16, 32):
            yield "resnet18", width, 4, "bf16", (BEFORE, AFTER)


def precision_cases(widths: Sequence[int]) -> Iterator[Case]:
    for width in widths:
        if width in (4, 16, 64):
            for precision in ("tf32", "fp32"):
                yield "convnet", width, together(width), precision, (AFTER,)


def together(width: int) -> int:
    """Networks side by side."""
    return 16 if width <= 4 else 8


def rates(cases: Iterable[Case], device: str, quick: bool) -> Iterator[list[dict[str, Any]]]:
    """Images per second of the step, one row for each variant: the rows so far, after each case.

    `ratio` is that of the rates to the captured step's; `compile_s` what a first epoch takes longer than a later one:
    compiling, unless a case before it did, and capturing. Operations, and bytes, are those of the networks alone.
    """
    rows: list[dict[str, Any]] = []
    for family, width, n, precision, names in cases:
        n_images = 128 if quick else 6_400 if family == "resnet18" or precision != "bf16" else 12_800 * (1 + (n == 1))
        images, labels = random_images(n_images)
        recipe = Recipe.of(config.find("gpu", f"{family}-noise20", {"precision": precision, "epochs": 100_000}))
        data = data_of(images, labels, precision, device)
        epochs, first = {}, {}
        for name in names:
            networks = [models.create(family, width, 10, seed).to(device) for seed in range(n)]
            trainers = [loop.Trainer(net, data, recipe, s, VARIANTS[name]) for s, net in enumerate(networks)]
            epochs[name] = partial(epochs_of, trainers)
            first[name] = timing.alternate({name: epochs[name]}, 1, warm_up=False)[name][0]
        times = timing.alternate(epochs, 1 if quick else 3, warm_up=False)
        network = models.create(family, width, 10, 0)
        work, moved = flops.count(network).step, least_bytes(network)
        for name in names:
            speed = timing.rate(n * n_images, times[name])
            rows.append(
                {
                    **{"family": family, "width": width, "networks": n, "precision": precision, "variant": name},
                    "images_per_s": speed,
                    "ratio": timing.ratio(times[BEFORE], times[name]) if BEFORE in times else None,
                    "compile_s": max(0.0, first[name] - min(times[name])),
                    "flop_per_s": work * speed["median"],
                    "bytes_per_s": moved * speed["median"],
                }
            )
            print(
                f"{n:3} {family:9} w = {width:<3} {precision} {name:17} {speed['median']:>12,.0f} images/s"
                f"  first epoch {first[name]:5.1f} s",
                flush=True,
            )
        yield rows


def least_bytes(network: nn.Module) -> int:
    """Bytes an image that steps in bfloat16 move at the least, layer by layer: every convolution's output is written and
    read once, and so is its gradient."""
    values: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, inputs, output: values.append(output.numel()))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 32, 32))
    return 4 * 2 * sum(values)


def hosts(device: str, quick: bool) -> dict[str, Any]:
    """Seconds that a sweep of twelve runs takes on two GPUs and on one, from the start of its processes to its end.

    Steps are captured and not compiled: for runs of a minute that takes longer than it saves.
    """
    devices = ["cpu", "cpu"] if device == "cpu" else ["cuda:0", "cuda:1"]
    small = {"n_train": 160, "n_test": 40, "epochs": 2, "widths": [1, 2], "seeds": [0]} if quick else {
        "n_train": 10_000, "n_test": 1_000, "epochs": 150, "widths": [16, 32, 48, 64], "seeds": [0, 1, 2],
    }  # fmt: skip
    few = {"n_clean_points": 20, "n_noisy_points": 20, "n_evaluations": 2, "n_last_evaluations": 0}
    experiment = config.find("gpu", "convnet-noise20", {"dataset": "dead_leaves", **few, **small})
    seconds = {}
    for places in (devices, devices[:1]):  # what the second finds warm is to the advantage of one
        with tempfile.TemporaryDirectory() as root:
            todo = sweep.plan(experiment, Path(root), places[0])
            began = time.perf_counter()
            costs = cost.relative(todo, [], "cuda")
            outcome = sweep.sweep(
                todo, devices=places, costs=costs, at_once=16, root=Path(root), acceleration=VARIANTS[BEFORE]
            )
            seconds[len(places)] = time.perf_counter() - began
        if len(outcome.complete) < len(todo):
            sys.exit(f"{len(todo) - len(outcome.complete)} runs were not finished.")
        print(f"{len(todo)} runs, {len(places)} processes: {seconds[len(places)]:.1f} s", flush=True)
    return {"runs": len(todo), "one_s": seconds[1], "two_s": seconds[2], "share": seconds[2] / seconds[1]}
