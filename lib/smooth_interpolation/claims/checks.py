"""Checks that several claims share: peaks over width and their place, order, and what is left at the widest network.

Each takes a `View` and answers with a `Finding`; `widths` and its neighbours say which claim asks which.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from . import trends
from .evidence import View
from .registry import Finding, State, decided, share
from .trends import POINTS, STEP
from .words import number

SHARPNESS = {"crossentropy": "crossentropy", "jacobian": "jacobian_norm", "hessian": "tangent_hessian_norm"}
NAMES = {"crossentropy": "crossentropy", "jacobian_norm": "Jacobian norm", "tangent_hessian_norm": "Hessian norm"}
UNITS = {"crossentropy": "loss", "jacobian_norm": "norm", "tangent_hessian_norm": "norm"}
NO_THRESHOLD = "no width reaches zero training error for good"
Where = Literal["points", "volumes", "both"]
Error = tuple[str, str]  # metric and subset of a test error
TEST_ERROR: Error = ("test_error", "all")


def sizes(view: View, where: Where) -> list[int]:
    """The volume sizes that `where` means; 0 is the point itself."""
    return {"points": view.sizes[:1], "volumes": view.sizes[1:], "both": view.sizes}[where]


def places(view: View, metric: str, where: Where, subsets: Sequence[str]) -> list[tuple[str, int]]:
    """Subset and size of the curves that a claim is about; the crossentropy at the points themselves is left out.

    It starts high, where the narrowest networks do not fit, and has a claim of its own.
    """
    return [
        (subset, size)
        for subset in subsets
        for size in sizes(view, where)
        if not (metric == "crossentropy" and size == 0 and where == "both")
    ]


@dataclass(frozen=True)
class Top:
    """The most marked peak of a curve, beside the step that it must reach and the noise that may feign or hide one."""

    peak: trends.Peak | None
    step: float
    noise: float

    @property
    def size(self) -> float:
        return -np.inf if self.peak is None else self.peak.size

    @property
    def at(self) -> Any:
        """Where it is, if it reaches the step."""
        return self.peak.at if self.peak is not None and self.size >= self.step else None

    @property
    def certain(self) -> bool:
        return self.size >= max(self.step, self.noise)

    @property
    def possible(self) -> bool:
        return self.size + self.noise >= self.step


def top_of(view: View, metric: str, subset: str, size: int) -> tuple[pd.Series, Top]:
    """A curve over width and its peak: beside the noise of the seeds in the largest of all differences of its widths."""
    curve = view.sharpness(metric, subset, size)
    noise = trends.selected(len(curve)) * view.log_noise(metric, subset, size)
    peak = view.remembered(
        ("peak", id(curve)), lambda: trends.log_peak(curve, -np.inf)
    )  # the curve is remembered itself
    return curve, Top(peak, float(np.log(STEP)), noise)


def top_of_error(view: View, error: Error) -> tuple[pd.Series, Top]:
    """A test error over width and its peak: beside the noise of test images and seeds in the largest of all differences."""
    curve = view.end(*error)
    return curve, Top(trends.peak(curve, -np.inf), POINTS, noise_of(view, error, len(curve)))


def noise_of(view: View, error: Error, n: int) -> float:
    """By how much two of n test errors differ by chance, if the two were chosen for their difference, in percentage points."""
    return trends.selected(max(n, 2)) * view.noise(*error)


def near_threshold(view: View) -> list[int]:
    """The widths that count as at the threshold; all of them if there is none."""
    return [w for w in view.widths if view.threshold is None or trends.near(w, view.threshold)]


def largest_near_threshold(view: View, curve: pd.Series) -> float:
    """Of a curve over width that the view gave."""
    key = ("largest near", id(curve), view.threshold)  # the curve itself is remembered, so that its id stays its own
    return view.remembered(key, lambda: float(curve[near_threshold(view)].max()))


def peaks(metric: str, where: Where, subsets: Sequence[str] = ("all",)) -> Callable[[View], Finding]:
    """They rise to a peak and fall beyond it, wherever it is."""

    def check(view: View) -> Finding:
        found = [top_of(view, metric, *place) for place in places(view, metric, where, subsets)]
        heights = [0.0 if top.at is None else float(curve[top.at] - curve.iloc[-1]) for curve, top in found]
        at = [top.at for _, top in found if top.at is not None]
        within = len(at) - sum(top.certain for _, top in found)
        if len(found) == 1:
            sentence = f"It peaks at w = {at[0]}" if at else f"It nowhere rises and falls again by a factor of {STEP:g}"
        else:
            sentence = f"{len(at)} of {len(found)} curves have a peak" + (f", at w = {listed(at)}" if at else "")
        if within:
            sentence += f"; {'it is' if len(found) == 1 else f'{within} of them'} within the noise of the seeds"
        measure = f"{NAMES[metric]}, peak minus widest network{_mean_of(found)} ({UNITS[metric]})"
        state = share([top.certain for _, top in found], [top.possible for _, top in found])
        return Finding(state, trends.mean(heights), measure, f"{sentence}.")

    return check


def places_of_peaks(metric: str, where: Where, subsets: Sequence[str] = ("all",)) -> Callable[[View], Finding]:
    """Their peaks are at the threshold."""
    return lambda view: placed(
        view, [top_of(view, metric, *place)[1] for place in places(view, metric, where, subsets)]
    )


def placed(view: View, found: Sequence[Top]) -> Finding:
    """Are these peaks at the threshold? The effect is their place."""
    there = [top.at for top in found if top.at is not None]
    measure = f"width of the peak{', median over curves' if len(found) > 1 else ''}"
    effect = float(statistics.median_low(there)) if there else float("nan")
    exists = share([top.certain for top in found], [top.possible for top in found])
    if exists == "contradicted":
        few = f"Only {len(there)} of {len(found)} curves peak, at w = {listed(there)}: t" if there else "T"
        return Finding("contradicted", effect, measure, f"{few}here is no peak to be at the threshold.")
    if not there:
        return Finding("inconclusive", effect, measure, "A peak would be within the noise.")
    where = (
        f"{len(there)} of {len(found)} curves peak, at w = {listed(there)}"
        if len(found) > 1
        else f"The peak is at w = {there[0]}"
    )
    if view.threshold is None:
        return Finding("inconclusive", effect, measure, f"{where}; {NO_THRESHOLD}.")
    close = [top.at is not None and trends.near(top.at, view.threshold) for top in found]
    many = f"{sum(close)} of them near the threshold, w" if len(found) > 1 else "the threshold is w"
    state = share(close) if exists == "supported" else "inconclusive"
    near = f"near: w = {math.ceil(view.threshold / trends.NEAR)} to {math.floor(view.threshold * trends.NEAR)}"
    return Finding(state, effect, measure, f"{where}; {many} = {view.threshold} ({near}).")


def error_peak(error: Error, name: str = "The test error") -> Callable[[View], Finding]:
    """It rises, peaks and descends again, wherever."""
    measure = "percentage points from the peak to the widest network"

    def check(view: View) -> Finding:
        curve, top = top_of_error(view, error)
        images = trends.selected(len(curve)) * view.image_error(*error)
        explained = f"noise alone would explain {number(top.noise)}"
        if top.peak is None or top.at is None:
            state: State = "inconclusive" if top.possible else "contradicted"
            sentence = f"{name} nowhere rises and falls again by {POINTS:g} percentage point; {explained}."
            return Finding(state, 0.0, measure, sentence, images)
        sentence = (
            f"{name} rises by {number(top.peak.rise)} percentage points to its peak at w = {top.at}, {number(curve[top.at])}%, and "
            f"ends {number(top.peak.to_end)} lower; {explained}."
        )
        state = "supported" if top.certain and top.peak.to_end >= max(top.step, top.noise) else "inconclusive"
        return Finding(state, top.peak.to_end, measure, sentence, images)

    return check


def place_of_error_peak(error: Error) -> Callable[[View], Finding]:
    """The peak of a test error is at the threshold."""
    return lambda view: placed(view, [top_of_error(view, error)[1]])


def grows(view: View, curve: pd.Series) -> float:
    """`trends.order` of accuracies, in percent, over the widths of this bootstrap sample.

    A curve that does not change has 0; a sample that drew only widths of equal accuracy has nan, and is left out.
    """
    order = trends.order(curve.iloc[view.drawn(len(curve))], POINTS)
    return 0.0 if np.isnan(order) and not view.resampled else order


def graded(order: float) -> State:
    return decided(order >= trends.MONOTONE, order < trends.NOT_MONOTONE)


def accuracy_over_volumes(view: View) -> Finding:
    """It grows with width, for every volume size."""
    orders = {size: grows(view, 100 * view.volume("accuracy", size=size)) for size in sizes(view, "volumes")}
    weakest = min(orders, key=lambda size: np.nan_to_num(orders[size], nan=1.0))
    low, high = (100 * view.volume("accuracy", size=weakest).iloc[i] for i in (0, -1))
    sentence = f"Over volume {weakest}, where the order is weakest, it goes from {low:.0f}% to {high:.0f}%."
    return Finding(graded(orders[weakest]), orders[weakest], "order with width, smallest over volumes", sentence)


def training_accuracy(view: View) -> Finding:
    """It grows with width to 100% at the threshold, and stays."""
    accuracy, threshold = 100 - view.end("train_error"), view.threshold
    up_to = accuracy[accuracy.index <= (threshold or view.widths[-1])]
    order, measure = grows(view, up_to), "order with width, up to the threshold"
    if threshold is None:
        worst = f"The widest network's training error is {number(100 - accuracy.iloc[-1])}%"
        return Finding("inconclusive", order, measure, f"{worst}; {NO_THRESHOLD}.")
    if threshold == view.widths[0]:
        return Finding("inconclusive", order, measure, f"Even the narrowest network, w = {threshold}, fits everything.")
    sentence = f"It is {up_to.iloc[0]:.0f}% at w = {up_to.index[0]}, and from w = {threshold} on no label is missed in any seed."
    return Finding(graded(order), order, measure, sentence)


def predicts(subset: str, whose: str) -> Callable[[View], Finding]:
    """The widest network predicts the training label over the largest volume."""

    def check(view: View) -> Finding:
        accuracy = float(view.volume("accuracy", subset, view.sizes[-1]).iloc[-1])
        state = decided(accuracy >= trends.MOST, accuracy < trends.FEW)
        sentence = f"At w = {view.widths[-1]} {whose} is predicted over {accuracy:.0%} of the largest volume."
        return Finding(state, 100 * accuracy, "accuracy over the largest volume, percent", sentence)

    return check


def vanishes(metric: str, subsets: Sequence[str]) -> Callable[[View], Finding]:
    """At the points themselves, it tends to 0 past the threshold."""
    measure = f"{NAMES[metric]} at the widest network ({UNITS[metric]})"

    def check(view: View) -> Finding:
        left = {s: view.sharpness(metric, s) for s in subsets}
        shares = {s: float(curve.iloc[-1] / max(curve.max(), trends.TINY)) for s, curve in left.items()}
        worst = max(shares, key=shares.__getitem__)
        curve, remains = left[worst], shares[worst]
        state = decided(remains <= trends.VANISHED, remains > trends.REMAINS)
        around = "" if worst == "all" else f" for {worst} points"
        sentence = f"It is at most {curve.max():.2g}, and {curve.iloc[-1]:.2g} at w = {view.widths[-1]}{around}."
        if view.threshold is None:
            state, sentence = "inconclusive", f"{sentence[:-1]}; {NO_THRESHOLD}."
        return Finding(state, float(curve.iloc[-1]), measure, sentence)

    return check


def _mean_of(found: Sequence[Any]) -> str:
    return ", mean over curves" if len(found) > 1 else ""


def listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))
