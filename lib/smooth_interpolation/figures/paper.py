"""One function per figure of the paper: from a table to a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..claims import moments
from ..claims.evidence import Plan
from ..errors import ConfigError
from ..runs import record_format, store, tables
from ..runs.records import Records, listed, planned
from . import by_volume, heatmaps, labels, panels
from .by_volume import COLUMNS, NOTHING, PANELS, PARTS, UNITS
from .files import save, written
from .style import (
    ACCENT,
    CORRUPTED,
    FULL,
    NARROW,
    STYLE,
    TEST,
    TRAIN,
    WIDTH,
    mark_threshold,
    mark_width,
    say,
    scale_widths,
    subplots,
)

__all__ = ["ACCENT", "COLUMNS", "FIGURES", "PANELS", "PARTS", "STYLE", "draw", "save", "written"]

HEATMAPS = {
    "test_error": "Test error, %",
    "train_crossentropy": "Crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}
ERRORS = (("test_error", "all", "test error", TEST), ("train_error", "all", "training error", TRAIN))
GROUPS = (
    ("test_error_by_group", "corrupted_classes", "corrupted classes", CORRUPTED),
    ("test_error_by_group", "other_classes", "untouched classes", TEST),
)
BY_LABEL = ("clean", "noisy")


def fig1c(
    history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None, narrow: bool = False
) -> Figure:
    """Figure 1c: test and training error at the end of training against width.

    Means over the last tenth of the epochs (see `moments`) and over seeds, each seed as a thin line; thin bars: the range
    over both.

    Args:
        history: from `tables.history_table`.
        threshold: the interpolation threshold, dotted.
        width: a width to mark.
        narrow: for phones.
    """
    return _errors(history, ERRORS, "c", threshold, width, narrow)


def fig1d(
    history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None, narrow: bool = False
) -> Figure:
    """Figure 1d: as Figure 1c, for CIFAR-100 with clean labels."""
    return _errors(history, ERRORS, "d", threshold, width, narrow)


def fig2(volumes: pd.DataFrame, **options: Any) -> Figure:
    """Figure 2: four metrics against width, one curve per volume size, over all training points.

    Each curve is the mean over seeds, each seed a thin line; it ends at the number of singular values that the paths of its
    volume erase at most, 0 for the points themselves.

    Args:
        volumes: from `tables.volumes_table`.
        options: as `by_volume.draw`: threshold and width, to be marked in every panel; yscale, "linear" or "log"; narrow, for
            phones; unit, of the numbers at the curves' ends.
    """
    return by_volume.draw(volumes, **options)


def fig2_parts(volumes: pd.DataFrame, **options: Any) -> Figure:
    """The two parts of Figure 2's Jacobian norm: the residual's norm, small where the network is confident, and sensitivity."""
    return by_volume.draw(volumes, PARTS, **options)


def fig3(volumes: pd.DataFrame, **options: Any) -> Figure:
    """Figure 3: as Figure 2, around clean and around noisy training points."""
    return by_volume.draw(volumes, PANELS, BY_LABEL, **options)


def fig3_parts(volumes: pd.DataFrame, **options: Any) -> Figure:
    """The two parts of Figure 3's Jacobian norm, as `fig2_parts`."""
    return by_volume.draw(volumes, PARTS, BY_LABEL, **options)


def fig4(volumes: pd.DataFrame, **options: Any) -> Figure:
    """Figure 4: as Figure 2, for CIFAR-100 with clean labels."""
    return by_volume.draw(volumes, **options)


def fig5(
    history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None, narrow: bool = False
) -> Figure:
    """Figure 5: test error, training crossentropy, Jacobian and Hessian norm over epoch and width, as heatmaps, and of the
    networks below, at and beyond the threshold (see `heatmaps.chosen`) as curves over the epochs.

    Means over seeds; arguments as `fig1c`.
    """
    whole = history[history.metric.isin(HEATMAPS) & (history.subset == "all")]
    widths = sorted(int(w) for w in whole.width.unique())
    colours = heatmaps.chosen(widths, threshold, width)
    across = NARROW if narrow else FULL
    with mpl.rc_context(STYLE):
        figure, axes = subplots(*((4, 2) if narrow else (2, 4)), 1.7 if narrow else 2.0, across)
        pairs = axes if narrow else axes.T
        room = across / (2 if narrow else 4) - 0.95, 1.25
        for (above, below), (metric, title) in zip(pairs, HEATMAPS.items(), strict=True):
            part = whole[whole.metric == metric]
            above.set(title=title, label=title)
            below.set(title=title if narrow else "", label=title)
            if not narrow or metric == list(HEATMAPS)[-1]:
                above.set_xlabel("base width $w$")
                below.set_xlabel("epoch")
            if not part.empty:
                table = part.pivot_table(index="epoch", columns="width", values="value")
                heatmaps.heatmap(figure, above, table, rooted=metric != "test_error", threshold=threshold, width=width)
                scale_widths([above], widths, threshold, room[0] - 0.25, logarithmic=True)
                heatmaps.courses(below, part, colours, room)
        for panel in pairs[:, 0] if narrow else pairs[:1, 0]:
            panel.set_ylabel("epoch")
        if whole.empty:
            say(axes[0, 0], NOTHING)
        return figure


def fig6a(
    history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None, narrow: bool = False
) -> Figure:
    """Figure 6a: as Figure 1c, for ResNets with Adam and augmentation."""
    return _errors(history, ERRORS, "a", threshold, width, narrow)


def fig6b(volumes: pd.DataFrame, **options: Any) -> Figure:
    """Figure 6b: as Figure 2, for ResNets with Adam and augmentation."""
    return by_volume.draw(volumes, letter="b", **options)


def fig7a(volumes: pd.DataFrame, **options: Any) -> Figure:
    """Figure 7a: as Figure 3, under asymmetric label noise."""
    return by_volume.draw(volumes, PANELS, BY_LABEL, letter="a", **options)


def fig7b(
    history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None, narrow: bool = False
) -> Figure:
    """Figure 7b: test error of the classes that were corrupted at training time and of the untouched ones."""
    return _errors(history, GROUPS, "b", threshold, width, narrow)


@dataclass(frozen=True)
class Kind:
    """How a figure is drawn, and the table of `store` that it is drawn from: "history" or "volumes"."""

    function: Callable[..., Figure]
    table: str


FIGURES = {
    "fig1c": Kind(fig1c, "history"),
    "fig1d": Kind(fig1d, "history"),
    "fig2": Kind(fig2, "volumes"),
    "fig2-parts": Kind(fig2_parts, "volumes"),
    "fig3": Kind(fig3, "volumes"),
    "fig3-parts": Kind(fig3_parts, "volumes"),
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
    name: str,
    records: Iterable[record_format.Record],
    *,
    width: int | None = None,
    plan: Plan | None = None,
    **options: Any,
) -> Figure:
    """The figure of that name, a key of `FIGURES`, from an experiment's records, its threshold marked.

    A width that is given is marked, if it was measured. The threshold is that of the plan's widths and seeds; without one that of the `Records`' own, or of all records. The other options are those of the
    figure's function: `narrow=True` for phones; `yscale="log"` for figures of volumes.

    Example:
        >>> from smooth_interpolation import config
        >>> figure = draw("fig2", store.read_all(config.find("demo", "convnet-noise20").runs()), width=8)
        >>> [panel.get_title() for panel in figure.axes]
        ['Training accuracy', 'Crossentropy', 'Jacobian norm', 'Hessian norm']
    """
    records, kind = listed(records), FIGURES[name]
    table = table_of(kind, records)
    if width is not None and width not in (measured := sorted(set(table["width"]))):
        raise ConfigError(f"Width {width} is not measured: mark one of {', '.join(map(str, measured)) or 'none'}.")
    if isinstance(records, Records) and plan is None:
        threshold = records.threshold
    else:
        threshold = store.threshold_of(planned(records, plan))
    return kind.function(table, threshold=threshold, width=width, **{**units(kind, records), **options})


def table_of(kind: Kind, records: Sequence[record_format.Record]) -> pd.DataFrame:
    """The table that a figure is drawn from; `Records` keep theirs."""
    if isinstance(records, Records):
        return records.history if kind.table == "history" else records.volumes
    return tables.history_table(records) if kind.table == "history" else tables.volumes_table(records)


def units(kind: Kind, records: Sequence[record_format.Record]) -> dict[str, str]:
    """The option `unit` of figures of volumes, by the kind of path that the records were measured along."""
    if kind.table != "volumes" or not len(records):
        return {}
    return {"unit": UNITS[records[0]["config"]["path_kind"]]}


def data(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an experiment's table, of the kind that the figure of that name is drawn from, which are in it."""
    kind = FIGURES[name]
    if kind.table == "volumes":
        wanted = BY_LABEL if kind.function in (fig3, fig3_parts, fig7a) else ("all",)
        found = table[table.subset.isin(wanted)]
        if kind.function in (fig2_parts, fig3_parts):
            found = found[found.metric.isin(PARTS)]
        return found.reset_index(drop=True)
    if kind.function is fig5:
        wanted = table.metric.isin(HEATMAPS) & (table.subset == "all")
        return table[wanted].reset_index(drop=True)
    curves = GROUPS if kind.function is fig7b else ERRORS
    return pd.concat([_at_end(table, metric, subset) for metric, subset, *_ in curves], ignore_index=True)


def _at_end(history: pd.DataFrame, metric: str, subset: str) -> pd.DataFrame:
    return moments.at_end(history[(history.metric == metric) & (history.subset == subset)])


def _errors(
    history: pd.DataFrame,
    curves: Sequence[tuple[str, ...]],
    letter: str,
    threshold: int | None,
    width: int | None,
    narrow: bool,
) -> Figure:
    """Errors at the end of training against width in one panel, named at their ends."""
    across, height = (NARROW, 2.5) if narrow else (WIDTH, 2.8)
    with mpl.rc_context(STYLE):
        figure, axes = subplots(1, 1, height, across)
        panel, room = axes[0, 0], (across - 1.6, height - 0.7)
        parts = [_at_end(history, metric, subset) for metric, subset, *_ in curves]
        both = pd.concat(parts)
        width = width if width in set(both.width) else None
        scale_widths([panel], list(both.width.unique()), threshold, room[0])
        named = [
            (panels.curve(panel, part, colour, name, thick=True, mark=width), name)
            for part, (_, _, name, colour) in zip(parts, curves, strict=True)
            if not part.empty
        ]
        if named:
            panels.scale_errors(panel, both)
        labels.at_ends(panel, named, *room)
        mark_threshold(panel, threshold, named=_clear(panel, both[both.width <= (threshold or 0)]), width=width)
        mark_width(panel, width, threshold=threshold)
        panel.set(xlabel="base width $w$", ylabel="error over the last epochs, %")
        panel.set_title(letter, loc="left", fontweight="bold")
        if both.empty:
            say(panel, NOTHING)
        return figure


def _clear(panel: Axes, errors: pd.DataFrame) -> float:
    """The height of the axes, from 0 to 1, that is farthest from the last two points of every curve."""
    places = errors[errors.width.isin(sorted(errors.width.unique())[-2:])]["mean"]
    low, high = panel.get_ylim()
    return float(max(np.linspace(0.3, 0.7, 9), key=lambda height: (abs(places - low - height * (high - low))).min()))
