"""What the benchmarks found: their files, as tables."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from .. import locations
from ..claims.words import number
from ..errors import RecordError
from . import captioned

HARDWARE = {"cpu": "one CPU thread", "gpu": "one GPU"}
BEFORE, AFTER = "captured", "compiled, as one"  # variants of the step on a GPU


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
    return f"{value:#.2g}".removesuffix(".") if value < 100 else number(value)


def _percent(share: float) -> str:
    return f"{number(100 * share)}%"
