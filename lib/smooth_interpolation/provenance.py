"""Where a number comes from: code, machine, time and cost."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import torch


def code() -> dict[str, Any]:
    """Commit of this package's checkout, and whether its source has uncommitted changes; None outside a checkout."""
    package = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            result = subprocess.run(["git", "-C", str(package), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return result.stdout.strip() if result.returncode == 0 else None

    # An environment may lie inside another project's checkout, whose commit is not ours.
    ours = git("ls-files", "--error-unmatch", "--", str(Path(__file__).resolve()))
    commit = git("rev-parse", "HEAD") if ours else None
    changes = git("status", "--porcelain", "--", str(package)) if commit else None
    return {
        "commit": commit,
        "dirty": bool(changes) if changes is not None else None,
        "version": importlib.metadata.version("smooth-interpolation"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def machine(device: torch.device) -> dict[str, Any]:
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
    }


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def peak_memory_mib(device: torch.device) -> dict[str, float]:
    """Peak memory of this process, and on a GPU the peak of PyTorch's allocations there."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss is in bytes on macOS, KiB on Linux
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)}
    if device.type == "cuda":
        peak["gpu"] = round(torch.cuda.max_memory_allocated(device) / (1 << 20), 1)
    return peak


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
