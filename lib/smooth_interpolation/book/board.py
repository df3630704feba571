"""The claims at all scales, as a page of the book shows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pandas as pd
from IPython.display import Markdown

from .. import claims
from ..claims import second_looks, verdicts
from ..errors import ConfigError
from . import captioned, facts, matrix


class Board:
    """Every claim at every scale, for a page of the book.

    Args:
        table: as `verdicts.overview`, which it is by default.
    """

    def __init__(self, table: pd.DataFrame | None = None) -> None:
        self.table = verdicts.overview() if table is None else table

    def counts(self) -> Any:
        """How many claims are in each state, a row per scale."""
        return look(verdicts.counts(self.table), "Verdicts at every scale that is measured.")

    def summary(self) -> Any:
        """How many claims are in each state, each at the largest scale that decides it, as a sentence."""
        return Markdown(f"{verdicts.count(matrix.largest(self.table))}.")

    def matrix(self) -> Any:
        """All claims against the experiments, coloured by their verdicts; on a screen a row unfolds."""
        return captioned.Rich(matrix.matrix(self.table), matrix.printed(self.table))

    def doubts(self) -> Any:
        """What to doubt about these verdicts."""
        return Markdown(matrix.doubts(self.table))

    def says(self, template: str, experiment: str, *names: str, verdict: str = "supported") -> Any:
        """A sentence about an experiment's records at the largest scale where all these claims have that verdict; else nothing.

        Its numbers are filled in by `facts.Facts`; the other scales with that verdict are named, and larger ones with another.
        """
        self._known(names)
        agreed = [s for s in claims.SCALES if names and all(self.state(n, s, experiment) == verdict for n in names)]
        if not agreed:
            return None
        *others, scale = agreed
        text = facts.known(facts.Facts(*second_looks.records_of(scale, experiment)).fill(template))
        also = f" At {' and '.join(f'`{other}`' for other in others)}, too." if others else ""
        for larger in claims.SCALES[claims.SCALES.index(scale) + 1 :]:
            states = {self.state(name, larger, experiment) for name in names} - {verdict, verdicts.NOTHING}
            also += f" At `{larger}`: {' and '.join(sorted(states))}." if states else ""
        return Markdown(f"- `{scale}`: {text}{also}") if text else None

    def measured(self) -> Any:
        """What was measured, a row per scale and experiment."""
        return look(second_looks.measured(), "What was measured of every experiment.")

    def untested(self) -> Any:
        """What of the paper's experiments was measured below their own data and epochs only, or not at all, as a point of a list."""
        best = {name: self._largest(name) for name in claims.EXPERIMENTS}
        parts = [
            f"{matrix.EXPERIMENTS[name][0]} ({f'only at `{scale}` scale' if scale else 'nothing measured'})"
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


def criteria() -> Any:
    """The thresholds of judgement, and since when they are fixed."""
    table = verdicts.criteria()
    places = [verdicts.place_of(name) for name in table.index]
    return captioned.table(table, f"The criteria, fixed in {verdicts.fixed()}.", places=places, cards=True)


def positive(correlations: pd.DataFrame) -> str:
    """How many of `second_looks.over_epochs` are positive after the first descent, as a sentence; nothing without any."""
    later = correlations[[name for name in correlations if "after" in name]].to_numpy()
    later = later[later != "–"].astype(float)
    if not later.size:
        return ""
    share = f"After the first descent {(later > 0).sum()} of {later.size} are positive"
    return f"{share}; they go from {later.min():.2f} to {later.max():.2f}."


def look(frame: pd.DataFrame, caption: str) -> Any:
    """A table of `second_looks`, or that it would have no rows."""
    if frame.empty:
        return Markdown("None.")
    named = frame.rename(lambda name: name if name.startswith("w = ") else f"`{name}`")
    return captioned.table(named.rename_axis(frame.index.name or "Records"), caption)
