"""Which worker gets which run next.

Longest runs first, each to whoever has least to do by predicted cost, so that all end at about the same time. The seeds of a
width stay with the worker that began it, for they share what was captured or compiled for it; once no width is left that
nobody began, whoever has least to do takes from the others'.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from ..config import Run


@dataclass(eq=False)
class Load:
    """What a worker has to do."""

    slots: int  # runs at a time
    costs: dict[Run, float] = field(default_factory=dict)  # predicted for what is left of each run under way

    @property
    def total(self) -> float:
        return sum(self.costs.values())

    @property
    def free(self) -> bool:
        return len(self.costs) < self.slots


class Queue:
    """Runs that wait.

    Args:
        runs: which.
        costs: predicted of each, in any unit; None: they go in the order given.
    """

    def __init__(self, runs: Iterable[Run], costs: Mapping[Run, float] | None = None):
        self.costs = costs
        self.waiting = list(runs)
        if costs is not None:
            self.waiting.sort(key=lambda run: -costs[run])
        self._begun: dict[int, Hashable] = {}  # by width: who

    def __len__(self) -> int:
        return len(self.waiting)

    def take(self, worker: Hashable) -> Run:
        """The next run for a worker: of a width that it began, else of one that nobody did, else of any."""
        of_its_own = [run for run in self.waiting if self._begun.get(run.width) == worker]
        of_nobody = [run for run in self.waiting if run.width not in self._begun]
        run = (of_its_own or of_nobody or self.waiting)[0]
        self._begun.setdefault(run.width, worker)
        self.waiting.remove(run)
        return run

    def deal(self, loads: Mapping[Hashable, Load]) -> Iterable[tuple[Hashable, Run]]:
        """Runs for workers that have room, as long as there are both."""
        while self.waiting:
            free = [worker for worker, load in loads.items() if load.free]
            if not free:
                return
            worker = min(free, key=lambda worker: loads[worker].total)
            run = self.take(worker)
            loads[worker].costs[run] = self.costs[run] if self.costs else 1.0
            yield worker, run
