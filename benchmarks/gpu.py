"""On a GPU: is it right, how fast is it, and how far is that from what the device can do? `python -m benchmarks.gpu`.

Writes benchmarks/results/gpu.json, from which the book's page on performance is drawn. Two GPUs alike may share the step's
widths, a process on each (`CUDA_VISIBLE_DEVICES`): `--only step --widths 1 4 8` and `--only step --widths 16 32 64`.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smooth_interpolation import config
from smooth_interpolation.measure import volumes
from smooth_interpolation.measure.foreign import full_precision
from smooth_interpolation.train import graphs, loop, models
from smooth_interpolation.train.step import Recipe

from . import flops, step, timing
from .step import AFTER, BEFORE, COMPILED, EAGER, NORMALIZE, VARIANTS, data_of, epochs_of, random_images

# In training: of what is moved, in float32 ten times what rounding does to eager steps if that is more; of the error of eager bfloat16.
TOLERANCE = {"measures": 1e-4, "float32": 2e-3, "float64": 1e-6, "bf16": 1.5}
SHAKEN = ", another last bit"


@torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)  # else repetitions differ by rounding
def check(device: str, quick: bool) -> dict[str, float]:
    """Errors, relative: measures against float64 on the CPU; compiled and stacked steps against eager ones.

    Those in float64 and in float32 are compared with eager steps of the same precision, by the distance between the weights
    over that trained through. In float32 rounding grows along the steps: beside them are eager ones, compared with float64, and
    with a start that differs in the last bit of the weights. Those in bfloat16 may be as far from eager steps in float32 as eager ones in bfloat16: a ratio.
    """
    images, labels = random_images(10 if quick else 40)
    options = {"normalize": NORMALIZE, "strengths": (5, 15, 25), "n_paths": 2}
    errors: dict[str, float] = {}
    for family in models.FAMILIES:
        reference = volumes.volume_metrics(
            models.create(family, 8, 10, 0).double(), images.double() / 255, labels, **options
        )
        found = volumes.volume_metrics(
            models.create(family, 8, 10, 0).to(device), images.float() / 255, labels, **options
        )
        for metric in volumes.METRICS[1:]:
            error = (getattr(found, metric) / getattr(reference, metric) - 1).abs().median().item()
            errors[f"measures, {family}, {metric}"] = error
    batch = 16 if quick else 64  # a full one and a shorter, or many
    images, labels = random_images(25 if quick else 1000)
    graphs.COMPILE_FROM = 0  # however short the training
    for family, optimizer in (("convnet", "sgd"), ("convnet", "adam"), ("resnet18", "sgd")):
        changes = {"optimizer": optimizer, "epochs": 2, "augment": True, "learning_rate": 0.002, "warmup_epochs": 1}
        settings, bf16 = (
            config.find("gpu", f"{family}-noise20", {**changes, "batch_size": batch, "precision": precision})
            for precision in ("fp32", "bf16")
        )
        eager, half = (trained(s, VARIANTS[EAGER], device, images, labels) for s in (settings, bf16))
        exact = trained(settings, VARIANTS[EAGER], device, images, labels, torch.float64)
        start = torch.stack([flat(models.create(family, 5, 10, seed)) for seed in range(3)]).to(device)
        moved = (exact - start).norm()
        case = f"{family}, {optimizer}"
        errors[f"float32, {case}, {EAGER}"] = ((eager - exact).norm() / moved).item()
        shaken = trained(settings, VARIANTS[EAGER], device, images, labels, ulps=1)
        errors[f"float32, {case}, {EAGER}{SHAKEN}"] = ((shaken - eager).norm() / moved).item()
        for name in (COMPILED, AFTER) if family == "convnet" else (AFTER,):
            variant = dataclasses.replace(VARIANTS[name], compile=not quick)
            found = trained(settings, variant, device, images, labels)
            errors[f"float32, {case}, {name}"] = ((found - eager).norm() / moved).item()
            found = trained(settings, variant, device, images, labels, torch.float64)
            errors[f"float64, {case}, {name}"] = ((found - exact).norm() / moved).item()
            found = trained(bf16, variant, device, images, labels)
            errors[f"bf16, {case}, {name}"] = ((found - eager).norm() / (half - eager).norm()).item()
    print(*(f"{name}: {error:.2g}" for name, error in errors.items()), sep="\n", flush=True)
    judge(errors)
    return errors


def judge(errors: dict[str, float]) -> None:
    """End with a sentence if one is too large: in float64 any difference, in float32 ten times what rounding does to eager steps.

    Where a ReLU's input is within rounding of 0, float32 takes the other side: a step of a ResNet18 is a percent off. Where
    a gradient is, Adam's step has the other sign.
    """
    for name, error in errors.items():
        kind, family, optimizer = name.split(", ")[:3]
        eager = [errors.get(f"float32, {family}, {optimizer}, {EAGER}{start}", 0.0) for start in ("", SHAKEN)]
        rounding = 10 * max(eager) if kind == "float32" else 0.0
        if not error <= max(TOLERANCE[kind], rounding):
            sys.exit(f"Wrong on this device: {name} is off by {error:.1e}.")


def trained(
    settings: config.Experiment,
    acceleration: loop.Acceleration,
    device: str,
    images: Tensor,
    labels: Tensor,
    dtype: torch.dtype = torch.float32,
    ulps: int = 0,
) -> Tensor:
    """Weights of seeds 0, 1 and 2, in rows, trained together; if not as one, the third takes over the first one's graph.

    Every second weight starts off by so many units in the last place.
    """
    data = data_of(images, labels, settings.precision, device)
    if dtype == torch.float64:
        data = dataclasses.replace(data, images=data.images.double(), black=data.black.double())
    networks = [models.create(settings.model, 5, 10, seed).to(device, dtype) for seed in range(3)]
    with torch.no_grad():
        for weights in (p for network in networks for p in network.parameters()):
            weights[::2] *= 1 + ulps * torch.finfo(dtype).eps  # not of all: what is normalised forgets its scale
    trainers = [
        loop.Trainer(network, data, Recipe.of(settings), seed, acceleration)
        for seed, network in enumerate(networks[: 3 if acceleration.stack else 2])
    ]
    for trainer in trainers:
        trainer.graphed = acceleration.cuda_graph  # on a CPU its replay does the step
    train(trainers)
    found = [flat(trainer.model) for trainer in trainers]
    if len(found) == 2:
        trainers[0].start(2, networks[2].state_dict())
        train(trainers[:1])
        found.append(flat(trainers[0].model))
    return torch.stack(found)


def train(trainers: Sequence[loop.Trainer]) -> None:
    while not trainers[0].done:
        epochs_of(trainers)


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().double().flatten() for p in network.parameters()])


def measuring_rates(device: str, quick: bool) -> list[dict[str, Any]]:
    """All four metrics over seven volumes, as runs measure them.

    Chunks of 256 and of 1,024 were slower at every width tried, and channels first within about a tenth.
    """
    rows = []
    images, labels = random_images(64)
    near = volumes.neighbourhoods.make(
        images.float() / 255, strengths=(5, 10, 15, 20, 22, 25), n_paths=4, n_tangents=4, seed=0
    )
    for width in [2] if quick else [1, 8, 64]:
        work = flops.count(models.ConvNet(width)).gradient * near.anchors.shape[1] * 5
        model = models.create("convnet", width, 10, 0).to(device, memory_format=torch.channels_last)
        measure = partial(volumes.neighbourhood_metrics, model, near, labels, normalize=NORMALIZE)
        speed = timing.rate(len(images), timing.alternate({"all": measure}, 1 if quick else 3)["all"])
        row = {"width": width, "layout": "channels last", "chunk": None, "points_per_s": speed}
        rows.append({**row, "flop_per_s": work * speed["median"]})
        print(f"measuring w = {width:<3} {speed['median']:,.0f} points/s", flush=True)
    return rows


class Airbench(nn.Module):
    """The network of K. Jordan's CIFAR-10 speed runs (94% on CIFAR-10 in seconds; arXiv:2404.00498), in our words.

    A 2 x 2 convolution to 24 channels, then three blocks of two 3 x 3 convolutions with batch normalisation and GELU, the
    first of each followed by max-pooling, to 64, 256 and 256 channels.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 24, 2), nn.GELU()]
        n_in = 24
        for n_out in (64, 256, 256):
            layers += [
                nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(n_out),
                nn.GELU(),
            ]
            layers += [nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.GELU()]
            n_in = n_out
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(256, 10, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def reference_rates(device: str, quick: bool) -> list[dict[str, Any]]:
    """The speed-run network and ours of width 64, in the same loop, captured, at the batch of each."""
    batches, n, repetitions = ([128], 256, 1) if quick else ([128, 1024], 25_600, 3)
    rows = []
    images, labels = random_images(n)
    data = data_of(images, labels, "bf16", device)
    for name, create in (("airbench", Airbench), ("convnet w = 64", lambda: models.ConvNet(64))):
        operations = flops.count(create()).step
        for batch in batches:
            recipe = Recipe.of(config.find("gpu", "convnet-noise20", {"batch_size": batch, "epochs": 100_000}))
            trainer = loop.Trainer(create().to(device), data, recipe, 0, VARIANTS[BEFORE])
            times = timing.alternate({"epoch": partial(epochs_of, [trainer])}, repetitions)["epoch"]
            speed = timing.rate(n, times)
            work = operations * speed["median"]
            rows.append({"network": name, "batch": batch, "images_per_s": speed, "flop_per_s": work})
            print(
                f"{name:15} batch {batch:5} {speed['median']:>10,.0f} images/s {work / 1e12:6.1f} TFLOP/s", flush=True
            )
    return rows


def ceilings(device: str, quick: bool) -> dict[str, float]:
    """What the device can do: matrix products, and copying (bytes read and written)."""
    sides = (64,) if quick else (8192,)
    x = torch.randn(1 << (16 if quick else 28), device=device)
    y = torch.empty_like(x)
    copy = timing.alternate({"copy": lambda: y.copy_(x)}, 10)["copy"]
    with full_precision():
        single = timing.matrix_product_rate(torch.float32, device, sides)
    found = {
        "matrix product, bf16, FLOP/s": timing.matrix_product_rate(torch.bfloat16, device, sides),
        "matrix product, float32, FLOP/s": single,
        "copy, bytes/s": 2 * x.numel() * 4 / min(copy),
    }
    print(*(f"{name}: {value:.3g}" for name, value in found.items()), sep="\n", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="sizes for a test, not for numbers")
    parser.add_argument("--output", type=Path, help="directory of the results")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="measure only this part again")
    parser.add_argument(
        "--widths", type=int, nargs="+", help=f"of the sections {' and '.join(CASES)}: a part, for one of several GPUs"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as sweeps have it
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as fresh:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = fresh  # nothing is found compiled
        for section in arguments.only or SECTIONS:
            if section == "hosts" and arguments.device != "cpu" and torch.cuda.device_count() < 2:
                print("hosts: needs two GPUs, left out")
                continue
            measure(section, arguments)


def measure(section: str, arguments: argparse.Namespace) -> None:
    """Measure a section, or its part for some widths, and write what there is at once: a later failure loses none of it."""
    part, origin = section, timing.origin(arguments.device)
    if section in CASES:
        widths = arguments.widths or ((1, 4) if arguments.quick else step.WIDTHS)
        part += f", w = {', '.join(map(str, widths))}" if arguments.widths else ""
        found = step.rates(CASES[section](widths), arguments.device, arguments.quick)
    else:
        found = iter([SECTIONS[section](arguments.device, arguments.quick)])
    for result in found:
        keep(part, {"origin": origin, "result": timing.rounded(result)}, arguments.quick, arguments.output)


def keep(part: str, content: dict[str, Any], quick: bool, directory: Path | None) -> None:
    """Put a section into the file, beside what other processes put there; a part and the whole take each other's place."""
    name, directory = "gpu-quick" if quick else "gpu", directory or timing.RESULTS
    directory.mkdir(parents=True, exist_ok=True)
    place = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        there = timing.read(name, directory)
        others = {
            k: v for k, v in there.items() if not (k.startswith(f"{part}, w = ") or part.startswith(f"{k}, w = "))
        }
        timing.write(name, {**others, part: content}, directory)
    finally:
        os.close(place)


CASES = {"step": step.step_cases, "precisions": step.precision_cases}
SECTIONS: dict[str, Any] = {
    "errors": check,
    "ceilings": ceilings,
    **CASES,
    "measuring": measuring_rates,
    "reference": reference_rates,
    "hosts": step.hosts,
}

if __name__ == "__main__":
    main()
