"""Checks that several claims share: peaks over width, order, and what is left of a peak at the widest network.

Each takes a `View` and answers with a `Finding`; `width_claims` and its neighbours say which claim asks which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from . import trends
from .evidence import View
from .registry import Finding, State, share
from .trends import POINTS

SHARPNESS = ("crossentropy", "jacobian_norm", "tangent_hessian_norm")
NAMES = {
    "crossentropy": "crossentropy",
    "jacobian_norm": "Jacobian norm",
    "tangent_hessian_norm": "Hessian norm",
}
NO_THRESHOLD = "no width reaches zero training error for good"
Where = Literal["points", "volumes", "both"]
Read = Callable[[View], pd.Series]  # an error against width


def sizes(view: View, where: Where) -> list[int]:
    """The volume sizes that `where` means; 0 is the point itself."""
    return {"points": view.sizes[:1], "volumes": view.sizes[1:], "both": view.sizes}[where]


def curves(view: View, metrics: Iterable[str], where: Where, subsets: Sequence[str]) -> list[pd.Series]:
    """A curve over width for each metric, subset and volume size; the crossentropy at the points themselves is left out.

    It starts high, where the narrowest networks do not fit, and has a claim of its own.
    """
    return [
        view.volume(metric, subset, size)
        for metric in metrics
        for subset in subsets
        for size in sizes(view, where)
        if not (metric == "crossentropy" and size == 0 and where == "both")
    ]


def peaks(metrics: Sequence[str], where: Where, subsets: Sequence[str] = ("all",)) -> Callable[[View], Finding]:
    """They peak at the threshold and fall beyond."""

    def check(view: View) -> Finding:
        found = curves(view, metrics, where, subsets)
        tops = [trends.log_peak(curve) for curve in found]
        effect = trends.geometric_mean(
            [
                1.0 if top is None else curve[top.at] / max(curve.iloc[-1], trends.TINY)
                for curve, top in zip(found, tops, strict=True)
            ]
        )
        measure = "value at the peak / at the widest network" + (", geometric mean" if len(found) > 1 else "")
        at = [top.at for top in tops if top is not None]
        if len(found) == 1:
            peaked = f"It peaks at w = {at[0]}" if at else "It nowhere rises and falls again by 10%"
        else:
            peaked = f"{len(at)} of {len(found)} curves have a peak" + (f", at w = {listed(at)}" if at else "")
        exists = share(top is not None for top in tops)
        if exists == "contradicted":
            return Finding("contradicted", effect, measure, f"{peaked}.")
        if view.threshold is None:
            return Finding("inconclusive", effect, measure, f"{peaked}; {NO_THRESHOLD}.")
        close = [top is not None and trends.near(view.widths, top.at, view.threshold) for top in tops]
        many = "the threshold is" if len(found) == 1 else f"{sum(close)} of {len(found)} are at the threshold,"
        sentence = f"{peaked}; {many} w = {view.threshold}."
        return Finding(share(close), effect, measure, sentence)

    return check


def error_peak(read: Read, name: str = "The test error") -> Callable[[View], Finding]:
    """It rises, peaks at or just below the threshold and descends again."""
    measure = "percentage points from the peak to the widest network"

    def check(view: View) -> Finding:
        error = read(view)
        top = trends.peak(error, POINTS)
        if top is None:
            sentence = f"{name} nowhere rises and falls again by {POINTS:g} percentage point."
            return Finding("contradicted", 0.0, measure, sentence)
        sentence = f"{name} peaks at w = {top.at}, at {error[top.at]:.1f}%"
        if view.threshold is None:
            return Finding("inconclusive", top.to_end, measure, f"{sentence}; {NO_THRESHOLD}.")
        state: State = "supported"
        if not trends.near(view.widths, top.at, view.threshold):
            state = "contradicted"
        elif top.at > view.threshold or top.to_end < POINTS:
            state = "inconclusive"
        return Finding(state, top.to_end, measure, f"{sentence}; the threshold is w = {view.threshold}.")

    return check


def grows(view: View, curve: pd.Series) -> float:
    """`trends.order` of accuracies, in percent, over the widths of this bootstrap sample.

    A curve that does not change has 0; a sample that drew only widths of equal accuracy has nan, and is left out.
    """
    order = trends.order(curve.iloc[view.drawn(len(curve))], POINTS)
    return 0.0 if np.isnan(order) and not view.resampled else order


def graded(order: float) -> State:
    if order >= trends.MONOTONE:
        return "supported"
    return "contradicted" if order < trends.NOT_MONOTONE else "inconclusive"


def accuracy_over_volumes(view: View) -> Finding:
    """It grows with width, for every volume size."""
    orders = {size: grows(view, 100 * view.volume("accuracy", size=size)) for size in sizes(view, "volumes")}
    weakest = min(orders, key=lambda size: np.nan_to_num(orders[size], nan=1.0))
    low, high = (100 * view.volume("accuracy", size=weakest).iloc[i] for i in (0, -1))
    sentence = f"Over volume {weakest}, where the order is weakest, it goes from {low:.0f}% to {high:.0f}%."
    return Finding(graded(orders[weakest]), orders[weakest], "order with width, smallest over volumes", sentence)


def training_accuracy(view: View) -> Finding:
    """It grows with width to 100% at the threshold, and stays."""
    accuracy, threshold = 100 - view.last_epoch("train_error"), view.threshold
    up_to = accuracy[accuracy.index <= (threshold or view.widths[-1])]
    order, measure = grows(view, up_to), "order with width, up to the threshold"
    if threshold is None:
        worst = f"The widest network's training error is {100 - accuracy.iloc[-1]:.2f}%"
        return Finding("inconclusive", order, measure, f"{worst}; {NO_THRESHOLD}.")
    if threshold == view.widths[0]:
        return Finding("inconclusive", order, measure, f"Even the narrowest network, w = {threshold}, fits everything.")
    sentence = f"It is {up_to.iloc[0]:.0f}% at w = {up_to.index[0]}, and 100% from w = {threshold} on in every seed."
    return Finding(graded(order), order, measure, sentence)


def predicts(subset: str, whose: str) -> Callable[[View], Finding]:
    """The widest network predicts the training label over the largest volume."""

    def check(view: View) -> Finding:
        accuracy = float(view.volume("accuracy", subset, view.sizes[-1]).iloc[-1])
        state: State = "supported" if accuracy >= trends.MOST else "inconclusive"
        state = "contradicted" if accuracy < trends.FEW else state
        sentence = f"At w = {view.widths[-1]} {whose} is predicted over {accuracy:.0%} of the largest volume."
        return Finding(state, accuracy, "accuracy over the largest volume", sentence)

    return check


def vanishes(metric: str, subsets: Sequence[str]) -> Callable[[View], Finding]:
    """At the points themselves, it tends to 0 past the threshold."""

    def check(view: View) -> Finding:
        left = {s: view.volume(metric, s) for s in subsets}
        shares = {s: float(curve.iloc[-1] / max(curve.max(), trends.TINY)) for s, curve in left.items()}
        worst = max(shares, key=shares.__getitem__)
        curve, effect = left[worst], shares[worst]
        state: State = "supported" if effect <= trends.VANISHED else "inconclusive"
        state = "contradicted" if effect > trends.REMAINS else state
        around = "" if worst == "all" else f" for {worst} points"
        sentence = f"It is at most {curve.max():.2g}, and {curve.iloc[-1]:.2g} at w = {view.widths[-1]}{around}."
        if view.threshold is None:
            return Finding("inconclusive", effect, "value at the widest / largest", f"{sentence[:-1]}; {NO_THRESHOLD}.")
        return Finding(state, effect, "value at the widest / largest", sentence)

    return check


def times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 100 else f"{ratio:.2g} times"


def listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))
