"""Nearest neighbours: are test points near corrupted training points misclassified more (the question of Section 4.5)?

Near is meant in the space of the network's inputs, or of its features, what its last linear layer sees.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from . import foreign

NEAREST = 10  # how many training neighbours are counted
MANY = 4  # corrupted ones among them, or more
QUARTERS = 4  # of the distances to the nearest


def nearest(queries: Tensor, references: Tensor, k: int = 1, chunk_size: int = 1024) -> tuple[Tensor, Tensor]:
    """The k nearest references of each query in Euclidean distance, nearest first.

    Args:
        queries: (Q, ...).
        references: (R, ...) of the same shape but for the first dimension, R of at least k.
        k: how many.
        chunk_size: queries at a time.

    Returns:
        distances and indices, (Q, k) each.

    Raises:
        DataError: for shapes that do not match.
        ConfigError: for k outside 1..R.

    Example:
        >>> distances, indices = nearest(torch.tensor([[0.0], [9.0]]), torch.tensor([[1.0], [5.0], [8.0]]), k=2)
        >>> indices.tolist(), distances.tolist()
        ([[0, 1], [2, 1]], [[1.0, 5.0], [1.0, 4.0]])
    """
    if queries.shape[1:] != references.shape[1:]:
        raise DataError(f"Queries {tuple(queries.shape)} and references {tuple(references.shape)} do not match.")
    if not 1 <= k <= len(references):
        raise ConfigError(f"k is {k}: it must lie between 1 and {len(references)}.")
    distances, indices = [], []
    for part in queries.flatten(1).split(chunk_size):
        near = torch.cdist(part.double(), references.flatten(1).double()).topk(k, dim=1, largest=False)
        distances.append(near.values)
        indices.append(near.indices)
    return torch.cat(distances).to(queries.dtype), torch.cat(indices)


def features(model: nn.Module, inputs: Tensor, chunk_size: int = 500) -> tuple[Tensor, Tensor]:
    """What the network's last linear layer sees, and its outputs.

    Args:
        model: with at least one `torch.nn.Linear`, of which the last to be called counts.
        inputs: (N, C, H, W), normalised.

    Returns:
        (N, F) and (N, n_classes), on the CPU.

    Raises:
        ConfigError: if it has no linear layer, or calls none.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 10))
        >>> found, outputs = features(network, torch.rand(5, 3, 2, 2))
        >>> found.shape, outputs.shape
        (torch.Size([5, 7]), torch.Size([5, 10]))
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ConfigError("The network has no linear layer, whose input would be its features.")
    dtype, device = foreign.model_type(model)
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach())) for layer in layers]
    found, outputs = [], []
    try:
        with foreign.measuring(model), torch.no_grad():
            for part in inputs.split(chunk_size):
                seen.clear()
                outputs.append(foreign.outputs(model, part.to(device=device, dtype=dtype or part.dtype)).cpu())
                if not seen:
                    raise ConfigError("The network calls none of its linear layers, whose input would be its features.")
                found.append(seen[-1].flatten(1).cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(found), torch.cat(outputs)


def compare(
    distances: Tensor,
    indices: Tensor,
    corrupted: Tensor,
    noisy: Tensor,
    predicted: Tensor,
    true: Tensor,
    n_classes: int,
) -> pd.DataFrame:
    """Test errors by what is near, and whether a corrupted neighbour's wrong label is copied.

    Args:
        distances, indices: (Q, k), from `nearest`, k of at least `NEAREST`.
        corrupted, noisy: (R,) of the training points: which are corrupted, and the labels trained on.
        predicted, true: (Q,) of the test points.
        n_classes: how many there are.

    Returns:
        A row per quantity and group, with n points, their share and its standard error, both in percent:

        - error, of test points whose nearest training point is `clean` or `corrupted`;
        - error by count, of those with 0, 1, ... corrupted points among the nearest ten;
        - error by distance, `clean 1` the nearest quarter ... `corrupted 4` the farthest, quarters of all distances;
        - copied: where the nearest is corrupted and its wrong label is wrong for the test point too, the share of test
          points that are given `the wrong label`, and the mean share given each `other wrong class`.

        Test points with the same nearest training point are no independent witnesses of it. The standard error is that of
        clusters: (sum_g (sum_{i in g} (v_i - share))^2)^(1/2) / n, with a cluster g per nearest training point. Where no two
        test points share one, it is the binomial one, (share (1 - share) / n)^(1/2).

    Example:
        >>> train, test = torch.arange(20.0)[:, None], torch.arange(20.0)[:, None] + 0.1
        >>> corrupted = torch.arange(20) % 5 == 0
        >>> truth, noisy = torch.zeros(20, dtype=torch.long), corrupted.long()
        >>> table = compare(*nearest(test, train, k=10), corrupted, noisy, predicted=noisy, true=truth, n_classes=3)
        >>> table.set_index(["quantity", "group"]).percent.loc["copied"].to_dict()  # every wrong label is copied
        {'the wrong label': 100.0, 'other wrong class': 0.0}
    """
    wrong = predicted != true
    near_corrupted = corrupted[indices[:, 0]]
    rows = []

    def add(quantity: str, group: str, mask: Tensor, values: Tensor = wrong, scale: float = 1.0) -> None:
        n, chosen = int(mask.sum()), 100 * scale * values[mask].double()
        share = chosen.mean().item() if n else float("nan")
        per_cluster = torch.zeros(len(corrupted), dtype=torch.float64).index_add(0, indices[mask, 0], chosen - share)
        error = per_cluster.norm().item() / n if n else float("nan")
        rows.append({"quantity": quantity, "group": group, "n": n, "percent": share, "standard_error": error})

    add("error", "clean", ~near_corrupted)
    add("error", "corrupted", near_corrupted)
    counts = corrupted[indices[:, :NEAREST]].sum(1)
    for count in range(MANY):
        add("error by count", str(count), counts == count)
    add("error by count", f"{MANY} or more", counts >= MANY)
    edges = torch.quantile(distances[:, 0].double(), torch.linspace(0, 1, QUARTERS + 1, dtype=torch.float64)[1:-1])
    quarter = torch.bucketize(distances[:, 0].double(), edges)
    for name, mask in (("clean", ~near_corrupted), ("corrupted", near_corrupted)):
        for q in range(QUARTERS):
            add("error by distance", f"{name} {q + 1}", mask & (quarter == q))
    label = noisy[indices[:, 0]]
    informative = near_corrupted & (label != true)
    add("copied", "the wrong label", informative, predicted == label)
    add("copied", "other wrong class", informative, wrong & (predicted != label), 1 / max(1, n_classes - 2))
    return pd.DataFrame(rows)


def difference(table: pd.DataFrame) -> tuple[float, float]:
    """Error near corrupted points less error near clean ones, in percentage points, and its standard error.

    The groups share no nearest training point, so that the variances of `compare` add up.

    Args:
        table: from `compare`, of one network.

    Example:
        >>> rows = [("error", "clean", 50.0, 3.0), ("error", "corrupted", 60.0, 4.0)]
        >>> difference(pd.DataFrame(rows, columns=["quantity", "group", "percent", "standard_error"]))
        (10.0, 5.0)
    """
    error = table[table.quantity == "error"].set_index("group")
    gap = error["percent"]["corrupted"] - error["percent"]["clean"]
    return float(gap), float((error["standard_error"] ** 2).sum() ** 0.5)


def independent_error(table: pd.DataFrame) -> float:
    """The standard error of `difference` if every test point were a witness of its own: the binomial one."""
    error = table[table.quantity == "error"]
    shares = error["percent"] / 100
    return float(100 * (shares * (1 - shares) / error["n"].clip(lower=1)).sum() ** 0.5)
