"""The claims at all scales, as a page of the book shows them."""

from __future__ import annotations

from typing import Any

from IPython.display import Markdown

from . import verdicts


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
