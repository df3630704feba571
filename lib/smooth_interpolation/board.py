"""The claims at all scales, as a page of the book shows them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from IPython.display import Markdown

from . import second_looks, verdicts


class Board:
    """Every claim at every scale, for a page of the book."""

    def __init__(self) -> None:
        self.table = verdicts.overview()

    def counts(self) -> Any:
        """How many claims are in each state, a row per scale."""
        return Markdown(verdicts.counts(self.table))

    def figure(self, name: str) -> Any:
        """The claims made with a figure, or in the abstract alone, against scales."""
        return Markdown(verdicts.matrix(self.table, name))

    def not_supported(self, scale: str) -> Any:
        """The claims that are contradicted or inconclusive at a scale, each in a sentence."""
        return Markdown(verdicts.not_supported(self.table, scale))

    def criteria(self) -> Any:
        """The thresholds of judgement."""
        return Markdown(verdicts.criteria())

    def peaks(self) -> Any:
        """Where the peaks are, beside the threshold."""
        return _table(second_looks.peaks())

    def by_first_width(self) -> Any:
        """The verdicts that hang on how the threshold is read."""
        return _table(second_looks.by_first_width())

    def over_epochs(self) -> Any:
        """Correlations over all epochs, and after the first descent."""
        return _table(second_looks.over_epochs())


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
