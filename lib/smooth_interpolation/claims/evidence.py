"""What a claim looks at: the curves of one experiment, averaged over seeds, and sampled for its verdict.

A claim is judged on the mean over seeds and over the moments at the end of training (see `moments`), and again on every
sample: s seeds drawn from the s at hand, with replacement, as they were at one of the moments, the threshold too. Up to
`EXACT` seeds all samples are enumerated with their probabilities, so nothing is random; for more, `SAMPLES` draws of seeds
are made by a generator with a fixed seed. With two or three seeds, a 95% interval runs from the lowest to the highest seed and moment.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..config import Experiment
from ..runs import record_format, store, tables
from ..runs.records import planned
from . import moments, trends

EXACT, SAMPLES = 5, 400
AT_POINTS = {  # what the training history says of the points themselves, at every moment
    "crossentropy": "train_crossentropy",
    "jacobian_norm": "jacobian_norm",
    "tangent_hessian_norm": "tangent_hessian_norm",
}
Weights = tuple[float, ...]  # of the seeds, adding up to 1
Found = TypeVar("Found")


class NotMeasuredError(Exception):
    """The records do not hold what a claim is about; the message says what."""


class Evidence:
    """The tables of one experiment at one scale.

    Args:
        volumes: as `tables.volumes_table`.
        history: as `tables.history_table`.
        plan: the widths and seeds to judge; what was measured besides is ignored. Without one, it is the largest grid of
            widths and seeds that is complete, so that a width which one seed alone has, or a seed with few widths, counts
            for nothing.
        images: how many test images there are, by subset of `test_error` and `test_error_by_group`; none if unknown.
        irreducible: training error in percent that no network can avoid.

    Seeds that lack a width of the plan, if only because one run diverged, are left out of the curves, or a curve over widths
    would be a mean over other seeds at each; `left_out` has them, and what they lack. The threshold is read from all runs of the plan that
    did not diverge.
    """

    def __init__(
        self,
        volumes: pd.DataFrame,
        history: pd.DataFrame,
        plan: Experiment | None = None,
        *,
        images: dict[str, float] | None = None,
        irreducible: float = 0.0,
    ):
        if plan is None:
            planned = _largest_grid(volumes)
        else:
            volumes = volumes[volumes["seed"].isin(plan.seeds)]
            planned = set(plan.widths)
        volumes, history = (table[table["width"].isin(planned)] for table in (volumes, history))
        history = history if plan is None else history[history["seed"].isin(plan.seeds)]
        self.volumes, self.history, self.irreducible = volumes, history, irreducible
        self.widths: list[int] = sorted(int(w) for w in volumes["width"].unique())
        self.sizes: list[int] = sorted(int(s) for s in volumes["size"].unique())
        n_widths = volumes.groupby("seed")["width"].nunique().items()
        self.seeds: list[int] = [int(seed) for seed, n in n_widths if n == len(self.widths)]
        self.left_out: dict[int, list[int]] = {
            int(seed): sorted(set(self.widths) - set(part["width"].astype(int)))
            for seed, part in volumes.groupby("seed")
            if seed not in self.seeds
        }
        self.moments = moments.count(history)
        each = [moments.settled(history, moment, self.moments) for moment in range(self.moments)]
        self._at_thresholds = [history, *each]
        self._place(0.0)
        self._images = images or {}
        each = [table[table["seed"].isin(self.seeds)] for table in (moments.settled(history), *each)]
        self._epochs = [self._by_seed(table, ["metric", "subset", "width"], "epoch", "value") for table in each]
        ends = [table[table.epoch == table.groupby(moments.RUN).epoch.transform("max")] for table in each]
        self._ends = [self._by_seed(table, ["metric", "subset"], "width", "value") for table in ends]
        chosen = volumes["seed"].isin(self.seeds)
        self._volumes = self._by_seed(volumes[chosen], ["metric", "subset", "size"], "width", "mean")
        self.read_the_threshold = False  # whether a check has asked for it
        self._means: dict[Any, Any] = {}  # samples repeat the same few weights

    def _place(self, tolerance: float) -> None:
        self.threshold, *self.thresholds = (
            store.interpolation_threshold(one, irreducible=self.irreducible, tolerance=tolerance)
            for one in self._at_thresholds
        )

    def allowing(self, tolerance: float) -> Evidence:
        """The same with another tolerance of the threshold, see `store.interpolation_threshold`, and with the same memory."""
        other = copy.copy(self)
        other._place(tolerance)
        return other

    def _by_seed(self, table: pd.DataFrame, series: list[str], place: str, values: str) -> dict[Any, pd.DataFrame]:
        """For each series a row per place that every seed has, and a column per seed."""
        wide = table.pivot(index=[*series, place], columns="seed", values=values).reindex(columns=self.seeds).dropna()
        keys, wide = wide.index.droplevel(place), wide.droplevel(series)
        starts = np.flatnonzero(~keys.duplicated())  # sorted: the rows of a series stand together
        return {keys[a]: wide.iloc[a:b] for a, b in zip(starts, [*starts, len(wide)][1:], strict=True)}

    @classmethod
    def of(cls, records: Iterable[record_format.Record], plan: Experiment | None = None) -> Evidence:
        """The evidence of some records, those outside the plan ignored."""
        records = planned(list(records), plan)
        return cls(
            tables.volumes_table(records),
            tables.history_table(records),
            plan,
            images=_test_images(records[0]) if records else None,
            irreducible=store.irreducible_error(records),
        )

    def view(self, weights: Weights | None = None, moment: int | None = None, draw: np.ndarray | None = None) -> View:
        """The curves under these weights of the seeds at a moment; by default their means."""
        return View(self, weights or (1 / len(self.seeds),) * len(self.seeds), moment, draw)

    def over_seeds(self) -> Iterator[tuple[float, Weights]]:
        """The weights of every bootstrap sample of the seeds, with its probability."""
        n = len(self.seeds)
        if n <= EXACT:
            for drawn in itertools.combinations_with_replacement(range(n), n):
                counts = [drawn.count(i) for i in range(n)]
                ways = math.factorial(n) / math.prod(map(math.factorial, counts))
                yield ways / n**n, tuple(c / n for c in counts)
            return
        generator = np.random.default_rng(0)
        for _ in range(SAMPLES):
            yield 1 / SAMPLES, tuple(generator.multinomial(n, [1 / n] * n) / n)

    def samples(self, check: Callable[[View], Found]) -> list[tuple[float, Found]]:
        """What a check finds in every sample of the seeds and the moments; nothing for one seed at one moment."""
        if len(self.seeds) < 2 and self.moments < 2:
            return []
        found = []
        for probability, weights in self.over_seeds():
            same: dict[int | None, Found] = {}  # what was found at another moment, but hangs on its threshold alone
            for moment in range(self.moments):
                view = self.view(weights, moment)
                answer = same.get(view._threshold) or check(view)
                if not view.read_the_end:
                    same[view._threshold] = answer
                found.append((probability / self.moments, answer))
        return found

    def over_widths(self, check: Callable[[View], Found]) -> list[tuple[float, Found]]:
        """What it finds in bootstrap samples of the seeds and, within each, of the moments and the widths."""
        n, generator = len(self.seeds), np.random.default_rng(0)
        found = []
        for _ in range(SAMPLES):
            weights = tuple(generator.multinomial(n, [1 / n] * n) / n)
            moment, draw = int(generator.integers(self.moments)), generator.random(len(self.widths))
            found.append((1 / SAMPLES, check(self.view(weights, moment, draw))))
        return found


class View:
    """An `Evidence` under weights of its seeds at a moment: one number where there is one for each seed."""

    def __init__(self, evidence: Evidence, weights: Weights, moment: int | None, draw: np.ndarray | None):
        self.widths, self.sizes = evidence.widths, evidence.sizes
        self._threshold = evidence.threshold if moment is None or evidence.moments < 2 else evidence.thresholds[moment]
        self.read_the_end = False  # whether a check has asked for what differs between the moments
        self._evidence, self._weights, self._draw = evidence, weights, draw
        self._at = 0 if moment is None else 1 + moment

    @property
    def threshold(self) -> int | None:
        """The interpolation threshold at this moment."""
        self._evidence.read_the_threshold = True
        return self._threshold

    def volume(self, metric: str, subset: str = "all", size: int = 0) -> pd.Series:
        """A metric over a volume against width, after the last epoch: volumes are measured once."""
        return self._mean(self._evidence._volumes, (metric, subset, size), f"{metric} of {subset} points")

    def sharpness(self, metric: str, subset: str = "all", size: int = 0) -> pd.Series:
        """A loss or norm against width: over a volume, and at the points themselves at the end of training, see `AT_POINTS`."""
        there = self._at_points(metric, subset, size)
        return self.end(*there) if there else self.volume(metric, subset, size)

    def _at_points(self, metric: str, subset: str, size: int) -> tuple[str, str] | None:
        there = AT_POINTS.get(metric, ""), subset
        return there if size == 0 and self._evidence.moments > 1 and there in self._evidence._ends[0] else None

    def end(self, metric: str, subset: str = "all") -> pd.Series:
        """A metric of the training history, at the end of training, against width."""
        self.read_the_end = True
        return self._mean(self._evidence._ends[self._at], (metric, subset), f"{metric} of {subset}")

    def epochs(self, metric: str, width: int, subset: str = "all") -> pd.Series:
        """A metric of one width's training history against epochs, with one value for the end of training."""
        self.read_the_end = True
        return self._mean(self._evidence._epochs[self._at], (metric, subset, width), f"{metric} over the epochs")

    def image_error(self, metric: str, subset: str = "all") -> float:
        """The standard error that the number of test images leaves of a test error, in percentage points.

        The binomial one, sqrt(p (1 - p) / n), root mean square over widths. Seeds share the images, so it is that of their mean as well.
        """
        n = self._evidence._images.get(subset, 0)

        def compute() -> float:
            p = self._evidence.view().end(metric, subset) / 100
            return 100 * math.sqrt(float((p * (1 - p)).mean()) / n)

        return self.remembered(("image error", metric, subset), compute) if n else 0.0

    def noise(self, metric: str, subset: str = "all") -> float:
        """The standard error of a mean test error: of the test images, and of the seeds; of the moments for one seed."""
        e = self._evidence

        def compute() -> float:
            over = [e._ends[0].get((metric, subset))]
            if len(e.seeds) < 2 and e.moments > 1:
                over = [ends.get((metric, subset)) for ends in e._ends[1:]]
            values = np.concatenate([part.to_numpy() for part in over if part is not None], axis=1)
            spread = math.sqrt(trends.typical_variance(values) / values.shape[1])
            return math.hypot(self.image_error(metric, subset), spread)

        return self.remembered(("noise", metric, subset), compute)

    def log_noise(self, metric: str, subset: str, size: int) -> float:
        """The standard error of the logarithm of a mean over a volume, from the seeds; 0 for one seed."""
        there = self._at_points(metric, subset, size)

        def compute() -> float:
            e = self._evidence
            values = (e._ends[0][there] if there else e._volumes[metric, subset, size]).to_numpy()
            logarithms = np.log(np.maximum(values, max(trends.VANISHED * values.max(), trends.TINY)))
            return math.sqrt(trends.typical_variance(logarithms) / values.shape[1])

        return self.remembered(("log noise", metric, subset, size), compute)

    def remembered(self, key: tuple[Any, ...], compute: Callable[[], Found]) -> Found:
        """What is computed, from memory if it was before; the key says all that it depends on."""
        memory = self._evidence._means
        if key not in memory:
            memory[key] = compute()
        return memory[key]

    @property
    def resampled(self) -> bool:
        """Does this bootstrap sample draw widths, too?"""
        return self._draw is not None

    def drawn(self, n: int) -> np.ndarray:
        """Which of n widths this bootstrap sample draws; each once outside of one."""
        return np.arange(n) if self._draw is None else (self._draw[:n] * n).astype(int)

    def once(self, what: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """What is computed, from memory if it was before under the same weights of the seeds, at the same moment."""
        self.read_the_end = True  # it may have, whoever computed it
        return self.remembered((self._weights, self._at, self.threshold, what), compute)

    def _mean(self, curves: dict[Any, pd.DataFrame], key: tuple[Any, ...], what: str) -> pd.Series:
        def compute() -> pd.Series:
            if key not in curves:
                raise NotMeasuredError(f"The records do not hold the {what.replace('_', ' ')}.")
            curve = curves[key]
            return pd.Series(curve.to_numpy() @ np.array(self._weights), index=curve.index)

        return self.remembered((id(curves), self._weights, key), compute)


def _largest_grid(volumes: pd.DataFrame) -> set[int]:
    """Of the widths that the k seeds with the most widths share, those for the k with most runs; more widths rather than seeds."""
    by_seed = [set(part["width"]) for _, part in volumes.groupby("seed")]
    by_seed.sort(key=len, reverse=True)
    grids = [(k, set.intersection(*by_seed[:k])) for k in range(1, len(by_seed) + 1)]
    return max(grids, key=lambda grid: (grid[0] * len(grid[1]), len(grid[1])))[1] if grids else set()


def _test_images(record: record_format.Record) -> dict[str, float]:
    """How many test images each group of classes has, which are of one size."""
    n, data = record["data"]["n_test"], record["data"]
    share = len(data.get("corrupted_classes", ())) / max(record["config"]["n_classes"], 1)
    return {"all": n, "corrupted_classes": n * share, "other_classes": n * (1 - share)}
