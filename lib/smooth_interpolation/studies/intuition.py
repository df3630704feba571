"""Two regressions on the same noisy scalars (Figures 1a and 1b): a polynomial of large degree and a deep network.

Both have many more parameters than there are points, and gradient descent fits both to every point, wrong ones
included. What differs is the way from a wrong point back to the truth.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.polynomial.legendre import legval, legvander

from .. import files, locations
from ..runs import resources

if TYPE_CHECKING:
    from torch import nn

Curve = Callable[[np.ndarray], np.ndarray]
TOLERANCE = 1e-6  # mean squared error at which a network counts as fitted
RESOLUTION = 2001  # points of a neighbourhood, or of the whole interval per unit of length


@dataclass(frozen=True)
class Scalars:
    """Points (n,) in [-1, 1], their labels (n,), which of them are wrong, and the ground truth."""

    x: np.ndarray
    y: np.ndarray
    noisy: np.ndarray
    truth: Curve


@dataclass(frozen=True)
class Fit:
    """A fitted function, its number of parameters and its largest residual at the training points."""

    name: str
    function: Curve
    n_parameters: int
    residual: float


def noisy_scalars(n: int = 30, share: float = 0.2, shift: float = 1.0, seed: int = 0) -> Scalars:
    """n points at uneven distances on sin(pi x), of whose labels round(share * n), never the first or last, are moved up or down by
    `shift`."""
    generator = np.random.default_rng(seed)
    x = 1.9 * ((np.arange(n) + 0.5 + generator.uniform(-0.25, 0.25, n)) / n - 0.5)
    noisy = np.zeros(n, dtype=bool)
    noisy[generator.choice(np.arange(1, n - 1), round(share * n), replace=False)] = True
    y = _truth(x) + np.where(noisy, shift * generator.choice([-1, 1], n), 0)
    return Scalars(x, y, noisy, _truth)


def fit_polynomial(data: Scalars, degree: int = 1000, steps: int = 2000, power: float = 0.0) -> Fit:
    """Gradient descent from zero on the squared error of f(x) = sum_k c_k (2k + 1)^power P_k(x), in float64.

    At power 1/2 the basis is orthonormal up to a constant; the lower, the more it costs to use high degrees. A step is
    c <- c - eta Phi^T (Phi c - y), with Phi the basis at the points and eta one over the largest eigenvalue of
    K = Phi Phi^T. From zero, c never leaves the rows of Phi: c = Phi^T a, so the n numbers a <- a + eta (y - K a) follow
    the same descent exactly. Its limit interpolates with the smallest norm of c: c = Phi^+ y.
    """
    weights = (2.0 * np.arange(degree + 1) + 1) ** power
    phi = legvander(data.x, degree) * weights
    kernel = phi @ phi.T
    rate = 1 / np.linalg.eigvalsh(kernel)[-1]
    a = np.zeros(len(data.x))
    for _ in range(steps):
        a += rate * (data.y - kernel @ a)
    coefficients = weights * (phi.T @ a)
    residual = np.abs(legvander(data.x, degree) @ coefficients - data.y).max()
    return Fit(f"Polynomial, degree {degree:,}", lambda x: legval(x, coefficients), degree + 1, float(residual))


def fit_network(data: Scalars, width: int = 128, depth: int = 4, rate: float = 0.02, steps: int = 8000) -> Fit:
    """Full-batch gradient descent with momentum 0.9 on the squared error of a ReLU network, in float64, on one thread.

    `depth` hidden layers of `width` units; He's normal initialisation, first biases of standard deviation 0.5, seed 0.
    Training ends at a mean squared error of 1e-6, or after `steps`. The weights are kept in the cache.
    """
    import torch
    from torch import nn

    asked = [Path(__file__).read_text(), torch.__version__, data.x.tolist(), data.y.tolist(), width, depth, rate, steps]
    kept = locations.cache() / "fits" / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.safetensors"

    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(width if i else 1, width), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(width, 1)).double()
    try:
        network.load_state_dict(files.read_tensors(kept)[0])
    except (OSError, ValueError, RuntimeError):  # there is none, or it is damaged
        _descend(network, data, rate, steps)
        with contextlib.suppress(OSError):
            files.write_tensors(kept, network.state_dict(), {})

    def function(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(points)[:, None])[:, 0].numpy()

    n_parameters = sum(p.numel() for p in network.parameters())
    residual = float(np.abs(function(data.x) - data.y).max())
    return Fit(f"Network, {depth} layers of {width}", function, n_parameters, residual)


@resources.threads(1)
def _descend(network: nn.Sequential, data: Scalars, rate: float, steps: int) -> None:
    """Initialise and train, in place."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(0)
    for i, layer in enumerate(m for m in network if isinstance(m, nn.Linear)):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.normal_(layer.bias, std=0.0 if i else 0.5, generator=generator)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    x, y = (torch.from_numpy(values)[:, None] for values in (data.x, data.y))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (network(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        if loss.item() < TOLERANCE:
            break


def example() -> tuple[Scalars, list[Fit]]:
    """The data and the two fits of Figures 1a and 1b."""
    data = noisy_scalars()
    return data, [fit_polynomial(data), fit_network(data)]


def smoothness(function: Curve, data: Scalars, radius: float) -> pd.DataFrame:
    """How a function behaves around each training point, over V = [x_n - r, x_n + r].

    Columns:
        noisy: whether the label is wrong.
        slope: (1 / 2r) * integral over V of |f'(x)| dx, the mean slope: the total variation of f on V over its length.
            It is the Jacobian norm of f integrated over a volume, as Eq. 6 does for the loss.
        steepest: the largest |f'(x)| on V, at the resolution of the grid.
        reach: the share of V in which f is nearer to the label than to the truth, |f(x) - y_n| < |f(x) - f*(x)|; NaN
            for a clean point, whose label is the truth.
    """
    offsets = np.linspace(-radius, radius, RESOLUTION)
    points = data.x[:, None] + offsets
    values = function(points.ravel()).reshape(points.shape)
    slopes = np.abs(np.diff(values)) / np.diff(offsets)
    nearer = np.abs(values - data.y[:, None]) < np.abs(values - data.truth(points))
    return pd.DataFrame(
        {
            "noisy": data.noisy,
            "slope": slopes.mean(axis=1),
            "steepest": slopes.max(axis=1),
            "reach": np.where(data.noisy, nearer.mean(axis=1), np.nan),
        }
    )


def deviation(function: Curve, data: Scalars) -> float:
    """Root mean square of f - f* over [-1, 1]."""
    x = np.linspace(-1, 1, 2 * RESOLUTION - 1)
    return float(np.sqrt(np.mean((function(x) - data.truth(x)) ** 2)))


def spacing(data: Scalars) -> float:
    """Mean distance of neighbouring points."""
    return float(np.ptp(data.x) / (len(data.x) - 1))


def compare(data: Scalars, fits: list[Fit], radius: float) -> pd.DataFrame:
    """A row per fit, and one for the truth: `smoothness` around clean and around noisy points, and `deviation`.

    Slopes and reach are means over the points, `steepest` is the largest slope around any of them.
    """
    rows = {}
    truth = Fit("Ground truth", data.truth, 0, float("nan"))
    for fit in (*fits, truth):
        around = smoothness(fit.function, data, radius)
        clean, noisy = around[~around.noisy], around[around.noisy]
        rows[fit.name] = {
            "mean slope, clean": clean.slope.mean(),
            "mean slope, noisy": noisy.slope.mean(),
            "steepest, clean": clean.steepest.max(),
            "steepest, noisy": noisy.steepest.max(),
            "mean reach of wrong labels": noisy.reach.mean() if fit is not truth else 0.0,
            "deviation from truth": deviation(fit.function, data),
        }
    return pd.DataFrame(rows).T


def _truth(x: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * x)
