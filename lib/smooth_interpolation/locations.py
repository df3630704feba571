"""Where things are: the repository, the data, the cache."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import platformdirs

DATA_VARIABLE = "SMOOTH_INTERPOLATION_DATA"
RESULTS_VARIABLE = "SMOOTH_INTERPOLATION_RESULTS"
CACHE_VARIABLE = "SMOOTH_INTERPOLATION_CACHE"


def repository() -> Path:
    """The directory with `params/` and `results/`: that of this checkout, else the nearest one above here."""
    checkout = Path(__file__).resolve().parents[2]
    here = Path.cwd()
    for directory in (checkout, here, *here.parents):
        if (directory / "params").is_dir():
            return directory
    return here


def git(place: Path, *arguments: str) -> str | None:
    """What git says of a directory; None where there is no git, or it refuses."""
    try:
        result = subprocess.run(["git", "-C", str(place), *arguments], capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.decode(errors="replace").strip() if result.returncode == 0 else None


def params_file(scale: str, experiment: str) -> Path:
    return repository() / "params" / scale / f"{experiment}.yaml"


def expanded(path: Path | str) -> Path:
    """A path whose `~` or `~name` is a home, as a shell would have it; as it is where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def given(path: Path | str) -> Path:
    """A file that is to be read: from here, or else a relative one that is not here from the repository."""
    path = expanded(path)
    there = repository() / path
    return there if not path.exists() and there.exists() else path


def results() -> Path:
    """The records: `results/` of the repository. `$SMOOTH_INTERPOLATION_RESULTS` names another place."""
    named = os.environ.get(RESULTS_VARIABLE)
    return expanded(named) if named else repository() / "results"


def data_directories() -> list[Path]:
    """The places searched for images, in order: `$SMOOTH_INTERPOLATION_DATA`, then `data/`."""
    named = os.environ.get(DATA_VARIABLE)
    return [*([expanded(named)] if named else []), repository() / "data"]


def cache() -> Path:
    """Decoded datasets and final weights; safe to delete. `$SMOOTH_INTERPOLATION_CACHE` moves it."""
    named = os.environ.get(CACHE_VARIABLE)
    return expanded(named) if named else Path(platformdirs.user_cache_dir("smooth-interpolation"))
