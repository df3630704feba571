"""The figures of the page on performance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures.style import ACCENT, INK, TRAIN, letters, styled, subplots
from . import presentation
from .performance import AFTER, BEFORE, Benchmarks, digits, exponent

BASELINE, LIBRARY, CEILING = TRAIN, ACCENT, INK
LIMITS = {  # of the step, and what a GPU can do
    "flop_per_s": ("matrix product, bf16, FLOP/s", "operations at the bf16 rate"),
    "bytes_per_s": ("copy, bytes/s", "activations at the bandwidth"),
}


def show(draw: Callable[[Benchmarks], Figure], benchmarks: Benchmarks, *sections: str) -> presentation.Shown:
    """A figure with its downloads: the rows of its sections are its data."""
    rows = []
    for section in sections:
        found = benchmarks[section]
        groups = found if isinstance(found, dict) else {section: found}
        rows += [{"of": name, **row} for name, members in groups.items() for row in members]
    return presentation.show(draw(benchmarks), pd.json_normalize(rows), draw.__name__.replace("_", "-"))


@styled
def cost_by_width(cpu: Benchmarks) -> Figure:
    """Time per image trained on and per point measured, against width, over the time that the operations need."""
    figure, grid = subplots(2, 1, 2.6)
    parts = (("training", "image trained on", "bf16"), ("measuring", "point measured", "float32"))
    for panel, (section, unit, precision) in zip(grid[:, 0], parts, strict=True):
        rows = cpu[section]
        widths = [row["width"] for row in rows]
        for name, colour in (("baseline", BASELINE), ("library", LIBRARY)):
            seconds, most, least = (np.array([1 / row[name][k] for row in rows]) for k in ("median", "min", "max"))
            _with_spread(panel, widths, 1e3 * seconds, 1e3 * least, 1e3 * most, color=colour, label=name)
        wide = [i for i, w in enumerate(widths) if w >= 8]
        slope = exponent([widths[i] for i in wide], [seconds[i] for i in wide])
        floor = [1e3 * row["flop"] / cpu["ceilings"][f"matrix product, {precision}, FLOP/s"] for row in rows]
        panel.plot(widths, floor, "--", color=CEILING, label=f"its operations at the {precision} rate")
        panel.set(title=f"One {unit}: cost ~ $w^{{{digits(slope)}}}$ from $w = 8$", ylabel="milliseconds")
        _log(panel, widths, "base width $w$")
    grid[0, 0].legend()
    figure.set_label(
        "Milliseconds per image trained on, and per point measured, against base width: baseline, "
        "library, and the time of the operations alone."
    )
    letters(grid[:, 0])
    return figure


@styled
def cost_by_amount(cpu: Benchmarks) -> Figure:
    """Time against images, points and paths at one width, with the exponent, over the time that the operations need."""
    figure, grid = subplots(3, 1, 2.3)
    titles = {"images": "An epoch's images", "points": "Points measured", "paths": "Paths per point"}
    for panel, (what, rows) in zip(grid[:, 0], cpu["cost"].items(), strict=True):
        precision = "bf16" if what == "images" else "float32"
        amounts, seconds, least, most = ([row[k] for row in rows] for k in ("amount", "seconds", "min", "max"))
        _with_spread(panel, amounts, seconds, least, most, color=LIBRARY, label="library")
        floor = [row["flop"] / cpu["ceilings"][f"matrix product, {precision}, FLOP/s"] for row in rows]
        panel.plot(amounts, floor, "--", color=CEILING, label=f"operations at the {precision} rate")
        panel.set(title=f"{titles[what]}: cost ~ $n^{{{digits(exponent(amounts, seconds))}}}$")
        panel.set_ylabel(f"seconds, $w = {rows[0]['width']}$")
        _log(panel, amounts, what)
        panel.legend()
    figure.set_label(
        "Seconds against the number of images, of points and of paths, each growing as its power: "
        "library, and the time of the operations alone."
    )
    letters(grid[:, 0])
    return figure


@styled
def gpu_rates(gpu: Benchmarks) -> Figure:
    """Images per second of a ConvNet's step against width, before and after, beside what the device's limits allow."""
    figure, grid = subplots(2, 1, 2.9, sharey=True)
    every = sorted((row for row in gpu["step"] if row["family"] == "convnet"), key=lambda row: row["width"])
    for panel, few in zip(grid[:, 0], (False, True), strict=True):
        for variant, colour in ((BEFORE, BASELINE), (AFTER, LIBRARY)):
            for n, line in ((3, "o-"), (1, "s:")) if few else ((None, "o-"),):
                rows = [
                    r for r in every if r["variant"] == variant and (r["networks"] == n if n else r["networks"] > 3)
                ]
                name = variant if n is None else f"{variant}, {n} network{'s' * (n > 1)}"
                speeds = [r["images_per_s"]["median"] for r in rows]
                panel.plot([r["width"] for r in rows], speeds, line, color=colour, label=name)
        after = {row["width"]: row for row in every if row["variant"] == AFTER}
        for (key, (limit, name)), line in zip(LIMITS.items(), ("--", ":"), strict=True):
            most = [r["images_per_s"]["median"] * gpu["ceilings"][limit] / r[key] for r in after.values()]
            panel.plot(list(after), most, line, color=CEILING, label=None if few else name)
        panel.set(title="Three networks, and one" if few else "Many networks side by side", ylabel="images per second")
        _log(panel, list(after), "base width $w$")
        panel.legend()
    figure.set_label(
        "Images per second against base width, of the captured step and of the compiled one with narrow networks as "
        "one: many networks, three, and one, under the limits of operations and of bandwidth."
    )
    letters(grid[:, 0])
    return figure


def _with_spread(panel: Axes, x: Sequence[int], y: Any, low: Any, high: Any, **options: Any) -> None:
    panel.errorbar(x, y, yerr=[np.subtract(y, low), np.subtract(high, y)], fmt="o-", **options)


def _log(panel: Axes, amounts: list[int], label: str) -> None:
    panel.set(xscale="log", yscale="log", xlabel=label)
    panel.set_xticks(amounts, [f"{a:,}" for a in amounts])
    panel.minorticks_off()
