"""What a claim looks at: the curves of one experiment, averaged over seeds, and resampled for the bootstrap.

A claim is judged on the mean over seeds, and again on every bootstrap sample of the seeds: s seeds drawn from the s at
hand, with replacement, and their mean taken. Up to `EXACT` seeds all such samples are enumerated with their probabilities, so
the bootstrap has no randomness; for more, `SAMPLES` are drawn from a generator with a fixed seed. With two or three seeds the
95% interval runs from the lowest to the highest seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from . import store, trends

EXACT, SAMPLES = 5, 400
Weights = tuple[float, ...]  # of the seeds, adding up to 1


class NotMeasuredError(Exception):
    """The records do not hold what a claim is about; the message says what."""


class Evidence:
    """The tables of one experiment at one scale.

    Args:
        volumes: as `store.volumes_table`.
        history: as `store.history_table`.

    Seeds that lack a width, if only because one run diverged, are left out, or a curve over widths would be a mean over
    other seeds at each; `left_out` has them, and what they lack.
    """

    def __init__(self, volumes: pd.DataFrame, history: pd.DataFrame):
        self.volumes, self.history = volumes, history
        self.widths: list[int] = sorted(int(w) for w in volumes["width"].unique())
        self.sizes: list[int] = sorted(int(s) for s in volumes["size"].unique())
        has = volumes.groupby("seed")["width"].nunique()
        self.seeds: list[int] = [int(seed) for seed, n in has.items() if n == len(self.widths)]
        self.left_out: dict[int, list[int]] = {
            int(seed): sorted(set(self.widths) - set(part["width"].astype(int)))
            for seed, part in volumes.groupby("seed")
            if seed not in self.seeds
        }
        self.threshold = store.interpolation_threshold(history)
        volumes, history = (table[table["seed"].isin(self.seeds)] for table in (volumes, history))
        last = history.groupby(["metric", "subset", "width", "seed"], as_index=False).last()
        self._volumes = self._by_seed(volumes, ["metric", "subset", "size", "width"], "mean")
        self._last = self._by_seed(last, ["metric", "subset", "width"], "value")
        self._epochs = self._by_seed(history, ["metric", "subset", "width", "epoch"], "value")
        self._means: dict = {}  # bootstrap samples repeat the same few weights

    def _by_seed(self, table: pd.DataFrame, index: list[str], values: str) -> pd.DataFrame:
        """A column per seed, and the rows that every seed has."""
        wide = table.pivot(index=index, columns="seed", values=values)
        return wide.reindex(columns=self.seeds).dropna().sort_index()

    @classmethod
    def of(cls, records: Iterable[store.Record]) -> Evidence:
        records = list(records)
        return cls(store.volumes_table(records), store.history_table(records))

    def view(self, weights: Weights | None = None, draw: np.ndarray | None = None) -> View:
        """The curves under these weights of the seeds; by default their mean."""
        return View(self, weights or (1 / len(self.seeds),) * len(self.seeds), draw)

    def over_seeds(self) -> Iterator[tuple[float, View]]:
        """Every bootstrap sample of the seeds with its probability; nothing for one seed."""
        n = len(self.seeds)
        if n < 2:
            return
        if n <= EXACT:
            for drawn in itertools.combinations_with_replacement(range(n), n):
                counts = [drawn.count(i) for i in range(n)]
                ways = math.factorial(n) / math.prod(map(math.factorial, counts))
                yield ways / n**n, self.view(tuple(c / n for c in counts))
            return
        generator = np.random.default_rng(0)
        for _ in range(SAMPLES):
            yield 1 / SAMPLES, self.view(tuple(generator.multinomial(n, [1 / n] * n) / n))

    def over_widths(self) -> Iterator[tuple[float, View]]:
        """Bootstrap samples of the seeds and, within each, of the widths."""
        n, generator = len(self.seeds), np.random.default_rng(0)
        for _ in range(SAMPLES):
            weights = tuple(generator.multinomial(n, [1 / n] * n) / n)
            yield 1 / SAMPLES, self.view(weights, generator.random(len(self.widths)))


class View:
    """An `Evidence` under weights of its seeds: one number where there is one for each seed."""

    def __init__(self, evidence: Evidence, weights: Weights, draw: np.ndarray | None):
        self.widths, self.sizes, self.threshold = evidence.widths, evidence.sizes, evidence.threshold
        self._evidence, self._weights, self._draw = evidence, weights, draw

    def volume(self, metric: str, subset: str = "all", size: int = 0) -> pd.Series:
        """A metric over a volume against width."""
        return self._mean(self._evidence._volumes, (metric, subset, size), f"{metric} of {subset} points")

    def last_epoch(self, metric: str, subset: str = "all") -> pd.Series:
        """A metric of the training history, at the last epoch, against width."""
        return self._mean(self._evidence._last, (metric, subset), f"{metric} of {subset}")

    def epochs(self, metric: str, width: int, subset: str = "all") -> pd.Series:
        """A metric of one width's training history against epochs."""
        return self._mean(self._evidence._epochs, (metric, subset, width), f"{metric} over the epochs")

    @property
    def resampled(self) -> bool:
        """Does this bootstrap sample draw widths, too?"""
        return self._draw is not None

    def drawn(self, n: int) -> np.ndarray:
        """Which of n widths this bootstrap sample draws; each once outside of one."""
        return np.arange(n) if self._draw is None else (self._draw[:n] * n).astype(int)

    def once(self, what: tuple, compute: Callable[[], Any]) -> Any:
        """What is computed, from memory if it was before under the same weights of the seeds."""
        key = (self._weights, what)
        if key not in self._evidence._means:
            self._evidence._means[key] = compute()
        return self._evidence._means[key]

    def near_threshold(self) -> list[int]:
        """The widths that count as at the threshold; all of them if there is none."""
        return [w for w in self.widths if self.threshold is None or trends.near(self.widths, w, self.threshold)]

    def _mean(self, table: pd.DataFrame, key: tuple, what: str) -> pd.Series:
        def compute() -> pd.Series:
            try:
                curve = table.loc[key]
            except KeyError:
                raise NotMeasuredError(f"The records do not hold the {what.replace('_', ' ')}.") from None
            return pd.Series(curve.to_numpy() @ np.array(self._weights), index=curve.index)

        return self.once((id(table), key), compute)
