"""What the benchmarks found: their files, as tables and figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import locations
from ..claims.words import number
from ..errors import RecordError
from ..figures.style import ACCENT, INK, TRAIN, letters, styled, subplots
from . import captioned, presentation

HARDWARE = {"cpu": "one CPU thread", "gpu": "one GPU"}
BEFORE, AFTER = "captured", "compiled, as one"  # variants of the step on a GPU
BASELINE, LIBRARY, CEILING = TRAIN, ACCENT, INK
LIMITS = {  # of the step, and what a GPU can do
    "flop_per_s": ("matrix product, bf16, FLOP/s", "operations at the bf16 rate"),
    "bytes_per_s": ("copy, bytes/s", "activations at the bandwidth"),
}


class Benchmarks:
    """One file of `benchmarks/results`: its sections, each with its origin.

    Args:
        name: "cpu", "gpu" or "reliability".

    Raises:
        RecordError: if the file is missing or damaged.
    """

    def __init__(self, name: str):
        path = locations.repository() / "benchmarks" / "results" / f"{name}.json"
        module = {"cpu": "benchmarks", "reliability": "tests.reliability"}.get(name, f"benchmarks.{name}")
        try:
            self._sections = json.loads(path.read_text())
            self.origins = {section: content["origin"] for section, content in self._sections.items()}
        except (OSError, ValueError, TypeError, KeyError):
            raise RecordError(f"{path} is missing or damaged: python -m {module} makes it.") from None
        self.name = name

    def __getitem__(self, section: str) -> Any:
        """A section's result; of one that was measured in parts, on several devices of a kind, the rows of all."""
        results = [
            content["result"]
            for part, content in self._sections.items()
            if part == section or part.startswith(f"{section}, w = ")
        ]
        return results[0] if len(results) == 1 else [row for result in results for row in result]

    @property
    def hardware(self) -> str:
        return "; ".join(sorted({origin["device_name"] for origin in self.origins.values()}))

    def origin(self) -> str:
        """Where the numbers come from, in a sentence."""
        commits = sorted({(origin["commit"] or "unknown")[:7] for origin in self.origins.values()})
        versions = sorted({f"PyTorch {origin['torch']}" for origin in self.origins.values()})
        dates = sorted({origin["measured"] for origin in self.origins.values()})
        used = f", {HARDWARE[self.name]}" if self.name in HARDWARE else ""
        return f"Measured on {self.hardware}{used}, {', '.join(dates)}; {', '.join(versions)}; commit {', '.join(commits)}."


def ratios(cpu: Benchmarks) -> pd.DataFrame:
    """Library against baseline: median and range of the ratios, and the share of the machine's multipliers in use."""
    rows = {}
    for section, unit, precision in (("training", "images/s", "bf16"), ("measuring", "points/s", "float32")):
        ceiling = cpu["ceilings"][f"matrix product, {precision}, FLOP/s"]
        for row in cpu[section]:
            speed = row["library"]["median"]
            rows[f"{section}, {unit}", row["width"]] = {
                "baseline": digits(row["baseline"]["median"]),
                "library": digits(speed),
                "ratio": _range(row["ratio"]),
                "of the matrix-product rate": f"{row['flop'] * speed / ceiling:.0%}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["what", "width"])


def steps(gpu: Benchmarks) -> pd.DataFrame:
    """The step on a GPU before and after: images per second, median and range of the ratios, shares of the device's limits."""
    found = {(row["family"], row["networks"], row["width"], row["variant"]): row for row in gpu["step"]}
    after = [case[:3] for case in found if case[3] == AFTER and (*case[:3], BEFORE) in found]
    rows = {}
    for case in sorted(after, key=lambda case: (case[0], -min(case[1], 4), case[2])):
        row, compiled = found[*case, AFTER], found.get((*case, "compiled"))
        rows[case] = {
            BEFORE: number(found[*case, BEFORE]["images_per_s"]["median"]),
            "compiled": number(compiled["images_per_s"]["median"]) if compiled else "-",
            AFTER: number(row["images_per_s"]["median"]),
            "ratio": _range(row["ratio"]),
            "of the bf16 rate": _percent(row["flop_per_s"] / gpu["ceilings"]["matrix product, bf16, FLOP/s"]),
            "of the bandwidth": _percent(row["bytes_per_s"] / gpu["ceilings"]["copy, bytes/s"]),
            "compiling, s": f"{row['compile_s']:.0f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["family", "networks", "width"])


def reliability(found: Benchmarks) -> Any:
    """A row per scenario of `tests/reliability`, what does not always hold in bold, and all of them together."""
    rows = [found[name] for name in found.origins]
    tried, held, seconds = (sum(row[name] for row in rows) for name in ("tried", "held", "seconds"))
    shown = {row["what"]: (f"{row['tried']:,}", f"{row['held']:,}") for row in rows}
    shown |= {row["what"]: (f"{row['tried']:,}", f"**{row['held']:,}**") for row in rows if row["held"] != row["tried"]}
    shown[f"**All, in {seconds / 60:.0f} minutes**"] = f"**{tried:,}**", f"**{held:,}**"
    table = pd.DataFrame.from_dict(shown, orient="index", columns=["tried", "held"])
    caption = "What was done to small runs, how often, and how often what is promised held."
    return captioned.table(table.rename_axis("What is done, and what is promised"), caption)


def exponent(amounts: list[float], seconds: list[float]) -> float:
    """Slope of the logarithms by least squares: cost grows with amount to this power."""
    return float(np.polyfit(np.log(amounts), np.log(seconds), 1)[0])


def as_used(gpu: Benchmarks) -> list[dict[str, Any]]:
    """The rates of measuring in the layout and the chunk that runs use."""
    return [row for row in gpu["measuring"] if row["layout"] == "channels last" and row["chunk"] is None]


def _range(ratio: dict[str, float]) -> str:
    """A median and its range, on one line."""
    low, high = digits(ratio["min"]), digits(ratio["max"])
    return f"{digits(ratio['median'])}\N{NO-BREAK SPACE}({low}\N{NON-BREAKING HYPHEN}{high})"


def digits(value: float) -> str:
    """Two significant digits, a last zero among them: those of a column end alike."""
    return f"{value:#.2g}".removesuffix(".") if value < 99.5 else number(value)  # 99.5 is rounded to 100


def _percent(share: float) -> str:
    return f"{number(100 * share)}%"


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
