"""On a GPU: is it right, how fast is it, and how far is that from what the device can do? `python -m benchmarks.gpu`.

Writes benchmarks/results/gpu.json, from which the book's page on performance is drawn.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smooth_interpolation import config, flops, models, training, volumes
from smooth_interpolation.precision import full_precision

from . import timing

NORMALIZE = training.Normalization((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
MODES = {  # name: precision and what is on
    "eager, float32": ("fp32", training.Acceleration(cuda_graph=False)),
    "eager, bf16": ("bf16", training.Acceleration(cuda_graph=False)),
    "graph, bf16": ("bf16", training.Acceleration()),
    "graph, bf16, channels first": ("bf16", training.Acceleration(channels_last=False)),
    "eager, bf16, data on the host": ("bf16", training.Acceleration(cuda_graph=False, data_on_device=False)),
}
TOLERANCE = {"measures": 1e-4, "graph": 2e-3}


def settings_of(precision: str = "bf16", **changes: Any) -> config.Experiment:
    return config.find("gpu", "convnet-noise20", {"precision": precision, "n_evaluations": 1, **changes})


def random_images(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 10, (n,), generator=generator)


def data_of(images: Tensor, labels: Tensor, precision: str, device: str) -> training.TrainingData:
    return training.TrainingData.of(images, labels, NORMALIZE, precision, torch.device(device))


@torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)  # else repetitions differ by rounding
def check(device: str, quick: bool) -> dict[str, float]:
    """Relative errors: measures against float64 on the CPU, a graph's epoch against eager steps, together against alone."""
    images, labels = random_images(40)
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
    images, labels = random_images(300 if quick else 1000)
    for optimizer in ("sgd", "adam"):
        settings = settings_of("fp32", optimizer=optimizer, epochs=3, augment=True, learning_rate=0.002)
        data = data_of(images, labels, "fp32", device)
        weights = []
        for graph in (False, True):
            model = models.create("convnet", 4, 10, 0).to(device)
            trainer = training.Trainer(model, data, settings, 0, training.Acceleration(cuda_graph=graph))
            while not trainer.done:
                trainer.launch()
                trainer.finish()
            weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        start = torch.cat([p.detach().flatten() for p in models.create("convnet", 4, 10, 0).parameters()]).to(device)
        errors[f"graph, {optimizer}"] = ((weights[1] - weights[0]).norm() / (weights[0] - start).norm()).item()
        # Another seed in the captured graph, beside a second network.
        other = training.Trainer(models.create("convnet", 4, 10, 0).to(device), data, settings, 0)
        trainer.start(1, models.create("convnet", 4, 10, 1).state_dict())
        while not trainer.done:
            epochs_of([trainer, other])
        alone = models.create("convnet", 4, 10, 1).to(device)
        training.train(alone, images, labels, settings, normalize=NORMALIZE, seed=1)
        pairs = (
            (trainer.model, torch.cat([p.detach().flatten() for p in alone.parameters()])),
            (other.model, weights[1]),
        )
        for model, expected in pairs:
            error = torch.cat([p.detach().flatten() for p in model.parameters()]) - expected
            name = f"graph, {optimizer}, side by side"
            errors[name] = max(errors.get(name, 0.0), (error.norm() / (expected - start).norm()).item())
    for name, error in errors.items():
        if not error < TOLERANCE[name.split(",")[0]]:
            sys.exit(f"Wrong on this device: {name} is off by {error:.1e}.")
        print(f"{name}: {error:.1e}", flush=True)
    return errors


def epochs_of(trainers: list[training.Trainer]) -> None:
    training.launch(trainers)
    for trainer in trainers:
        trainer.finish()


def trainers_of(
    family: str, width: int, n: int, images: Tensor, labels: Tensor, mode: str, device: str
) -> list[training.Trainer]:
    precision, acceleration = MODES[mode]
    settings = settings_of(precision, model=family, epochs=100_000)
    data = data_of(images, labels, precision, device if acceleration.data_on_device else "cpu")
    return [
        training.Trainer(models.create(family, width, 10, seed).to(device), data, settings, seed, acceleration)
        for seed in range(n)
    ]


def training_rates(device: str, quick: bool) -> list[dict[str, Any]]:
    """One network, with parts of the acceleration turned off."""
    widths, n_images, repetitions = ([1, 2], 256, 1) if quick else ([1, 4, 16, 64], 25_600, 3)
    rows = []
    for family in models.FAMILIES:
        for width in widths:
            operations = flops.count(models.create(family, width, 10, 0)).step
            n = n_images // (1 + width // 16) // (1 if family == "convnet" else 2)
            images, labels = random_images(n)
            for mode in MODES:
                if family == "resnet18" and mode not in ("eager, bf16", "graph, bf16"):
                    continue
                trainers = trainers_of(family, width, 1, images, labels, mode, device)
                times = timing.alternate({mode: partial(epochs_of, trainers)}, repetitions)[mode]
                speed = timing.rate(n, times)
                row = {"family": family, "width": width, "mode": mode, "images_per_s": speed}
                rows.append({**row, "flop_per_s": operations * speed["median"]})
                print(f"{family:9} w = {width:<3} {mode:30} {speed['median']:>12,.0f} images/s", flush=True)
    return rows


def side_by_side_rates(device: str, quick: bool) -> list[dict[str, Any]]:
    """Networks of one width in training together, against one alone."""
    widths, counts, n, repetitions = ([1], [1, 2], 256, 1) if quick else ([1, 2, 4, 8, 16], [1, 4, 16], 12_800, 3)
    rows = []
    images, labels = random_images(n)
    for width in widths:
        trainers = trainers_of("convnet", width, max(counts), images, labels, "graph, bf16", device)
        times = timing.alternate({k: partial(epochs_of, trainers[:k]) for k in counts}, repetitions)
        for k in counts:
            speed = timing.rate(n * k, times[k])
            gain = timing.ratio([k * t for t in times[counts[0]]], times[k])
            rows.append({"width": width, "networks": k, "images_per_s": speed, "gain": gain})
            print(
                f"{k:3} networks of w = {width:<3} {speed['median']:>12,.0f} images/s  x {gain['median']:.1f}",
                flush=True,
            )
    return rows


def measuring_rates(device: str, quick: bool) -> list[dict[str, Any]]:
    """All four metrics over seven volumes, in chunks of several sizes."""
    widths, repetitions = ([2], 1) if quick else ([1, 8, 64], 3)
    rows = []
    images, labels = random_images(64)
    for width in widths:
        model = models.create("convnet", width, 10, 0).to(device)
        near = volumes.neighbourhoods.make(
            images.float() / 255, strengths=(5, 10, 15, 20, 22, 25), n_paths=4, n_tangents=4, seed=0
        )
        n_gradients = near.anchors.shape[1] * 5
        for layout, memory_format in (
            ("channels first", torch.contiguous_format),
            ("channels last", torch.channels_last),
        ):
            placed = model.to(memory_format=memory_format)
            for size in (256, 1024, None):
                measure = partial(volumes.neighbourhood_metrics, placed, near, labels, normalize=NORMALIZE, size=size)
                times = timing.alternate({"all": measure}, repetitions)["all"]
                speed = timing.rate(len(images), times)
                work = flops.count(model.cpu()).gradient * n_gradients * speed["median"]
                model.to(device)
                rows.append(
                    {"width": width, "layout": layout, "chunk": size, "points_per_s": speed, "flop_per_s": work}
                )
                print(f"measuring w = {width:<3} {layout}, chunk {size}: {speed['median']:,.0f} points/s", flush=True)
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
    """The speed-run network and ours of width 64, in the same loop, at the batch of each."""
    batches, n, repetitions = ([128], 256, 1) if quick else ([128, 1024], 25_600, 3)
    rows = []
    images, labels = random_images(n)
    data = data_of(images, labels, "bf16", device)
    for name, create in (("airbench", Airbench), ("convnet w = 64", lambda: models.ConvNet(64))):
        operations = flops.count(create()).step
        for batch in batches:
            settings = settings_of("bf16", batch_size=batch, epochs=100_000)
            trainer = training.Trainer(create().to(device), data, settings, 0)
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
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(1)  # as sweeps have it
    name = "gpu-quick" if quick else "gpu"
    content = timing.read(name, arguments.output)
    for section in arguments.only or SECTIONS:
        origin = timing.origin(arguments.device)
        result = SECTIONS[section](arguments.device, quick)
        # Written at once: what is measured is not lost if a later part fails.
        content[section] = {"origin": origin, "result": timing.rounded(result)}
        timing.write(name, content, arguments.output)


SECTIONS = {
    "errors": check,
    "ceilings": ceilings,
    "training": training_rates,
    "side by side": side_by_side_rates,
    "measuring": measuring_rates,
    "reference": reference_rates,
}

if __name__ == "__main__":
    main()
