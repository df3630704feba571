"""What the studies beyond the paper found, as sentences for other pages: nothing where there is no study."""

from __future__ import annotations

from typing import Any

from IPython.display import Markdown

from .. import claims
from ..claims import trends
from ..claims.words import number
from ..errors import UserError
from ..studies import beyond


def step_error() -> Any:
    """By how much Equation 5, at the paper's step, is off the second derivative."""
    study = _largest("curvature")
    if study is None:
        return None
    table = study.table
    errors = table[(table.metric == "error, float64") & (table.factor == 1.0)].groupby("width").value.mean()
    low, high = (f"{number(100 * value)}%" for value in (errors.min(), errors.max()))
    return Markdown(
        f"**Equation 5 and the second derivative.** At the paper's step the difference of gradients is off the derivative by a median of "
        f"{low} to {high}, over the widths, at `{study.experiment.scale}` scale: [curvature without differences](beyond-curvature.html) "
        "says why."
    )


def wrong_labels_along_shifts() -> Any:
    """Over how much of the path the widest network keeps a wrong label, along shifts and along SVD paths."""
    study = _largest("paths")
    if study is None:
        return None
    table = study.table
    widest = table[(table.width == table.width.max()) & (table.metric == "accuracy") & (table.subset == "noisy")]
    last = widest[widest["size"] == widest.groupby("path_kind")["size"].transform("max")]
    seeds = 100 * last.groupby(["path_kind", "seed"]).value.mean()
    said = {kind: _range(seeds[kind]) for kind in ("shift", "svd")}
    found = seeds["shift"].mean() / 100
    less = "Not along shifts." if found < trends.FEW else "Less along shifts."
    title = less if found < trends.MOST else "Along shifts, too."
    return Markdown(
        f"**{title}** At w\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{table.width.max()} a wrong label is kept over {said['shift']} of the longest paths of shifts, and over "
        f"{said['svd']} of those of erased singular values, at `{study.experiment.scale}` scale ([other paths](beyond-paths.html))."
    )


def _range(values: Any) -> str:
    low, high = (f"{value:.0f}%" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _largest(name: str) -> beyond.Study | None:
    """The study of the ConvNets with noisy labels at the largest scale that has it."""
    for scale in reversed(claims.SCALES):
        try:
            return beyond.read(name, scale, claims.NOISY)
        except UserError:  # no params file, no such study, or one of other networks
            continue
    return None
