"""What became of the runs of a sweep, whatever the engine: as an outcome, and as events on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..config import Run
from .watching import Status


@dataclass
class Outcome:
    """What became of the runs of a sweep."""

    complete: list[Run] = field(default_factory=list)
    diverged: list[Run] = field(default_factory=list)
    failed: list[tuple[Run, str]] = field(default_factory=list)  # with what went wrong
    skipped: list[tuple[Run, str]] = field(default_factory=list)  # with why: done or in progress elsewhere
    left: list[Run] = field(default_factory=list)  # when time was up


@dataclass(frozen=True)
class Event:
    """News of one run: its status while it works, then `outcome`: "complete", "diverged", "failed" or "skipped"."""

    run: Run
    status: Status | None = None
    outcome: str | None = None
    device: str | None = None  # where it is known, such as "cuda:1"


Watch = Callable[[Event], None]


class Tally:
    """What `work.do` reports, from whatever engine, as an outcome and as events."""

    def __init__(self, watch: Watch = lambda event: None):
        self.outcome, self.watch = Outcome(), watch

    def report(self, run: Run, kind: str, content: Any = None, device: str | None = None) -> None:
        if kind == "status":
            self.watch(Event(run, content, device=device))
        elif kind == "stopped":
            self.outcome.left.append(run)
        else:
            entry = (run, content) if kind in ("failed", "skipped") else run
            getattr(self.outcome, kind).append(entry)
            self.watch(Event(run, outcome=kind))
