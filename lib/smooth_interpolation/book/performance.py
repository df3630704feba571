"""What the benchmarks found: their files, as tables."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from .. import locations
from ..claims.words import number
from ..errors import RecordError

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

    def __contains__(self, section: str) -> bool:
        return bool(self._parts(section))

    def __getitem__(self, section: str) -> Any:
        """A section's result; of one that was measured in parts, on several devices of a kind, the rows of all."""
        results = [self._sections[part]["result"] for part in self._parts(section)]
        return results[0] if len(results) == 1 else [row for result in results for row in result]

    def lacking(self, *sections: str, on_one_device: bool = False) -> NotMeasured | None:
        """What stands for these sections if one is missing, or was not measured where the first was and should be."""
        for section in sections:
            devices = {self.origins[part]["device_name"] for part in self._parts(section)}
            if not devices or (on_one_device and devices != {self.origins[sections[0]]["device_name"]}):
                return NotMeasured(self.name, section)
        return None

    def _parts(self, section: str) -> list[str]:
        return [part for part in self._sections if part == section or part.startswith(f"{section}, w = ")]

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
    rows = []
    for section, unit, precision in (("training", "images/s", "bf16"), ("measuring", "points/s", "float32")):
        ceiling = cpu["ceilings"][f"matrix product, {precision}, FLOP/s"]
        for row in cpu[section]:
            ratio, speed = row["ratio"], row["library"]["median"]
            rows.append(
                {
                    "what": f"{section}, {unit}",
                    "width": row["width"],
                    "baseline": digits(row["baseline"]["median"]),
                    "library": digits(speed),
                    "ratio": _range(ratio),
                    "of the matrix-product rate": f"{row['flop'] * speed / ceiling:.0%}",
                }
            )
    return pd.DataFrame(rows).set_index(["what", "width"])


def profile(cpu: Benchmarks) -> pd.DataFrame:
    """The share of the time that each kind of operation takes."""
    rows = {(what, w): shares for what, widths in cpu["profile"].items() for w, shares in widths.items()}
    return pd.DataFrame(rows).T.map(lambda share: f"{share:.0%}").rename_axis(["what", "width"])


def findings(cpu: Benchmarks) -> str:
    """What takes the time on a CPU, and what was gained, in sentences."""
    said = []
    for what, widths in cpu["profile"].items():
        narrow, wide = min(widths, key=int), max(widths, key=int)
        shares = [f"{widths[width]['convolutions']:.0%}" for width in (narrow, wide)]
        said.append(
            f"In {what} convolutions take {shares[0]} of the time at w = {narrow} and {shares[1]} at w = {wide}."
        )
    rate = cpu["ceilings"]["matrix product, float32, FLOP/s"]
    first, last = cpu["measuring"][0], cpu["measuring"][-1]
    said.append(
        f"Measuring is {first['ratio']['median']:.2g} times as fast as the baseline at w = {first['width']} and "
        f"{last['ratio']['median']:.2g} times at w = {last['width']}. There it runs at {last['flop'] * last['library']['median'] / rate:.0%} "
        "of the rate of plain matrix products, the dashed line, which no arrangement of the same operations can exceed."
    )
    return " ".join(said)


class NotMeasured:
    """What a page shows where a section of the benchmarks is missing."""

    def __init__(self, name: str, section: str):
        self.text = f"Not measured: `python -m benchmarks.{name} --only {section}` does it."

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def steps(gpu: Benchmarks) -> pd.DataFrame | NotMeasured:
    """The step on a GPU before and after: images per second, median and range of the ratios, shares of the device's limits."""
    if (lacking := gpu.lacking("ceilings", "step", on_one_device=True)) is not None:
        return lacking
    found = {(row["family"], row["width"], row["networks"], row["variant"]): row for row in gpu["step"]}
    rows = []
    for (family, width, n, variant), row in sorted(
        found.items(), key=lambda item: (item[0][0], -min(item[0][2], 4), item[0][1])
    ):
        if variant != AFTER or (family, width, n, BEFORE) not in found:
            continue
        alone, ratio = found.get((family, width, n, "compiled")), row["ratio"]
        rows.append(
            {
                "family": family,
                "networks": n,
                "width": width,
                BEFORE: number(found[family, width, n, BEFORE]["images_per_s"]["median"]),
                "compiled": number(alone["images_per_s"]["median"]) if alone else "-",
                AFTER: number(row["images_per_s"]["median"]),
                "ratio": _range(ratio),
                "of the bf16 rate": _percent(row["flop_per_s"] / gpu["ceilings"]["matrix product, bf16, FLOP/s"]),
                "of the bandwidth": _percent(row["bytes_per_s"] / gpu["ceilings"]["copy, bytes/s"]),
                "compiling, s": f"{row['compile_s']:.0f}",
            }
        )
    return pd.DataFrame(rows).set_index(["family", "networks", "width"])


def gpu_measuring(gpu: Benchmarks) -> pd.DataFrame:
    """Points measured per second, and the share of the device's float32 rate."""
    ceiling = gpu["ceilings"]["matrix product, float32, FLOP/s"]
    rows = {
        row["width"]: {
            "points/s": digits(row["points_per_s"]["median"]),
            "of the float32 rate": _percent(row["flop_per_s"] / ceiling),
        }
        for row in as_used(gpu)
    }
    return pd.DataFrame(rows).T.rename_axis("width")


def gpu_findings(gpu: Benchmarks) -> str:
    """What was found of training on a GPU, in sentences; of what was not measured there are none."""
    said = []
    if "step" in gpu:
        rows = [row for row in gpu["step"] if row["variant"] == AFTER and row["networks"] > 3]
        for name, chosen in (
            ("narrow ConvNets (w up to 4)", [r for r in rows if r["family"] == "convnet" and r["width"] <= 4]),
            ("ConvNets from w = 8", [r for r in rows if r["family"] == "convnet" and r["width"] >= 8]),
            ("ResNet18s", [r for r in rows if r["family"] == "resnet18"]),
        ):
            ratios = [row["ratio"]["median"] for row in chosen]
            if ratios:
                said.append(
                    f"Side by side, {name} train {digits(min(ratios))} to {digits(max(ratios))} times as fast as before."
                )
    if "hosts" in gpu:
        hosts = gpu["hosts"]
        said.append(
            f"A sweep of {hosts['runs']} runs took {number(hosts['one_s'])} s on one GPU and {number(hosts['two_s'])} s on two, "
            f"{number(hosts['share'])} of it, starting the processes included."
        )
    if "reference" in gpu:
        ours, theirs = (
            max(row["flop_per_s"] for row in gpu["reference"] if row["network"] == name) / 1e12
            for name in ("convnet w = 64", "airbench")
        )
        said.append(
            f"Captured and not compiled, w = 64 trains at {number(ours)} TFLOP/s and the network of the speed runs at "
            f"{number(theirs)}, each at the better of the batch sizes 128 and 1,024."
        )
    worst: dict[str, float] = {}
    errors = gpu["errors"] if gpu.lacking("errors") is None else {}
    for name, error in errors.items():
        kind = name.partition(",")[0] + (", eager" if ", eager" in name else "")
        worst[kind] = max(worst.get(kind, 0.0), error)
    if "measures" in worst:
        said.append(f"Measures on the device agree with float64 on the CPU to {worst['measures']:.1g} (median).")
    if {"float32", "float64", "float32, eager", "bf16"} <= worst.keys():
        said.append(
            f"After two epochs in float64 the weights of the compiled step, as one and not, differ from those of eager "
            f"steps by at most {worst['float64']:.1g} of the way that they went. In float32 rounding grows on the way: they "
            f"differ by {worst['float32']:.1g}, and eager steps from themselves, in float64 or when the first weights differ in "
            f"their last bit, by {worst['float32, eager']:.1g}. In bfloat16 they are at most "
            f"{digits(worst['bf16'])} times as far from eager float32 as eager steps in bfloat16 are."
        )
    return " ".join(said)


def explorations(cpu: Benchmarks) -> pd.DataFrame:
    """What was tried: time relative to what is kept, by width; above 1 it lost."""
    table = pd.DataFrame(
        {
            name: {f"w = {width}": value["median"] for width, value in row.items()}
            for name, row in cpu["explorations"].items()
        }
    ).T
    return table.map(digits).rename_axis("tried")


def many(cpu: Benchmarks) -> pd.DataFrame:
    """What the store takes for many runs: seconds by the clock and of the processor, medians, beside what they may take."""
    words = {
        "load": "read, verify and tabulate {:,} records",
        "status": "`smooth-interpolation status` of {:,} planned runs, from its start",
    }
    rows = {
        words[row["case"]].format(row["runs"]): {
            "processor, s": f"{row['cpu_s']:.1f}",
            "clock, s": f"{row['wall_s']:.1f}",
            "bound, s": f"{row['bound_s']:.0f}",
            "load": f"{row['load']:.0f} on {row['cores']} cores",
        }
        for row in cpu["many"]
    }
    return pd.DataFrame(rows).T.rename_axis("what")


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
