"""Where a number comes from: code, machine, time and cost."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import logging
import platform
import resource
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy
import torch

from .. import locations

log = logging.getLogger(__name__)

NAME = "smooth-interpolation"


def code() -> dict[str, Any]:
    """Commit and version of this package, and whether its source has uncommitted changes; None where that cannot be found out:
    outside a checkout, without git, where git refuses to read it, and in a bare copy of the source.
    """
    package = Path(__file__).resolve().parents[1]
    git = functools.partial(locations.git, package)
    # An environment may lie inside another project's checkout, whose commit is not ours.
    ours = git("ls-files", "--error-unmatch", "--", str(Path(__file__).resolve()))
    commit = git("rev-parse", "HEAD") if ours else None
    changes = git("status", "--porcelain", "--", str(package)) if commit else None
    dirty = bool(changes) if changes is not None else None
    libraries = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__}
    return {"commit": commit, "dirty": dirty, "version": _version(package)} | libraries


@functools.cache
def warn_of_unknown() -> None:
    """Say once in a process, before anything is trained, what records will not tell of the code."""
    found = code()
    unknown = [name for name in ("commit", "version") if found[name] is None]
    if unknown:
        log.warning("The %s of the code cannot be found out: records will say unknown.", " and the ".join(unknown))
    if found["dirty"]:
        log.warning("The code has changes that are not committed: records will name no commit that has it, but say so.")


def _version(package: Path) -> str | None:
    """That of the checkout which the package lies in, else of the installed package."""
    try:
        project = tomllib.loads((package.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == NAME:
            return str(project["version"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):  # none, of another project, or half a copy
        pass
    try:
        return importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": device.type, "device_name": name, "threads": torch.get_num_threads()}


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


class Spent:
    """Seconds by the clock, and of the processor, that the body of a `with` takes, known when it is over."""

    def __enter__(self) -> Spent:
        self._began = time.perf_counter(), time.process_time()
        return self

    def so_far(self) -> Spent:
        self.wall, self.cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        return self

    def __exit__(self, *error: object) -> None:
        self.so_far()
