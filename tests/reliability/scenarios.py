"""What is done to runs and their files, counted: how often it was tried, and how often what was promised held.

Each scenario is a function of a directory of its own and of `quick`, which asks for a size for tests; it returns a `Count`. The tests
assert that everything held; `python -m tests.reliability` does all scenarios and writes the table in the book.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import timing

from smooth_interpolation import locations


@dataclass(frozen=True)
class Count:
    """How often something was tried, and held."""

    tried: int
    held: int

    def __add__(self, other: Count) -> Count:
        return Count(self.tried + other.tried, self.held + other.held)


Scenario = Callable[[Path, bool], Count]
SCENARIOS: dict[str, tuple[str, Scenario]] = {}  # by name: what is done and promised, and the function


def scenario(what: str) -> Callable[[Scenario], Scenario]:
    """Register a function (directory, quick) -> Count under its name, with one sentence for the table."""

    def register(function: Scenario) -> Scenario:
        SCENARIOS[function.__name__] = what, function
        return function

    return register


def count(held: Iterable[bool]) -> Count:
    answers = list(held)
    return Count(len(answers), sum(answers))


def main(output: Path | None = None, quick: bool = False, only: Iterable[str] | None = None) -> None:
    """Do all scenarios and write what was counted, each as soon as it is done."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ[locations.CACHE_VARIABLE] = cache  # not the user's: networks are removed from it
        _main(output, quick, only)


def _main(output: Path | None, quick: bool, only: Iterable[str] | None) -> None:
    content = timing.read("reliability", output)
    content = {name: section for name, section in content.items() if name in SCENARIOS}
    for name in only or SCENARIOS:
        what, function = SCENARIOS[name]
        origin = timing.origin()
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as directory:
            found = function(Path(directory), quick)
        seconds = time.perf_counter() - began
        result: dict[str, Any] = {"what": what, "tried": found.tried, "held": found.held, "seconds": seconds}
        content[name] = {"origin": origin, "result": timing.rounded(result)}
        path = timing.write("reliability", {n: content[n] for n in SCENARIOS if n in content}, output)
        print(f"{found.held:>6} of {found.tried:>6} held, {seconds:6.1f} s: {what}", flush=True)
    print(f"Written: {path}")


from . import stopping  # noqa: E402, F401, I001 (they register their scenarios, in the order of the table)
from . import sharing  # noqa: E402, F401
from . import disks  # noqa: E402, F401
