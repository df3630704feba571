"""One function per figure of the paper: from a table to a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

PANELS = {
    "accuracy": "Training accuracy",
    "crossentropy": "Crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}
ROWS = {"all": "All points", "clean": "Clean labels", "noisy": "Noisy labels"}
FIGURES = ("fig1c", "fig2", "fig3", "fig5")
ERROR = "#0072b2"  # of test errors
ACCENT = "#d55e00"  # of the chosen width: vermilion of Okabe and Ito, apart from the sequence of the curves
LOG_RANGE = 10  # an axis whose values span more than this factor is logarithmic

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.bbox": "tight",
    "svg.hashsalt": "smooth-interpolation",  # the same figure is the same file
    "figure.constrained_layout.use": True,
}


HEATMAPS = {
    "test_error": "Test error, %",
    "train_crossentropy": "Training crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}


def fig1c(history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 1c: test and training error at the last epoch against width. Shaded: one standard deviation over seeds.

    Args:
        history: from `store.history_table`.
        threshold: the interpolation threshold, dotted.
        width: a width to mark.
    """
    with mpl.rc_context(STYLE):
        figure, panel = plt.subplots(figsize=(5.2, 3.1))
        last = history[history["epoch"] == history.groupby(["width", "seed"])["epoch"].transform("max")]
        for metric, name, colour in (("test_error", "test error", ERROR), ("train_error", "training error", "#999999")):
            part = last[(last.metric == metric) & (last.subset == "all")].rename(columns={"value": "mean"})
            _curve(panel, part, colour, name, mark=width)
        _mark_widths(panel, "accuracy", threshold, width)
        panel.set(xlabel="base width $w$", ylabel="error, %")
        panel.set_ylim(-2, None)
        _scale_widths([panel], last)
        panel.legend()
        plt.close(figure)
        return figure


def fig5(history: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 5: heatmaps over epoch and width of test error, training crossentropy, Jacobian and Hessian norm.

    Means over seeds; arguments as `fig1c`.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(1, len(HEATMAPS), figsize=(10.5, 3.1), sharey=True)
        whole = history[history.subset == "all"]
        for panel, (metric, title) in zip(axes, HEATMAPS.items(), strict=True):
            table = whole[whole.metric == metric].pivot_table(index="epoch", columns="width", values="value")
            if table.empty:
                continue
            positive = metric != "test_error" and bool((table > 0).any(axis=None))
            # The first epochs' test errors, all near chance, would take most of a linear scale.
            top = None if positive else np.nanquantile(table, 0.85)
            scale = mpl.colors.LogNorm() if positive else mpl.colors.Normalize(vmax=top)
            values = np.ma.masked_invalid(table.where(table > 0) if positive else table)
            edges = [_edges(np.log(axis.to_numpy(float))) for axis in (table.columns, table.index)]
            mesh = panel.pcolormesh(*map(np.exp, edges), values, norm=scale, cmap="viridis", rasterized=True)
            figure.colorbar(mesh, ax=panel, pad=0.02, extend="neither" if positive else "max")
            panel.set(title=title, xlabel="base width $w$", xscale="log", yscale="log")
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            for place, style in ((threshold, {"color": "white", "linestyle": ":"}), (width, {"color": ACCENT})):
                if place is not None:
                    panel.axvline(place, linewidth=1.4, **style)
        axes[0].set_ylabel("epoch")
        _scale_widths(axes, whole)
        plt.close(figure)
        return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around their centres."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def fig2(volumes: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 2: four metrics against width, one curve per volume size, over all training points.

    Args:
        volumes: from `store.volumes_table`.
        threshold: the interpolation threshold, dotted.
        width: a width to mark in every panel.
    """
    return volumes_by_width(volumes, ("all",), threshold=threshold, width=width)


def fig3(volumes: pd.DataFrame, *, threshold: int | None = None, width: int | None = None) -> Figure:
    """Figure 3: as Figure 2, around clean (top) and noisy (bottom) training points."""
    return volumes_by_width(volumes, ("clean", "noisy"), threshold=threshold, width=width)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, PDF or PNG, by the ending of `path`; the same figure gives the same file."""
    with mpl.rc_context(STYLE):
        figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)


def volumes_by_width(
    volumes: pd.DataFrame, subsets: Sequence[str], *, threshold: int | None = None, width: int | None = None
) -> Figure:
    """A row of four panels per subset; the rows share their axes. Shaded: one standard deviation over seeds."""
    with mpl.rc_context(STYLE):
        height = 2.75 if len(subsets) == 1 else 2.45 * len(subsets)
        figure, axes = plt.subplots(
            len(subsets), len(PANELS), figsize=(10.5, height), squeeze=False, sharex=True, sharey="col"
        )
        sizes = sorted(volumes["size"].unique())
        colours = _sequence(len(sizes))
        for row, subset in enumerate(subsets):
            for column, (metric, title) in enumerate(PANELS.items()):
                panel = axes[row, column]
                part = volumes[(volumes.metric == metric) & (volumes.subset == subset)]
                for size, colour in zip(sizes, colours, strict=True):
                    _curve(panel, part[part["size"] == size], colour, size, mark=width)
                panel.set_title(title if row == 0 else "")
                if row == len(subsets) - 1:
                    panel.set_xlabel("base width $w$")
                if column == 0 and len(subsets) > 1:
                    panel.set_ylabel(ROWS[subset], fontweight="bold")
                _mark_widths(panel, metric, threshold, width)
        for column, metric in enumerate(PANELS):
            _scale_values(axes[0, column], volumes[(volumes.metric == metric) & volumes.subset.isin(subsets)], metric)
        _scale_widths(axes.flat, volumes)
        if sizes:
            handles = [line for line in axes[0, 0].get_lines() if not line.get_label().startswith("_")]
            figure.legend(handles=handles, title="augmentations\nper path", loc="outside right center")
        else:
            axes[0, 0].text(0.5, 0.5, "nothing measured yet", ha="center", va="center", transform=axes[0, 0].transAxes)
        plt.close(figure)  # shown by whoever asked for it, once
        return figure


def _curve(panel: Axes, part: pd.DataFrame, colour: str, size: int | str, mark: int | None) -> None:
    """A curve over width of a volume size, or of another name."""
    first = size == 0
    by_width = part.groupby("width")["mean"]
    mean, std = by_width.mean(), by_width.std()
    label = "0 (the point)" if first else str(size)
    weight, order = (2.2, 4) if first else (1.3, 3)
    panel.plot(mean.index, mean, "o-", color=colour, linewidth=weight, zorder=order, label=label)
    if std.notna().any():
        panel.fill_between(mean.index, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
    if mark in mean.index:
        panel.plot(
            [mark], [mean[mark]], "o", color=colour, markeredgecolor=ACCENT, markeredgewidth=1.2, markersize=6, zorder=5
        )


def _mark_widths(panel: Axes, metric: str, threshold: int | None, width: int | None) -> None:
    low = metric == "accuracy"
    if threshold is not None:
        panel.axvline(threshold, color="#333333", linestyle=":", linewidth=1.2, zorder=1)
    if width is not None:
        panel.axvline(width, color=ACCENT, linewidth=1, alpha=0.8, zorder=1)
        panel.annotate(
            f"$w = {width}$",
            (width, 0 if low else 1),  # accuracies gather at the top
            xycoords=("data", "axes fraction"),
            xytext=(3, 3 if low else -3),
            textcoords="offset points",
            color=ACCENT,
            fontsize=8,
            va="bottom" if low else "top",
        )


def _scale_values(panel: Axes, part: pd.DataFrame, metric: str) -> None:
    if metric == "accuracy":
        panel.set_ylim(-0.03, 1.03)
        return
    values = part["mean"][part["mean"] > 0]
    if len(values) and values.max() / values.min() > LOG_RANGE:
        panel.set_yscale("log")
        panel.set_ylim(values.min() / 1.4, values.max() * 1.4)
    elif len(values):
        panel.set_ylim(0, None)


def _scale_widths(panels: Sequence[Axes], volumes: pd.DataFrame) -> None:
    """Widths on a logarithmic axis, those measured labelled as far as they fit."""
    widths = sorted(volumes["width"].unique())
    if not widths:
        return
    wide = widths[-1] / widths[0] > LOG_RANGE
    labelled: list[int] = []
    for w in widths:
        position = np.log(w) if wide else w
        room = (np.log(widths[-1] / widths[0]) if wide else widths[-1] - widths[0]) / 8
        if not labelled or position - (np.log(labelled[-1]) if wide else labelled[-1]) >= room:
            labelled.append(w)
    for panel in panels:
        if wide:
            panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator(labelled))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _sequence(n: int) -> list[str]:
    """Colours from dark to light: told apart in grey and with any colour vision, legible on white."""
    return [mpl.colors.to_hex(c) for c in mpl.colormaps["viridis"](np.linspace(0.0, 0.88, max(n, 1)))][:n]
