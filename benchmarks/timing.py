"""Alternating repetitions, their medians and their spread."""

from __future__ import annotations

import datetime
import gc
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from smooth_interpolation.runs import provenance

RESULTS = Path(__file__).parent / "results"


def alternate(cases: Mapping[str, Callable[[], Any]], repetitions: int, warm_up: bool = True) -> dict[str, list[float]]:
    """Seconds of each case, one after the other and again, so that a machine's moods meet all of them alike."""
    if warm_up:
        for case in cases.values():
            case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repetitions):
        for name, case in cases.items():
            gc.collect()
            began = synchronized()
            case()
            times[name].append(synchronized() - began)
    return times


def synchronized() -> float:
    """The time, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Median, least and largest of the ratios within each repetition."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def rate(amount: float, times: list[float]) -> dict[str, float]:
    """Amount per second: median, least, largest."""
    return {"median": amount / statistics.median(times), "min": amount / max(times), "max": amount / min(times)}


def matrix_product_rate(
    dtype: torch.dtype, device: str = "cpu", sides: tuple[int, ...] = (256, 512, 1024), repetitions: int = 10
) -> float:
    """Floating-point operations per second of products of two random n x n matrices: the best size, library and try.

    A product is also a 1 x 1 convolution, which another library does, on some processors the faster one.
    """
    best = 0.0
    for n in sides:
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        image = a.view(1, n, 1, n).permute(0, 3, 1, 2)  # n pixels of n channels, channels last
        kernel = b.view(n, n, 1, 1).contiguous(memory_format=torch.channels_last)
        cases = {"product": lambda a=a, b=b: a @ b, "convolution": lambda i=image, k=kernel: F.conv2d(i, k)}
        for times in alternate(cases, repetitions).values():
            best = max(best, 2 * n**3 / min(times))
    return best


def origin(device: str = "cpu") -> dict[str, Any]:
    """Of what is about to be measured; `dirty` if the library or what measures it has uncommitted changes."""
    code = provenance.code()
    measuring = ("benchmarks/*.py", "tests/reliability/*.py")
    command = ["git", "-C", str(RESULTS.parents[1]), "status", "--porcelain", "--", *measuring]
    status = subprocess.run(command, capture_output=True, text=True)
    code["dirty"] = bool(code["dirty"] or status.stdout.strip()) if code["commit"] else None
    return {**code, **provenance.machine(torch.device(device)), "measured": datetime.date.today().isoformat()}


def write(name: str, content: Mapping[str, Any], directory: Path | None = None) -> Path:
    path = (directory or RESULTS) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def read(name: str, directory: Path | None = None) -> dict[str, Any]:
    path = (directory or RESULTS) / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def rounded(value: Any) -> Any:
    """Numbers to four digits, throughout."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value
