"""The figures of the paper: a table of what each shows, and how it is drawn from an experiment's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..claims import moments
from ..errors import ConfigError
from ..runs import record_format, store, tables
from ..runs.records import Records, listed
from . import by_volume, heatmaps, panels
from .by_volume import NOTHING, PANELS, PARTS, UNITS
from .style import (
    ACCENT,
    CORRUPTED,
    NARROW,
    TEST,
    TRAIN,
    WIDTH,
    mark_threshold,
    mark_width,
    say,
    scale_widths,
    styled,
    subplots,
)

Curves = Sequence[tuple[str, str, str, str]]  # metric, subset, name and colour of each
ERRORS: Curves = (("test_error", "all", "test error", TEST), ("train_error", "all", "training error", TRAIN))
GROUPS: Curves = (
    ("test_error_by_group", "corrupted_classes", "corrupted classes", CORRUPTED),
    ("test_error_by_group", "other_classes", "untouched classes", TEST),
)


@dataclass(frozen=True)
class Kind:
    """A figure: what it shows, the table it is drawn from, "history" or "volumes", which rows of it, and how."""

    text: str
    table: str
    rows: Callable[[pd.DataFrame], pd.DataFrame]
    function: Callable[..., Figure]  # of the table; its options are threshold, width and narrow, of volumes also yscale


def _of_errors(text: str, letter: str, curves: Curves = ERRORS) -> Kind:
    def rows(history: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([_at_end(history, metric, subset) for metric, subset, *_ in curves], ignore_index=True)

    return Kind(text, "history", rows, partial(draw_errors, curves=curves, letter=letter))


def _of_volumes(
    text: str, metrics: Mapping[str, str] = PANELS, subsets: Sequence[str] = ("all",), letter: str = ""
) -> Kind:
    def rows(volumes: pd.DataFrame) -> pd.DataFrame:
        found = volumes[volumes.subset.isin(subsets)]
        return (found[found.metric.isin(PARTS)] if metrics is PARTS else found).reset_index(drop=True)

    return Kind(text, "volumes", rows, partial(by_volume.draw, metrics=metrics, subsets=subsets, letter=letter))


def _of_epochs(text: str) -> Kind:
    return Kind(text, "history", lambda history: heatmaps.rows(history).reset_index(drop=True), heatmaps.draw)


@styled
def draw_errors(
    history: pd.DataFrame,
    curves: Curves = ERRORS,
    letter: str = "",
    *,
    threshold: int | None = None,
    width: int | None = None,
    narrow: bool = False,
) -> Figure:
    """Errors at the end of training against width in one panel, named at their ends: means over the last tenth of the epochs (see
    `moments`) and over seeds, each seed as a thin line; thin bars: the range over both."""
    across, height = (NARROW, 2.5) if narrow else (WIDTH, 2.8)
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
    panels.name_ends(panel, named, *room)
    mark_threshold(panel, threshold, named=_clear(panel, both[both.width <= (threshold or 0)]), width=width)
    mark_width(panel, width, threshold=threshold)
    panel.set(xlabel="base width $w$", ylabel="error over the last epochs, %")
    panel.set_title(letter, loc="left", fontweight="bold")
    if both.empty:
        say(panel, NOTHING)
    return figure


def _at_end(history: pd.DataFrame, metric: str, subset: str) -> pd.DataFrame:
    part = history[(history.metric == metric) & (history.subset == subset)]
    found = moments.at_end(part)
    return found.assign(forgotten=found.width.isin(part.width[part.forgotten])) if "forgotten" in part else found


def _clear(panel: Axes, errors: pd.DataFrame) -> float:
    """The height of the axes, from 0 to 1, that is farthest from the last two points of every curve."""
    places = errors[errors.width.isin(sorted(errors.width.unique())[-2:])]["mean"]
    low, high = panel.get_ylim()
    return float(max(np.linspace(0.3, 0.7, 9), key=lambda height: (abs(places - low - height * (high - low))).min()))


BY_LABEL = ("clean", "noisy")
FIGURES = {
    "fig1c": _of_errors("Figure 1c: test and training error at the end of training against width.", "c"),
    "fig1d": _of_errors("Figure 1d: as Figure 1c, for CIFAR-100 with clean labels.", "d"),
    "fig2": _of_volumes(
        "Figure 2: four metrics against width over all training points, a curve per volume size, named by the singular "
        "values that its paths erase at most, 0 for the points themselves; means over seeds, each seed a thin line."
    ),
    "fig2-parts": _of_volumes(
        "The two parts of Figure 2's Jacobian norm: the residual's norm, small where the network is confident, and "
        "sensitivity.",
        PARTS,
    ),
    "fig3": _of_volumes("Figure 3: as Figure 2, around clean and around noisy training points.", subsets=BY_LABEL),
    "fig3-parts": _of_volumes("The two parts of Figure 3's Jacobian norm, as `fig2_parts`.", PARTS, BY_LABEL),
    "fig4": _of_volumes("Figure 4: as Figure 2, for CIFAR-100 with clean labels."),
    "fig5": _of_epochs(
        "Figure 5: test error, training crossentropy, Jacobian and Hessian norm over epoch and width, as heatmaps, and of the "
        "networks below, at and beyond the threshold as curves over the epochs; means over seeds."
    ),
    "fig6a": _of_errors("Figure 6a: as Figure 1c, for ResNets with Adam and augmentation.", "a"),
    "fig6b": _of_volumes("Figure 6b: as Figure 2, for ResNets with Adam and augmentation.", letter="b"),
    "appendix-heatmaps": _of_epochs("Figures 11 and 13: as Figure 5, for ResNets."),
    "appendix-volumes": _of_volumes("Figure 12: as Figure 3, for ResNets.", subsets=BY_LABEL),
    "fig7a": _of_volumes("Figure 7a: as Figure 3, under asymmetric label noise.", subsets=BY_LABEL, letter="a"),
    "fig7b": _of_errors(
        "Figure 7b: test error of the classes that were corrupted at training time and of the untouched ones.",
        "b",
        GROUPS,
    ),
}


@dataclass(frozen=True)
class DrawnFrom:
    """What a figure shows: its name, the records, and the rows of their table that are in it."""

    name: str
    runs: Records
    table: pd.DataFrame


def draw(name: str, records: Iterable[record_format.Record], *, width: int | None = None, **options: Any) -> Figure:
    """The figure of that name, a key of `FIGURES`, from an experiment's records, its threshold marked.

    `figure.again` draws one with other options: `again(narrow=True)` for a phone.

    Args:
        name: of the figure.
        records: from `smooth_interpolation.records`, or any records of one family; the threshold is that of the runs
            which the `Records` plan, or of all records.
        width: a width to mark.
        options: `narrow=True` for phones; `yscale="log"` for figures of volumes.

    Raises:
        ConfigError: for a width that is not measured.
        RecordError: for something else than records, such as a table.

    Example:
        >>> from smooth_interpolation import config
        >>> figure = draw("fig2", store.read_all(config.find("demo", "convnet-noise20").runs()), width=8)
        >>> [panel.get_title() for panel in figure.axes]
        ['Training accuracy', 'Crossentropy', 'Jacobian norm', 'Hessian norm']
    """
    runs, kind = listed(records), FIGURES[name]
    if isinstance(runs, Records):
        history, volumes, threshold = runs.history, runs.volumes, runs.threshold
    else:
        history, volumes, threshold = tables.history_table(runs), tables.volumes_table(runs), store.threshold_of(runs)
    table = history if kind.table == "history" else volumes
    if forgotten := moments.forgotten(history):
        table = table.assign(forgotten=table.width.isin(forgotten))
    if width is not None and width not in (measured := sorted(set(table["width"]))):
        raise ConfigError(f"Width {width} is not measured: mark one of {', '.join(map(str, measured)) or 'none'}.")
    unit = {"unit": UNITS[runs[0]["config"]["path_kind"]]} if kind.table == "volumes" and len(runs) else {}
    figure = kind.function(table, threshold=threshold, width=width, **{**unit, **options})
    figure.again = partial(draw, name, runs, width=width, **options)
    if isinstance(runs, Records):
        _mark_explored(figure, [explored for explored in runs.explored if explored != width])
        figure.drawn_from = DrawnFrom(name, runs, kind.rows(table))
    return figure


def _mark_explored(figure: Figure, widths: Iterable[int]) -> None:
    """A small triangle below each width that the experiment does not plan, in panels over the width."""
    style = {"color": ACCENT, "markersize": 4, "clip_on": False, "label": "_explored"}
    for panel in figure.axes:
        if "width" in panel.get_xlabel() and not panel.collections:
            for width in widths:
                panel.plot([width], [0], "^", transform=panel.get_xaxis_transform(), **style)


def of_runs(name: str) -> Callable[..., Figure]:
    """`draw` of the figure of that name, a key of `FIGURES`, as a function: `function(runs, mark_width=15)`."""

    def figure(runs: Iterable[record_format.Record], *, mark_width: int | None = None, **options: Any) -> Figure:
        return draw(name, runs, width=mark_width, **options)

    figure.__name__ = figure.__qualname__ = name.replace("-", "_")
    figure.__doc__ = f"{FIGURES[name].text}\n\n    Arguments as `figures.draw`, whose `width` is `mark_width` here."
    return figure
