"""What the paper claims, as functions that look at the runs and answer.

A claim answers `supported`, `contradicted`, `inconclusive` or `not measured`, with an effect size and a sentence. The
criteria stand here and in `trends`, and are the same for every scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from . import store, trends
from .trends import NEAR, POINTS, STEP

State = Literal["supported", "contradicted", "inconclusive", "not measured"]
STATES: tuple[State, ...] = get_args(State)
SHARPNESS = ("crossentropy", "jacobian_norm", "tangent_hessian_norm")
MIN_WIDTHS = 5  # fewer show no trend
MONOTONE, NOT_MONOTONE = 0.9, 0.5  # Spearman's rank correlation


@dataclass(frozen=True)
class Evidence:
    """The tables of one experiment at one scale."""

    volumes: pd.DataFrame
    history: pd.DataFrame

    @classmethod
    def of(cls, records: Iterable[store.Record]) -> Evidence:
        records = list(records)
        return cls(store.volumes_table(records), store.history_table(records))

    @property
    def threshold(self) -> int | None:
        return store.interpolation_threshold(self.history)

    @property
    def widths(self) -> list[int]:
        return sorted(self.volumes["width"].unique())

    @property
    def sizes(self) -> list[int]:
        return sorted(self.volumes["size"].unique())

    def curves(self, metric: str, subset: str = "all", size: int = 0) -> pd.DataFrame:
        """Means over points: a row per width, a column per seed that has every width."""
        v = self.volumes
        part = v[(v.metric == metric) & (v.subset == subset) & (v["size"] == size)]
        return part.pivot(index="width", columns="seed", values="mean").dropna(axis="columns")

    def last_epoch(self, metric: str, subset: str = "all") -> pd.DataFrame:
        """Values at the last epoch, as `curves`."""
        h = store.last_epoch(self.history, metric, subset)
        return h.pivot(index="width", columns="seed", values="value").dropna(axis="columns")


@dataclass(frozen=True)
class Verdict:
    state: State
    sentence: str
    effect: float | None = None
    spread: float | None = None  # standard deviation of the effect over seeds, where there are several
    measure: str = ""  # what the effect is


@dataclass(frozen=True)
class Claim:
    name: str
    place: str  # in the paper
    statement: str
    check: Callable[[Evidence], Verdict]

    def __call__(self, evidence: Evidence) -> Verdict:
        if len(evidence.widths) < MIN_WIDTHS or evidence.curves("accuracy").empty:
            return Verdict("not measured", f"Needs at least {MIN_WIDTHS} widths with a common seed.")
        return self.check(evidence)


CLAIMS: list[Claim] = []


def claim(place: str, statement: str) -> Callable[[Callable[[Evidence], Verdict]], Callable[[Evidence], Verdict]]:
    def register(check: Callable[[Evidence], Verdict]) -> Callable[[Evidence], Verdict]:
        CLAIMS.append(Claim(check.__name__.replace("_", "-"), place, statement, check))
        return check

    return register


@claim("Section 4, Figure 1c", "The test error peaks at or just below the interpolation threshold and descends again.")
def test_error_peak(evidence: Evidence) -> Verdict:
    error = evidence.last_epoch("test_error")
    threshold = evidence.threshold
    peaks = [trends.peak(error[seed], POINTS) for seed in error]
    if None in peaks:
        sentence = f"The test error does not rise and fall again by {POINTS:g} percentage point between two widths."
        return Verdict("contradicted", sentence)
    falls = [float(error[seed][peak] - error[seed].iloc[-1]) for seed, peak in zip(error, peaks, strict=True)]
    effect = {
        "effect": trends.mean(falls),
        "spread": trends.spread(falls),
        "measure": "percentage points from the peak to the widest",
    }
    sentence = f"The test error peaks at w = {_listed(peaks)}"
    if threshold is None:
        return Verdict("inconclusive", f"{sentence}; no width reaches zero training error for good.", **effect)
    near = all(peak <= threshold and trends.steps(evidence.widths, peak, threshold) <= NEAR for peak in peaks)
    return Verdict("supported" if near else "inconclusive", f"{sentence}; the threshold is w = {threshold}.", **effect)


@claim("Section 4.1, Figure 2", "Training accuracy grows with width to 100% at the threshold, and stays there.")
def training_accuracy_grows(evidence: Evidence) -> Verdict:
    threshold = evidence.threshold
    accuracy = 100 - evidence.last_epoch("train_error")
    up_to = accuracy[accuracy.index <= (threshold or evidence.widths[-1])]
    ranks = [trends.rank_correlation(up_to[seed]) for seed in up_to]
    effect = {
        "effect": trends.mean(ranks),
        "spread": trends.spread(ranks),
        "measure": "rank correlation with width, up to the threshold",
    }
    if threshold is None:
        worst = f"The widest network's training error is {100 - accuracy.iloc[-1].mean():.2f}%."
        return Verdict("inconclusive", f"No width reaches zero training error for good. {worst}", **effect)
    return Verdict(_graded(min(ranks)), f"It is 100% from w = {threshold} on, in every seed.", **effect)


@claim("Section 4.1, Figure 2", "Accuracy over volumes grows monotonically with width, for every volume size.")
def volume_accuracy_grows(evidence: Evidence) -> Verdict:
    ranks = {
        size: [trends.rank_correlation(curve) for _, curve in evidence.curves("accuracy", size=size).items()]
        for size in evidence.sizes[1:]
    }
    weakest = min(ranks, key=lambda size: np.mean(ranks[size]))
    values = ranks[weakest]
    sentence = f"The weakest rank correlation with width is {np.mean(values):.2f}, at volume size {weakest}."
    return Verdict(
        _graded(np.mean(values)),
        sentence,
        trends.mean(values),
        trends.spread(values),
        "smallest rank correlation with width",
    )


def _peak(evidence: Evidence, metric: str, name: str) -> Verdict:
    threshold = evidence.threshold
    curves = [curve for size in evidence.sizes for _, curve in evidence.curves(metric, size=size).items()]
    ratios = [trends.second_descent(curve) for curve in curves]
    effect = {
        "effect": trends.geometric_mean(ratios),
        "measure": "peak / value at the widest, geometric mean over volume sizes",
    }
    seeds = evidence.curves(metric).columns
    if len(seeds) > 1:
        by_seed = [
            trends.geometric_mean(
                [trends.second_descent(evidence.curves(metric, size=size)[seed]) for size in evidence.sizes]
            )
            for seed in seeds
        ]
        effect["spread"] = trends.spread(by_seed)
    peaks = [trends.peak(np.log(curve), np.log(STEP)) for curve in curves]
    found = [peak for peak in peaks if peak is not None]
    if len(found) < len(curves) / 2:
        return Verdict("contradicted", f"{name} has a peak for {len(found)} of {len(curves)} curves only.", **effect)
    sentence = f"{name} peaks at w = {_listed(found)} over the volume sizes, for {len(found)} of {len(curves)} curves"
    if threshold is None:
        return Verdict("inconclusive", f"{sentence}; no width reaches zero training error for good.", **effect)
    near = sum(trends.steps(evidence.widths, peak, threshold) <= NEAR for peak in found)
    state: State = "supported" if near == len(curves) else "inconclusive"
    return Verdict(
        state, f"{sentence}; {near} within {NEAR} measured widths of the threshold, w = {threshold}.", **effect
    )


@claim("Section 4.1, Figure 2", "Crossentropy over volumes peaks at the threshold and falls beyond.")
def crossentropy_peak(evidence: Evidence) -> Verdict:
    return _peak(evidence, "crossentropy", "Crossentropy")


@claim(
    "Section 4.1, Figure 2",
    "The Jacobian norm peaks at the threshold and falls beyond, at the points and over volumes.",
)
def jacobian_peak(evidence: Evidence) -> Verdict:
    return _peak(evidence, "jacobian_norm", "The Jacobian norm")


@claim(
    "Section 4.1, Figure 2", "The Hessian norm peaks at the threshold and falls beyond, at the points and over volumes."
)
def hessian_peak(evidence: Evidence) -> Verdict:
    return _peak(evidence, "tangent_hessian_norm", "The Hessian norm")


@claim("Section 4.2, Figure 3", "At the threshold, sharpness grows with the volume's size.")
def sharpness_grows_with_volume(evidence: Evidence) -> Verdict:
    threshold = evidence.threshold
    if threshold is None:
        return Verdict("inconclusive", "No width reaches zero training error for good.")
    ratios = []
    for metric in SHARPNESS:
        largest, point = (evidence.curves(metric, size=size).loc[threshold] for size in (evidence.sizes[-1], 0))
        ratios += list(largest / point)
    low, high = min(ratios), max(ratios)
    state: State = "supported" if low > STEP else "contradicted" if high < 1 else "inconclusive"
    sentence = f"At w = {threshold} the largest volume has {_times(low)} to {_times(high)} the value at the points."
    return Verdict(
        state, sentence, trends.geometric_mean(ratios), None, "largest volume / point, geometric mean over metrics"
    )


@claim("Section 4.2, Figure 3", "The smallest networks fit clean points and hardly any noisy ones.")
def small_networks_fit_clean_points(evidence: Evidence) -> Verdict:
    clean, noisy = (evidence.curves("accuracy", subset) for subset in ("clean", "noisy"))
    narrow = [w for w in evidence.widths if clean.loc[w].mean() < 0.9]
    if not narrow:
        return Verdict("inconclusive", "Even the narrowest network fits nearly all clean points.")
    width = narrow[0]
    gap = list(clean.loc[width] - noisy.loc[width])
    state: State = "supported" if min(gap) > 0.1 and noisy.loc[width].max() < 0.2 else "inconclusive"
    state = "contradicted" if max(gap) <= 0 else state
    sentence = f"At w = {width} it predicts {clean.loc[width].mean():.0%} of clean and {noisy.loc[width].mean():.0%} of noisy labels."
    return Verdict(
        state, sentence, trends.mean(gap), trends.spread(gap), "clean minus noisy accuracy at the narrowest width"
    )


@claim("Section 4.2, Figure 3", "The largest networks predict the noisy label over large volumes.")
def large_networks_predict_noisy_labels(evidence: Evidence) -> Verdict:
    accuracy = list(evidence.curves("accuracy", "noisy", evidence.sizes[-1]).iloc[-1])
    low = min(accuracy)
    state: State = "supported" if low >= 0.9 else "contradicted" if max(accuracy) < 0.5 else "inconclusive"
    sentence = (
        f"At w = {evidence.widths[-1]} the noisy label is predicted over {np.mean(accuracy):.0%} of the largest volume."
    )
    return Verdict(
        state,
        sentence,
        trends.mean(accuracy),
        trends.spread(accuracy),
        "accuracy on noisy labels over the largest volume",
    )


@claim("Section 4.2, Figure 3", "The peaks are higher around noisy labels than around clean ones.")
def noisy_peaks_are_higher(evidence: Evidence) -> Verdict:
    ratios = []
    for metric in SHARPNESS:
        for size in evidence.sizes:
            clean, noisy = (evidence.curves(metric, subset, size).max() for subset in ("clean", "noisy"))
            ratios += list(noisy / clean)
    low, high = min(ratios), max(ratios)
    state: State = "supported" if low > 1 else "contradicted" if high < 1 else "inconclusive"
    sentence = f"The peak around noisy points is {_times(low)} to {_times(high)} that around clean ones."
    return Verdict(state, sentence, trends.geometric_mean(ratios), None, "noisy peak / clean peak, geometric mean")


def judge(records: Iterable[store.Record]) -> pd.DataFrame:
    """A row per claim: place, statement, state, effect, spread, measure and sentence."""
    evidence = Evidence.of(records)
    rows = []
    for one in CLAIMS:
        verdict = one(evidence)
        rows.append(
            (
                one.name,
                one.place,
                one.statement,
                verdict.state,
                verdict.effect,
                verdict.spread,
                verdict.measure,
                verdict.sentence,
            )
        )
    columns = ["claim", "place", "statement", "verdict", "effect", "spread", "measure", "sentence"]
    return pd.DataFrame(rows, columns=columns).set_index("claim")


def _graded(rank: float) -> State:
    return "supported" if rank >= MONOTONE else "contradicted" if rank < NOT_MONOTONE else "inconclusive"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 100 else f"{ratio:.2g} times"


def _listed(widths: list[int]) -> str:
    return ", ".join(map(str, sorted(set(widths))))


from . import epoch_claims  # noqa: E402, F401 (it adds its claims to the registry above)
