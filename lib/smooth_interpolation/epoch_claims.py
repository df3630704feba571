"""The paper's claims about training time (Section 4.3, Figure 5), see `claims`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from . import trends
from .claims import Evidence, State, Verdict, claim
from .trends import POINTS, STEP

MIN_EPOCHS = 4  # fewer show no rise between two falls
MOST, FEW = 0.9, 0.5  # shares of networks of which a trend is said to hold, and not to


def _curves(evidence: Evidence, metric: str, past_threshold: bool) -> Iterator[tuple[int, pd.Series]]:
    """A metric against epochs, for every network on one side of the threshold."""
    h = evidence.history
    part = h[(h.metric == metric) & (h.subset == "all")]
    for (width, _), curve in part.groupby(["width", "seed"]):
        if (width >= evidence.threshold) == past_threshold:
            yield int(width), curve.sort_values("epoch").set_index("epoch").value


def _fall(curve: pd.Series, step: float) -> float:
    """From the curve's peak to its end; 0 if it does not rise and end lower again, both by `step`."""
    peak = trends.peak(curve, step)
    fall = 0.0 if peak is None else float(curve[peak] - curve.iloc[-1])
    return fall if fall >= step else 0.0


def _measured(falls: list[float], lengths: list[int]) -> bool:
    return bool(falls) and min(lengths) >= MIN_EPOCHS


def _share(evidence: Evidence, metric: str, name: str) -> Verdict:
    """How many networks from the threshold on have a curve over epochs that falls, rises and falls again."""
    if evidence.threshold is None:
        return Verdict("inconclusive", "No width reaches zero training error for good.")
    logarithmic = metric != "test_error"
    falls, without, lengths = [], [], []
    for width, curve in _curves(evidence, metric, past_threshold=True):
        values = np.log(curve.clip(lower=np.finfo(float).tiny)) if logarithmic else curve
        falls.append(_fall(values, np.log(STEP) if logarithmic else POINTS))
        lengths.append(len(curve))
        if not falls[-1]:
            without.append(width)
    if not _measured(falls, lengths):
        return Verdict("not measured", f"Needs at least {MIN_EPOCHS} evaluated epochs of all training points.")
    total = len(falls)
    found = total - len(without)
    state: State = "supported" if found >= MOST * total else "contradicted" if found < FEW * total else "inconclusive"
    sentence = (
        f"{name} rises and falls again over the epochs in {found} of {total} networks from w = {evidence.threshold} on"
    )
    if without:
        sentence += f", not for w = {', '.join(map(str, sorted(set(without))))}"
    mean = trends.mean([fall for fall in falls if fall]) if found else 0.0
    if logarithmic:
        return Verdict(
            state, f"{sentence}.", float(np.exp(mean)), None, "peak / last epoch where there is a peak, geometric mean"
        )
    return Verdict(
        state, f"{sentence}.", mean, None, "percentage points from peak to last epoch, where there is a peak"
    )


@claim("Section 4.3, Figure 5", "Past the threshold the test error shows epoch-wise double descent.")
def epochwise_test_error(evidence: Evidence) -> Verdict:
    return _share(evidence, "test_error", "The test error")


@claim("Section 4.3, Figure 5", "Past the threshold the training crossentropy shows epoch-wise double descent.")
def epochwise_crossentropy(evidence: Evidence) -> Verdict:
    return _share(evidence, "train_crossentropy", "The training crossentropy")


@claim("Section 4.3, Figure 5", "Past the threshold the Jacobian norm shows epoch-wise double descent.")
def epochwise_jacobian(evidence: Evidence) -> Verdict:
    return _share(evidence, "jacobian_norm", "The Jacobian norm")


@claim("Section 4.3, Figure 5", "Past the threshold the Hessian norm behaves likewise over the epochs.")
def epochwise_hessian(evidence: Evidence) -> Verdict:
    return _share(evidence, "tangent_hessian_norm", "The Hessian norm")


@claim("Section 4.3, Figure 5", "Narrower networks do not lower their test error again.")
def narrow_networks_stay(evidence: Evidence) -> Verdict:
    if evidence.threshold is None:
        return Verdict("inconclusive", "No width reaches zero training error for good.")
    falls: dict[int, list[float]] = {}
    lengths = []
    for width, curve in _curves(evidence, "test_error", past_threshold=False):
        falls.setdefault(width, []).append(_fall(curve, POINTS))
        lengths.append(len(curve))
    values = [fall for seeds in falls.values() for fall in seeds]
    if not values:
        return Verdict("inconclusive", "Every network measured is past the threshold.")
    if not _measured(values, lengths):
        return Verdict("not measured", f"Needs at least {MIN_EPOCHS} evaluated epochs.")
    stay = sum(fall < POINTS for fall in values)
    state: State = (
        "supported" if stay >= MOST * len(values) else "contradicted" if stay < FEW * len(values) else "inconclusive"
    )
    again = sorted(width for width, seeds in falls.items() if max(seeds) >= POINTS)
    sentence = f"{stay} of {len(values)} networks below w = {evidence.threshold} keep the test error to which it rose"
    if again:
        sentence += f"; it falls again by {POINTS:g} percentage point or more for w = {', '.join(map(str, again))}"
    return Verdict(
        state, f"{sentence}.", trends.mean(values), None, "mean fall from the peak to the last epoch, percentage points"
    )
