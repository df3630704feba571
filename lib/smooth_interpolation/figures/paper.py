"""One function per figure of the paper: from a table to a matplotlib figure."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from .. import locations
from ..claims import moments
from ..claims.evidence import Plan
from ..runs import store
from ..runs.records import planned
from . import panels
from .style import (
    ACCENT,
    CORRUPTED,
    STYLE,
    TEST,
    TRAIN,
    legend_below,
    letters,
    mark_threshold,
    mark_width,
    say,
    scale_widths,
    sequence,
    subplots,
)

__all__ = ["ACCENT", "FIGURES", "STYLE", "draw", "save"]

PANELS = {
    "accuracy": "Training accuracy",
    "crossentropy": "Crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}
HEATMAPS = {
    "test_error": "Test error, %",
    "train_crossentropy": "Crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}
COLUMNS = {"clean": "clean labels", "noisy": "noisy labels"}
ERRORS = (("test_error", "all", "test error", TEST), ("train_error", "all", "training error", TRAIN))
GROUPS = (
    ("test_error_by_group", "corrupted_classes", "corrupted classes", CORRUPTED),
    ("test_error_by_group", "other_classes", "untouched classes", TEST),
)
NOTHING = "nothing measured yet"


def fig1c(history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 1c: test and training error at the end of training against width.

    Means over the last tenth of the epochs (see `moments`) and over seeds; thin lines: the range over both; shaded: one
    standard deviation over seeds.

    Args:
        history: from `store.history_table`.
        threshold: the interpolation threshold, dotted.
        width: a width to mark.
    """
    return _errors(history, ERRORS, "c", threshold, width)


def fig1d(history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 1d: as Figure 1c, for CIFAR-100 with clean labels."""
    return _errors(history, ERRORS, "d", threshold, width)


def fig2(volumes: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 2: four metrics against width, one curve per volume size, over all training points.

    Args:
        volumes: from `store.volumes_table`.
        threshold: the interpolation threshold, dotted.
        width: a width to mark in every panel.
    """
    return _volumes(volumes, "", threshold, width)


def fig3(volumes: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 3: as Figure 2, around clean (left) and noisy (right) training points."""
    return _volumes_by_label(volumes, "", threshold, width)


def fig4(volumes: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 4: as Figure 2, for CIFAR-100 with clean labels."""
    return _volumes(volumes, "", threshold, width)


def fig5(history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 5: heatmaps over epoch and width of test error, training crossentropy, Jacobian and Hessian norm.

    Means over seeds; arguments as `fig1c`.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = subplots(2, 2, 2.2, sharex=True, sharey=True)
        whole = history[history.subset == "all"]
        for panel, (metric, title) in zip(axes.flat, HEATMAPS.items(), strict=True):
            panel.set_title(title)
            table = whole[whole.metric == metric].pivot_table(index="epoch", columns="width", values="value")
            if table.empty:
                continue
            logarithmic = metric != "test_error" and bool((table > 0).any(axis=None))
            panels.heatmap(figure, panel, table, logarithmic=logarithmic, threshold=threshold, width=width)
        _label_widths(axes, whole.width)
        for panel in axes[:, 0]:
            panel.set_ylabel("epoch")
        letters(axes.flat)
        if whole.empty:
            say(axes[0, 0], NOTHING)
        return figure


def fig6a(history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 6a: as Figure 1c, for ResNets with Adam and augmentation."""
    return _errors(history, ERRORS, "a", threshold, width)


def fig6b(volumes: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 6b: as Figure 2, for ResNets with Adam and augmentation."""
    return _volumes(volumes, "b", threshold, width)


def fig7a(volumes: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 7a: as Figure 3, under asymmetric label noise."""
    return _volumes_by_label(volumes, "a", threshold, width)


def fig7b(history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 7b: test error of the classes that were corrupted at training time and of the untouched ones."""
    return _errors(history, GROUPS, "b", threshold, width)


@dataclass(frozen=True)
class Kind:
    """How a figure is drawn, and the table of `store` that it is drawn from: "history" or "volumes"."""

    function: Callable[..., Figure]
    table: str


FIGURES = {
    "fig1c": Kind(fig1c, "history"),
    "fig1d": Kind(fig1d, "history"),
    "fig2": Kind(fig2, "volumes"),
    "fig3": Kind(fig3, "volumes"),
    "fig4": Kind(fig4, "volumes"),
    "fig5": Kind(fig5, "history"),
    "fig6a": Kind(fig6a, "history"),
    "fig6b": Kind(fig6b, "volumes"),
    "appendix-heatmaps": Kind(fig5, "history"),
    "appendix-volumes": Kind(fig3, "volumes"),
    "fig7a": Kind(fig7a, "volumes"),
    "fig7b": Kind(fig7b, "history"),
}


def draw(
    name: str, records: Iterable[store.Record], *, width: int | None = None, plan: Plan | None = None, **options: Any
) -> Figure:
    """The figure of that name, a key of `FIGURES`, from an experiment's records, its threshold marked.

    The threshold is that of the plan's widths and seeds, of all records without one.

    Example:
        >>> from smooth_interpolation import config
        >>> figure = draw("fig2", store.read_all(config.find("demo", "convnet-noise20").runs()), width=8)
        >>> [panel.get_title() for panel in figure.axes]
        ['Training accuracy', 'Crossentropy', 'Jacobian norm', 'Hessian norm']
    """
    records = list(records)
    kind = FIGURES[name]
    table = store.history_table(records) if kind.table == "history" else store.volumes_table(records)
    return kind.function(table, threshold=store.threshold_of(planned(records, plan)), width=width, **options)


def data(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an experiment's table, of the kind that the figure of that name is drawn from, which are in it."""
    kind = FIGURES[name]
    if kind.table == "volumes":
        wanted = ("clean", "noisy") if kind.function in (fig3, fig7a) else ("all",)
        return table[table.subset.isin(wanted)].reset_index(drop=True)
    if kind.function is fig5:
        wanted = table.metric.isin(HEATMAPS) & (table.subset == "all")
        return table[wanted].reset_index(drop=True)
    curves = GROUPS if kind.function is fig7b else ERRORS
    return pd.concat([_at_end(table, metric, subset) for metric, subset, *_ in curves], ignore_index=True)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, PDF or PNG, by the ending of `path`; the same figure gives the same file."""
    locations.expanded(path).write_bytes(written(figure, path.suffix[1:]))


def written(figure: Figure, kind: str) -> bytes:
    """The content of such a file, its `kind` svg, pdf or png."""
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=200, metadata=undated)
    content = buffer.getvalue()
    return _compact(content) if kind == "svg" else content


def _compact(svg: bytes) -> bytes:
    """Coordinates to a hundredth of a point: a third smaller, and no eye sees it."""

    def shorter(attribute: re.Match[bytes]) -> bytes:
        return re.sub(rb"-?\d+\.\d{3,}", lambda number: b"%g" % round(float(number[0]), 2), attribute[0])

    return re.sub(rb'\s(?:d|x|y)="[^"]*"', shorter, svg)


def _at_end(history: pd.DataFrame, metric: str, subset: str) -> pd.DataFrame:
    return moments.at_end(history[(history.metric == metric) & (history.subset == subset)])


def _errors(
    history: pd.DataFrame, curves: Sequence[tuple], letter: str, threshold: int | None, width: int | None
) -> Figure:
    """Errors at the end of training against width, a panel each: their ranges differ."""
    with mpl.rc_context(STYLE):
        figure, axes = subplots(1, len(curves), 2.45, sharex=True)
        for panel, (metric, subset, name, colour) in zip(axes.flat, curves, strict=True):
            part = _at_end(history, metric, subset)
            if not part.empty:
                panels.curve(panel, part, colour, name, thick=True, mark=width)
                panels.scale_errors(panel, part)
            mark_threshold(panel, threshold)
            mark_width(panel, width)
            panel.set_title(name.capitalize())
        axes[0, 0].set_ylabel("over the last epochs, %")
        _label_widths(axes, history.width)
        letters([axes[0, 0]], letter)
        legend_below(figure, axes[0, 0], curves=False)
        if history.empty:
            say(axes[0, 0], NOTHING)
        return figure


def _volumes(volumes: pd.DataFrame, prefix: str, threshold: int | None, width: int | None) -> Figure:
    """Four panels, a metric each, over all points."""
    with mpl.rc_context(STYLE):
        figure, axes = subplots(2, 2, 2.15, sharex=True)
        for panel, (metric, title) in zip(axes.flat, PANELS.items(), strict=True):
            part = volumes[(volumes.metric == metric) & (volumes.subset == "all")]
            _sizes(panel, part, metric, threshold, width)
            panels.scale_values(panel, part, metric)
            panel.set_title(title)
        _finish(figure, axes, volumes, prefix)
        return figure


def _volumes_by_label(volumes: pd.DataFrame, prefix: str, threshold: int | None, width: int | None) -> Figure:
    """A row per metric: clean points on the left, noisy ones on the right, on the same axes."""
    with mpl.rc_context(STYLE):
        figure, axes = subplots(len(PANELS), 2, 1.85, sharex=True, sharey="row")
        for row, (metric, title) in zip(axes, PANELS.items(), strict=True):
            both = volumes[(volumes.metric == metric) & volumes.subset.isin(COLUMNS)]
            for panel, (subset, name) in zip(row, COLUMNS.items(), strict=True):
                _sizes(panel, both[both.subset == subset], metric, threshold, width)
                panel.set_title(f"{title},\n{name}", fontsize=9)
            panels.scale_values(row[0], both, metric)
        _finish(figure, axes, volumes, prefix)
        return figure


def _sizes(panel, part: pd.DataFrame, metric: str, threshold: int | None, width: int | None) -> None:
    """A curve for each volume size, from dark to light."""
    sizes = sorted(part["size"].unique())
    for size, colour in zip(sizes, sequence(len(sizes)), strict=True):
        name = "0 (the point)" if size == 0 else str(size)
        panels.curve(panel, part[part["size"] == size], colour, name, thick=size == 0, mark=width)
    mark_threshold(panel, threshold)
    mark_width(panel, width, low=metric == "accuracy")


def _finish(figure: Figure, axes, volumes: pd.DataFrame, prefix: str) -> None:
    _label_widths(axes, volumes.width)
    letters(axes.flat, prefix)
    legend_below(figure, axes[0, 0], title="augmentations per path")
    if volumes.empty:
        say(axes[0, 0], NOTHING)


def _label_widths(axes, widths: pd.Series) -> None:
    scale_widths(axes.flat, list(widths.unique()))
    for panel in axes[-1]:
        panel.set_xlabel("base width $w$")
