"""The figures of the page on performance."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import presentation
from .figure_style import ACCENT, INK, STYLE, TRAIN, letters, subplots
from .performance import Benchmarks, exponent

BASELINE, LIBRARY, CEILING = TRAIN, ACCENT, INK


def show(draw: Callable[[Benchmarks], Figure], benchmarks: Benchmarks, *sections: str) -> presentation.Shown:
    """A figure with its downloads: the rows of its sections are its data."""
    rows = []
    for section in sections:
        found = benchmarks[section]
        groups = found if isinstance(found, dict) else {section: found}
        rows += [{"of": name, **row} for name, members in groups.items() for row in members]
    return presentation.show(draw(benchmarks), pd.json_normalize(rows), draw.__name__.replace("_", "-"))


def cost_by_width(cpu: Benchmarks) -> Figure:
    """Time per image trained on and per point measured, against width, over the time that the operations need."""
    with mpl.rc_context(STYLE):
        figure, grid = subplots(2, 1, 2.6)
        axes = grid[:, 0]
        for panel, section, unit, precision in (
            (axes[0], "training", "image trained on", "bf16"),
            (axes[1], "measuring", "point measured", "float32"),
        ):
            rows = cpu[section]
            widths = [row["width"] for row in rows]
            for name, colour in (("baseline", BASELINE), ("library", LIBRARY)):
                speeds = [row[name] for row in rows]
                seconds = np.array([1 / s["median"] for s in speeds])
                spread = [seconds - [1 / s["max"] for s in speeds], [1 / s["min"] for s in speeds] - seconds]
                panel.errorbar(widths, 1e3 * seconds, yerr=1e3 * np.array(spread), fmt="o-", color=colour, label=name)
            wide = [i for i, w in enumerate(widths) if w >= 8]
            slope = exponent([widths[i] for i in wide], [seconds[i] for i in wide])
            floor = [1e3 * row["flop"] / cpu["ceilings"][f"matrix product, {precision}, FLOP/s"] for row in rows]
            panel.plot(widths, floor, "--", color=CEILING, label=f"its operations at the {precision} rate")
            panel.set(title=f"One {unit}: cost ~ $w^{{{slope:.2f}}}$ from $w = 8$", ylabel="milliseconds")
            _log(panel, widths, "base width $w$")
        axes[0].legend()
        figure.set_label(
            "Milliseconds per image trained on, and per point measured, against base width: baseline, "
            "library, and the time of the operations alone."
        )
        letters(axes)
        return figure


def cost_by_amount(cpu: Benchmarks) -> Figure:
    """Time against images, points and paths at one width, with the exponent, over the time that the operations need."""
    with mpl.rc_context(STYLE):
        figure, grid = subplots(3, 1, 2.3)
        axes = grid[:, 0]
        titles = {"images": "An epoch's images", "points": "Points measured", "paths": "Paths per point"}
        for panel, (what, rows) in zip(axes, cpu["cost"].items(), strict=True):
            precision = "bf16" if what == "images" else "float32"
            ceiling = cpu["ceilings"][f"matrix product, {precision}, FLOP/s"]
            amounts, seconds = [row["amount"] for row in rows], [row["seconds"] for row in rows]
            spread = [[r["seconds"] - r["min"] for r in rows], [r["max"] - r["seconds"] for r in rows]]
            panel.errorbar(amounts, seconds, yerr=spread, fmt="o-", color=LIBRARY, label="library")
            floor = [row["flop"] / ceiling for row in rows]
            panel.plot(amounts, floor, "--", color=CEILING, label=f"operations at the {precision} rate")
            panel.set(title=f"{titles[what]}: cost ~ $n^{{{exponent(amounts, seconds):.2f}}}$")
            _log(panel, amounts, what)
        for panel in axes:
            panel.set_ylabel(f"seconds, $w = {rows[0]['width']}$")
            panel.legend()
        figure.set_label(
            "Seconds against the number of images, of points and of paths, each growing as its power: "
            "library, and the time of the operations alone."
        )
        letters(axes)
        return figure


def gpu_rates(gpu: Benchmarks) -> Figure:
    """Images per second against width: parts of the acceleration, and networks side by side."""
    with mpl.rc_context(STYLE):
        figure, grid = subplots(2, 1, 2.9, sharey=True)
        axes = grid[:, 0]
        rows = [row for row in gpu["training"] if row["family"] == "convnet"]
        modes = dict.fromkeys(row["mode"] for row in rows)
        colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(modes)))
        for mode, colour in zip(modes, colours, strict=True):
            chosen = [row for row in rows if row["mode"] == mode]
            widths = [row["width"] for row in chosen]
            accent = LIBRARY if mode == "graph, bf16" else colour
            axes[0].plot(widths, [r["images_per_s"]["median"] for r in chosen], "o-", color=accent, label=mode)
        ceiling = gpu["ceilings"]["matrix product, bf16, FLOP/s"]
        work = {row["width"]: row["flop_per_s"] / row["images_per_s"]["median"] for row in rows}
        axes[0].plot(
            list(work), [ceiling / w for w in work.values()], "--", color=CEILING, label="operations at the bf16 rate"
        )
        axes[0].set(title="One network", ylabel="images per second")
        _log(axes[0], list(work), "base width $w$")
        axes[0].legend(loc="center left", bbox_to_anchor=(0, 0.64))
        axes[0].set_ylim(1.5e4, 6e7)
        counts = sorted({row["networks"] for row in gpu["side by side"]})
        for count, colour in zip(counts, mpl.colormaps["viridis"](np.linspace(0, 0.85, len(counts))), strict=True):
            chosen = [row for row in gpu["side by side"] if row["networks"] == count]
            widths = [row["width"] for row in chosen]
            name = "1 network" if count == 1 else f"{count} networks"
            axes[1].plot(widths, [r["images_per_s"]["median"] for r in chosen], "o-", color=colour, label=name)
        axes[1].set(title="Networks side by side, together", ylabel="images per second")
        _log(axes[1], widths, "base width $w$")
        axes[1].legend(loc="upper right")
        figure.set_label(
            "Images per second against base width: with parts of the acceleration turned off, and for "
            "several networks side by side."
        )
        letters(axes)
        return figure


def _log(panel: Axes, amounts: list[int], label: str) -> None:
    panel.set(xscale="log", yscale="log", xlabel=label)
    panel.set_xticks(amounts, [f"{a:,}" for a in amounts])
    panel.minorticks_off()
