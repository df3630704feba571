"""The paper's claims about training time, Sections 4.3 and 4.4, Figures 5 and 11, and the abstract's, that sharpness and test error go
together over widths and over epochs, see `registry`.

The latter is Spearman's rank correlation, whose interval resamples seeds and widths. It supports the claim if it is at least
`trends.STRONG` and the interval lies above 0, and contradicts it if the interval lies below `trends.STRONG`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from . import checks, trends
from .checks import TEST_ERROR
from .evidence import NotMeasuredError, View
from .registry import CLEAN, NOISY, RESNET, Finding, State, claim, share
from .trends import MIN_EPOCHS, MIN_NETWORKS, POINTS, STEP

UNJUDGED = f"It cannot be judged: {checks.NO_THRESHOLD}."


def histories(view: View, metric: str, past_threshold: bool) -> dict[int, pd.Series]:
    """A metric against epochs, for every width on one side of the threshold."""
    widths = [w for w in view.widths if view.threshold is not None and (w >= view.threshold) == past_threshold]
    found = {w: view.epochs(metric, w) for w in widths}
    if any(len(curve) < MIN_EPOCHS for curve in found.values()):
        raise NotMeasuredError(f"Needs at least {MIN_EPOCHS} evaluated epochs of all training points.")
    return found


def too_few(n: int, which: str) -> str:
    """A sentence if a claim about many networks would rest on so few, else nothing."""
    count = {0: "no network", 1: "one network", 2: "two networks"}.get(n)
    return f"This rests on {count} {which}; {MIN_NETWORKS} are asked for." if count else ""


def falls_again(view: View, curve: pd.Series, metric: str) -> float:
    """From the curve's peak to its end, in its unit; 0 if it does not rise and end lower again, each by a step.

    The step of a test error is beyond what the number of test images explains of the largest of all differences.
    """

    def compute() -> float:
        if metric == "test_error":
            step = max(POINTS, trends.selected(len(curve)) * view.image_error(*TEST_ERROR))
            top = trends.peak(curve, step)
            return float(top.to_end) if top and top.to_end >= step else 0.0
        top = trends.log_peak(curve)
        return float(curve[top.at] - curve.iloc[-1]) if top and top.to_end >= np.log(STEP) else 0.0

    return view.remembered(("falls again", id(curve), metric), compute)  # the curve is remembered itself


def unit(metric: str) -> str:
    return {"test_error": "percentage points", "train_crossentropy": "loss"}.get(metric, "norm")


def double_descent(metric: str, name: str) -> Callable[[View], Finding]:
    """From the threshold on, the networks' curves over the epochs fall, rise and fall again."""
    measure = f"{unit(metric)}, peak minus end of training, mean over networks"

    def check(view: View) -> Finding:
        if view.threshold is None:
            return Finding("inconclusive", float("nan"), measure, UNJUDGED)
        falls = {w: falls_again(view, curve, metric) for w, curve in histories(view, metric, True).items()}
        shown = [fall > 0 for fall in falls.values()]
        sentence = (
            f"{name} rises and falls again over the epochs in {sum(shown)} of {len(falls)} networks "
            f"from w = {view.threshold} on"
        )
        without = [w for w, fall in falls.items() if not fall]
        if without and any(shown):
            sentence += f", not for w = {checks.listed(without)}"
        few = too_few(len(falls), f"from w = {view.threshold} on")
        state: State = "inconclusive" if few else share(shown)
        return Finding(state, trends.mean(list(falls.values())), measure, f"{sentence}. {few}".rstrip())

    return check


def narrow_networks_stay(view: View) -> Finding:
    """Below the threshold the test error does not fall again."""
    measure = "percentage points, peak minus end of training, mean over networks"
    if view.threshold is None:
        return Finding("inconclusive", float("nan"), measure, UNJUDGED)
    curves = histories(view, "test_error", False)
    falls = {w: falls_again(view, curve, "test_error") for w, curve in curves.items()}
    if not falls:
        return Finding("inconclusive", float("nan"), measure, "Every network measured is past the threshold.")
    again = [w for w, fall in falls.items() if fall]
    sentence = f"{len(falls) - len(again)} of {len(falls)} networks below w = {view.threshold} do not lower it again"
    if again:
        sentence += f"; for w = {checks.listed(again)} it falls again, by more than noise explains"
    few = too_few(len(falls), f"below w = {view.threshold}")
    state: State = "inconclusive" if few else share(not fall for fall in falls.values())
    return Finding(state, trends.mean(list(falls.values())), measure, f"{sentence}. {few}".rstrip())


def narrow_networks_stay_sharp(metric: str) -> Callable[[View], Finding]:
    """Below the threshold a metric does not decrease from the epoch of the lowest test error on."""
    measure = f"{unit(metric)}, end of training minus epoch of the lowest test error, mean over networks"

    def check(view: View) -> Finding:
        if view.threshold is None:
            return Finding("inconclusive", float("nan"), measure, UNJUDGED)
        errors, ratios, changes = histories(view, "test_error", False), {}, []
        for width, curve in histories(view, metric, False).items():
            best = errors[width].idxmin()
            if best == errors[width].index[-1] or best not in curve:  # the test error has not risen
                continue
            ratio = trends.ratio(curve.iloc[-1], curve[best], curve.max())
            if np.isfinite(ratio):
                ratios[width] = ratio
                changes.append(float(curve.iloc[-1] - curve[best]))
        if not ratios:
            sentence = "The test error of no network below the threshold rises."
            return Finding("inconclusive", float("nan"), measure, sentence)
        kept = [w for w, ratio in ratios.items() if ratio >= 1 / STEP]
        sentence = f"From the epoch of the lowest test error to the end it does not decrease in {len(kept)} of {len(ratios)} networks"
        sentence += f" below w = {view.threshold}" + (
            f": w = {checks.listed(kept)}" if 0 < len(kept) < len(ratios) else ""
        )
        few = too_few(len(ratios), f"below w = {view.threshold} whose test error rises")
        state: State = "inconclusive" if few else share(w in kept for w in ratios)
        return Finding(state, trends.mean(changes), measure, f"{sentence}. {few}".rstrip())

    return check


def over_widths(metric: str) -> Callable[[View], Finding]:
    """The metric over the largest volume against the test error, over widths."""

    def check(view: View) -> Finding:
        error = view.end("test_error").to_numpy()
        sharpness = view.volume(metric, size=view.sizes[-1]).to_numpy()
        drawn = view.drawn(len(error))
        effect = trends.rank_correlation(sharpness[drawn], error[drawn])
        sentence = f"Over {len(error)} widths the rank correlation is {effect:.2f}."
        return Finding("inconclusive", effect, "rank correlation, largest volume", sentence)

    return check


def over_epochs(metric: str) -> Callable[[View], Finding]:
    """The metric at the points against the test error over epochs, averaged over the widths from the threshold on."""
    measure = "rank correlation, at the points, mean over widths"

    def check(view: View) -> Finding:
        if view.threshold is None:
            return Finding("inconclusive", float("nan"), measure, UNJUDGED)
        found = view.once(("over epochs", metric), lambda: correlations(view, metric))
        values = found[view.drawn(len(found))]
        effect = float(values.mean()) if len(values) else float("nan")
        several = f" on average, {found.min():.2f} to {found.max():.2f} for the {len(found)} widths"
        sentence = f"Over the epochs the rank correlation is {effect:.2f}{several if len(found) > 1 else ''}"
        sentence += f" from w = {view.threshold} on."
        few = too_few(len(found), f"from w = {view.threshold} on")
        if few:  # without an effect there is no interval to judge by
            return Finding("inconclusive", float("nan"), measure, f"{sentence} {few}")
        return Finding("inconclusive", effect, measure, sentence)

    return check


def correlations(view: View, metric: str) -> np.ndarray:
    """Of the metric and the test error over epochs, for every width from the threshold on."""
    errors, found = histories(view, "test_error", True), []
    for width, sharpness in histories(view, metric, True).items():
        error, sharpness = errors[width].align(sharpness, join="inner")
        found.append(trends.rank_correlation(sharpness.to_numpy(), error.to_numpy()))
    return np.array([value for value in found if np.isfinite(value)] or [np.nan])


COURSES = {
    "test-error": ("test_error", "the test error"),
    "crossentropy": ("train_crossentropy", "the training crossentropy"),
    "jacobian": ("jacobian_norm", "the Jacobian norm"),
    "hessian": ("tangent_hessian_norm", "the Hessian norm"),
}

# fmt: off
for short, (metric, the) in COURSES.items():
    behaves = "behaves likewise over the epochs" if short == "hessian" else "shows epoch-wise double descent"
    claim(f"epochwise-{short}", "Section 4.3", "Figure 5", NOISY, f"Past the threshold {the} {behaves}.",
          double_descent(metric, the[0].upper() + the[1:]))
claim("narrow-networks-stay", "Section 4.3", "Figure 5", NOISY,
      "Narrower networks do not lower their test error again.", narrow_networks_stay)
claim("narrow-networks-keep-their-loss", "Section 4.3", "Figure 5", NOISY,
      "While their test error stays high, the training loss of narrower networks does not decrease.",
      narrow_networks_stay_sharp("train_crossentropy"))
claim("narrow-networks-stay-sharp", "Section 4.3", "Figure 5", NOISY,
      "While their test error stays high, the Jacobian norm of narrower networks does not decrease.",
      narrow_networks_stay_sharp("jacobian_norm"))
for short, (metric, the) in COURSES.items():
    spoken = the if short in ("jacobian", "hessian") else the.removeprefix("the ")
    claim(f"resnet-epochwise-{short}", "Section 4.4", ("Figure 11", "Figure 13"), RESNET,
          f"ResNets past the threshold, too, show epoch-wise double descent in {spoken}.",
          double_descent(metric, the[0].upper() + the[1:]))

for what, check in (("widths", over_widths), ("epochs", over_epochs)):
    for short in ("jacobian", "hessian"):
        metric, the = COURSES[short]
        when = "Over widths" if what == "widths" else "Over the epochs, past the threshold"
        claim(f"{short}-follows-test-error-over-{what}", "Abstract", "", (NOISY, CLEAN, RESNET),
              f"{when}, {the} and the test error go together.", check(metric), over_widths=True, by_interval=True)
# fmt: on
