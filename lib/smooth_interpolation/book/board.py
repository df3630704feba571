"""The claims at all scales, as a page of the book shows them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from typing import Any

import pandas as pd
from IPython.display import Markdown

from .. import claims
from ..claims import second_looks, verdicts
from ..errors import ConfigError
from ..runs.tables import markdown
from . import facts, matrix
from .captioned import Printed


class Board:
    """Every claim at every scale, for a page of the book.

    Args:
        table: as `verdicts.overview`, which it is by default.
    """

    def __init__(self, table: pd.DataFrame | None = None) -> None:
        self.table = verdicts.overview() if table is None else table

    @functools.cached_property
    def _evidences(self) -> second_looks.Evidences:
        return second_looks.evidences()

    def counts(self) -> Any:
        """How many claims are in each state, a row per scale."""
        return Markdown(verdicts.counts(self.table))

    def summary(self) -> Any:
        """How many claims are in each state, each at the largest scale that decides it, as a sentence."""
        return Markdown(f"{verdicts.count(matrix.largest(self.table))}.")

    def matrix(self) -> Any:
        """All claims against the experiments, coloured by their verdicts; a row unfolds."""
        return Printed(matrix.matrix(self.table), matrix.printed(self.table))

    def doubts(self) -> Any:
        """What to doubt about these verdicts."""
        return Markdown(matrix.doubts(self.table))

    def says(self, template: str, experiment: str, *names: str, verdict: str = "supported") -> Any:
        """A sentence about an experiment's records at every scale where all these claims have that verdict; else nothing.

        Its numbers are filled in by `facts.Facts`.
        """
        self._known(names)
        said = []
        for scale in claims.SCALES:
            if names and all(self.state(name, scale, experiment) == verdict for name in names):
                records, plan = second_looks.records_of(scale, experiment)
                if text := facts.known(facts.Facts(records, plan).fill(template)):
                    said.append(f"- `{scale}`: {text}")
        return Markdown("\n".join(said)) if said else None

    def measured(self) -> Any:
        """What was measured, a row per scale and experiment."""
        return _table(second_looks.measured())

    def untested(self) -> Any:
        """What of the paper's experiments was measured below their own data and epochs only, or not at all, as a point of a list."""
        best = {name: self._largest(name) for name in claims.EXPERIMENTS}
        parts = [
            f"`{name}` ({f'only at `{scale}` scale' if scale else 'nothing measured'})"
            for name, scale in best.items()
            if scale not in ("gpu", "paper")
        ]
        if "paper" not in best.values():
            parts.insert(0, "the paper's 4,000 epochs")
        return Markdown(f"- *Untested so far:* {', '.join(parts)}.") if parts else None

    def _largest(self, experiment: str) -> str | None:
        measured = self.table[(self.table.experiment == experiment) & (self.table.verdict != verdicts.NOTHING)]
        return next((scale for scale in reversed(claims.SCALES) if scale in set(measured.scale)), None)

    def agreement(self) -> Any:
        """How often the claims that two scales can judge have the same verdict at both."""
        both = self.table.set_index(["experiment", "scale"], append=True).verdict.unstack("scale")
        said = []
        for a, b in itertools.combinations(verdicts.measured_scales(self.table), 2):
            judged = both[(both[[a, b]].notna() & (both[[a, b]] != verdicts.NOTHING)).all(axis=1)]
            opposite = (judged[a] != judged[b]) & judged[[a, b]].isin(["supported", "contradicted"]).all(axis=1)
            if len(judged):
                said.append(
                    f"Of {len(judged)} claims judged at `{a}` and `{b}`, {(judged[a] == judged[b]).sum()} have the same verdict at "
                    f"both; supported at one and contradicted at the other: {opposite.sum()}."
                )
        return Markdown(" ".join(said)) if said else None

    def state(self, name: str, scale: str, experiment: str) -> str:
        """The verdict on one claim."""
        self._known([name])
        rows = self.table[(self.table.scale == scale) & (self.table.experiment == experiment)]
        return str(rows.verdict.get(name, verdicts.NOTHING))

    def _known(self, names: Iterable[str]) -> None:
        unknown = set(names) - {claim.name for claim in claims.CLAIMS}
        if unknown:
            raise ConfigError(f"There is no claim {', '.join(sorted(unknown))}.")

    def criteria(self) -> Any:
        """The thresholds of judgement, and since when they are fixed."""
        return Markdown(f"{verdicts.criteria()}\n\nFixed in {verdicts.fixed()}.")

    def thresholds(self) -> Any:
        """The interpolation threshold, its range over the moments, and what it would be with some training error."""
        return _table(second_looks.thresholds(self._evidences))

    def peaks(self) -> Any:
        """Where the peaks are, with their range over seeds and moments."""
        return _table(second_looks.peaks(self._evidences))

    def by_seed(self, scale: str, experiment: str, metric: str, subset: str = "all") -> Any:
        """A metric at the end of training, a row per width and a column per seed; nothing without records."""
        return _table(second_looks.by_seed(scale, experiment, metric, subset))

    def by_tolerance(self) -> Any:
        """The verdicts that hang on how the threshold is read."""
        return _table(second_looks.by_tolerance(self._evidences))

    def over_epochs(self) -> Any:
        """Correlations over all epochs, and after the first descent, and a sentence that counts the latter."""
        found = second_looks.over_epochs(self._evidences)
        later = found[[name for name in found if "after" in name]].to_numpy()
        later = later[later != "–"].astype(float)
        if not later.size:
            return _table(found)
        counted = (
            f"After the first descent {(later > 0).sum()} of {later.size} are positive; "
            f"they go from {later.min():.2f} to {later.max():.2f}."
        )
        return Markdown(f"{_table(found).data}\n\n{counted}")


def _table(frame: pd.DataFrame) -> Any:
    """A table with its texts in full, as Markdown."""
    if frame.empty:
        return Markdown("None.")
    return Markdown(markdown(frame.rename("`{}`".format).rename_axis("Records")))
