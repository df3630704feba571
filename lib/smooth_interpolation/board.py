"""The claims at all scales, as a page of the book shows them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from IPython.display import Markdown

from . import claims, second_looks, verdicts
from .errors import ConfigError


class Board:
    """Every claim at every scale, for a page of the book.

    Args:
        table: as `verdicts.overview`, which it is by default.
    """

    def __init__(self, table: pd.DataFrame | None = None) -> None:
        self.table = verdicts.overview() if table is None else table
        self._explained: set[str] = set()

    def counts(self) -> Any:
        """How many claims are in each state, a row per scale."""
        return Markdown(verdicts.counts(self.table))

    def figure(self, name: str) -> Any:
        """The claims made with a figure, or in the abstract alone, against scales."""
        return Markdown(verdicts.matrix(self.table, name))

    def why(self, *names: str) -> Any:
        """What the verdicts on these claims rest on, wherever they are contradicted or inconclusive."""
        unknown = set(names) - {claim.name for claim in claims.CLAIMS}
        if unknown:
            raise ConfigError(f"There is no claim {', '.join(sorted(unknown))}.")
        self._explained |= set(names)
        return Markdown(verdicts.explained(self.table, names))

    def others(self) -> Any:
        """The same for all claims that were not asked about yet."""
        return self.why(*(set(verdicts.not_supported(self.table).index) - self._explained))

    def criteria(self) -> Any:
        """The thresholds of judgement."""
        return Markdown(verdicts.criteria())

    def peaks(self) -> Any:
        """Where the peaks are, beside the threshold."""
        return _table(second_looks.peaks())

    def by_seed(self, scale: str, experiment: str, metric: str, subset: str = "all") -> Any:
        """A metric at the last epoch, a row per width and a column per seed."""
        return _table(second_looks.by_seed(scale, experiment, metric, subset))

    def by_first_width(self) -> Any:
        """The verdicts that hang on how the threshold is read."""
        return _table(second_looks.by_first_width())

    def over_epochs(self) -> Any:
        """Correlations over all epochs, and after the first descent, and a sentence that counts the latter."""
        found = second_looks.over_epochs()
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
    lines = ["| " + " | ".join(["Records", *frame.columns]) + " |", "|---" * (len(frame.columns) + 1) + "|"]
    lines += [
        f"| `{name}` | " + " | ".join(map(str, row)) + " |"
        for name, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return Markdown("\n".join(lines))
