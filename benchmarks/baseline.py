"""A competent researcher's first version: what the library is compared with.

Training reads PIL images through a `DataLoader`, in float32 and PyTorch's default memory format. Measuring makes one
pass over the points per metric; the dataset's transform factorises the image and rebuilds the anchor that is asked for;
every anchor of every path is evaluated. Everything is computed that the library computes, and nothing is slowed on
purpose: batches are large, and only the derivatives that are needed are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from smooth_interpolation.config import Settings
from smooth_interpolation.data import preparation
from smooth_interpolation.measure import tangents
from smooth_interpolation.train.step import Recipe, learning_rate

BATCH = 128  # anchors per pass of measuring


class Images(Dataset):
    """PIL images with labels, transformed when they are read."""

    def __init__(self, images: Tensor, labels: Tensor, transform):
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Settings,
    normalize: preparation.Normalization,
    seed: int,
) -> Iterator[float]:
    """Train in place; yields the mean loss of each epoch, as `training.train` reports it."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(normalize.mean, normalize.std)])
    dataset = Images(images, labels, transform)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
    criterion = nn.CrossEntropyLoss()
    steps = -(-len(dataset) // settings.batch_size)
    step = 0
    for _ in range(settings.epochs):
        order = torch.randperm(len(dataset), generator=generator).tolist()
        total = 0.0
        for x, y in DataLoader(dataset, batch_size=settings.batch_size, sampler=order):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, Recipe.of(settings))
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
            step += 1
        yield total / len(dataset)


class Anchors(Dataset):
    """Anchor k of path p of every image, rebuilt from the image's singular values each time it is read.

    With `n_tangents`, the anchor's jittered copies come along, (1 + M, C, H, W) in all.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        normalize: preparation.Normalization,
        strengths: Sequence[int],
        n_paths: int,
        jitters: Tensor | None = None,
    ):
        to_pil = transforms.ToPILImage()
        self.images, self.labels = [to_pil(image) for image in images], labels.tolist()
        self.strengths, self.n_paths, self.jitters = (0, *strengths), n_paths, jitters
        self.to_tensor = transforms.ToTensor()
        self.normalize = transforms.Normalize(normalize.mean, normalize.std)

    def __len__(self) -> int:
        return len(self.images) * self.n_paths * len(self.strengths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        index, k = divmod(index, len(self.strengths))
        n, p = divmod(index, self.n_paths)
        anchor = self.erase(self.to_tensor(self.images[n]), self.strengths[k], p)
        if self.jitters is None:
            return self.normalize(anchor), self.labels[n]
        place = 0 if k == 0 else 1 + p * (len(self.strengths) - 1) + k - 1
        copies = [anchor, *(jitter(anchor, steps) for steps in self.jitters[n, place].tolist())]
        return self.normalize(torch.stack(copies)), self.labels[n]

    @staticmethod
    def erase(image: Tensor, strength: int, path: int) -> Tensor:
        u, s, vt = torch.linalg.svd(image.double(), full_matrices=False)
        r = s.shape[-1]
        s[:, max(0, r - strength - path) : max(0, r - path)] = 0
        return ((u * s[:, None]) @ vt).float()


def jitter(image: Tensor, steps: list[tuple[float, float]]) -> Tensor:
    """Brightness (0), contrast (1) and saturation (2) scaled one after the other."""
    for operation, factor in steps:
        if operation == 0:
            image = factor * image
            continue
        grey = 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        image = factor * image + (1 - factor) * (grey.mean() if operation == 1 else grey)
    return image


def volume_metrics(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    normalize: preparation.Normalization,
    strengths: Sequence[int],
    n_paths: int,
    n_tangents: int,
    delta: float,
    seed: int,
) -> dict[str, Tensor]:
    """The four metrics over all volumes, each (N, K + 1), as `volumes.volume_metrics` returns them."""
    model.eval()
    shape = (len(images), n_paths, len(strengths) + 1)
    plain = DataLoader(Anchors(images, labels, normalize, strengths, n_paths), batch_size=BATCH)
    jitters = tangents.draw_jitters(images, 1 + n_paths * len(strengths), n_tangents, seed)
    jittered = Anchors(images, labels, normalize, strengths, n_paths, jitters)
    inputs = torch.cat([x for x, _ in plain]).view(*shape, *images.shape[1:])
    lengths = (inputs[:, :, 1:] - inputs[:, :, :-1]).flatten(3).norm(dim=3)
    passes = {
        "accuracy": (_accuracy(model, x, y) for x, y in plain),
        "crossentropy": (_crossentropy(model, x, y) for x, y in plain),
        "jacobian_norm": (_gradients(model, x, y).flatten(1).norm(dim=1) for x, y in plain),
        "tangent_hessian_norm": (
            _hessian_norm(model, x, y, delta) for x, y in DataLoader(jittered, batch_size=BATCH // (1 + n_tangents))
        ),
    }
    return {metric: _integrate(torch.cat(list(values)).view(shape), lengths) for metric, values in passes.items()}


@torch.no_grad()
def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (model(x).argmax(1) == y).double()


@torch.no_grad()
def _crossentropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x).double(), y, reduction="none")


def _gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x.requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x).double(), y, reduction="sum"), x)[0]


def _hessian_norm(model: nn.Module, x: Tensor, y: Tensor, delta: float) -> Tensor:
    n_tangents = x.shape[1] - 1
    gradients = _gradients(model, x.flatten(0, 1), y.repeat_interleave(1 + n_tangents)).view(x.shape)
    squares = (gradients[:, 1:] - gradients[:, :1]).flatten(2).norm(dim=2).double() ** 2
    return squares.sum(1).sqrt() / (n_tangents**2 * delta**2)


def _integrate(values: Tensor, lengths: Tensor) -> Tensor:
    """The trapezoidal rule along each path up to each anchor, over its length; mean over paths."""
    volumes = [values[:, :, 0]]
    for k in range(1, values.shape[2]):
        steps, heights = lengths[:, :, :k].double(), values[:, :, : k + 1].double()
        integral = (steps * (heights[:, :, 1:] + heights[:, :, :-1]) / 2).sum(2)
        volumes.append(integral / steps.sum(2))
    return torch.stack([v.double().mean(1) for v in volumes], dim=1)
