"""The paper's claims about growing width, Sections 4 to 4.2 and Figures 1c to 4, see `registry`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from . import checks, trends
from .checks import NO_THRESHOLD, SHARPNESS
from .evidence import View
from .registry import CLEAN, NOISY, Finding, State, claim, share
from .trends import POINTS, STEP

BOTH = ("clean", "noisy")


def test_error(view: View) -> pd.Series:
    return view.last_epoch("test_error")


def u_shape(view: View) -> Finding:
    """Up to the threshold the test error falls, has its minimum, and rises."""
    error, measure = test_error(view), "percentage points, the smaller of fall and rise"
    up_to = error[error.index <= max(view.near_threshold())]
    valley = trends.peak(-up_to, 0.0)
    size = valley.size if valley else 0.0
    if size < POINTS:
        return Finding("contradicted", size, measure, "The test error does not fall and then rise with the width.")
    sentence = f"The test error falls by {valley.rise:.1f} percentage points to w = {valley.at} and rises by {valley.fall:.1f}."
    return Finding("supported", size, measure, sentence)


def second_descent(view: View) -> Finding:
    """Beyond the threshold the test error falls."""
    error, measure = test_error(view), "percentage points from the threshold to the widest network"
    if view.threshold is None or view.threshold == view.widths[-1]:
        return Finding("inconclusive", 0.0, measure, "No measured width lies beyond the threshold.")
    here, widest = error[view.threshold], error.iloc[-1]
    fall = float(here - widest)
    state: State = "supported" if fall >= POINTS else "contradicted" if fall <= 0 else "inconclusive"
    sentence = f"It is {here:.1f}% at the threshold, w = {view.threshold}, and {widest:.1f}% at w = {view.widths[-1]}."
    return Finding(state, fall, measure, sentence)


def sharpness_grows_with_volume(view: View) -> Finding:
    """At the threshold crossentropy and both norms grow with the volume's size, around clean and noisy points."""
    measure = "largest volume / point, geometric mean over metrics"
    if view.threshold is None:
        return Finding("inconclusive", float("nan"), measure, f"It cannot be judged: {NO_THRESHOLD}.")
    grow, ratios = [], []
    for metric in SHARPNESS:
        for subset in BOTH:
            curve = pd.Series({size: view.volume(metric, subset, size)[view.threshold] for size in view.sizes})
            ratios.append(curve.iloc[-1] / max(curve.iloc[0], trends.TINY))
            order = trends.order(np.log(curve.clip(lower=trends.TINY)), np.log(STEP))
            grow.append(ratios[-1] >= STEP and order >= trends.MONOTONE)
    sentence = (
        f"At w = {view.threshold} the largest volume has {checks.times(min(ratios))} to {checks.times(max(ratios))} "
        f"the value at the points; {sum(grow)} of {len(grow)} curves grow."
    )
    return Finding(share(grow), trends.geometric_mean(ratios), measure, sentence)


def small_networks(view: View) -> Finding:
    """The narrowest fits clean points and hardly any noisy ones."""
    width = view.widths[0]
    clean, noisy = (float(view.volume("accuracy", subset).iloc[0]) for subset in BOTH)
    few = noisy < trends.HARDLY and noisy < clean / 2
    state: State = "supported" if few else "contradicted" if noisy >= clean else "inconclusive"
    sentence = f"At w = {width} it predicts {clean:.0%} of clean and {noisy:.0%} of noisy labels."
    return Finding(state, clean - noisy, "clean minus noisy accuracy of the narrowest network", sentence)


def noisy_peaks_are_higher(view: View) -> Finding:
    """At the threshold crossentropy and both norms are larger around noisy points."""
    near = view.near_threshold()
    pairs = zip(*(checks.curves(view, SHARPNESS, "both", (subset,)) for subset in BOTH), strict=True)
    ratios = [float(noisy[near].max() / max(clean[near].max(), trends.TINY)) for clean, noisy in pairs]
    sentence = (
        f"At the threshold, those around noisy points are {checks.times(min(ratios))} to {checks.times(max(ratios))}"
    )
    state, measure = (
        share(ratio >= STEP for ratio in ratios),
        "noisy / clean, largest near the threshold, geometric mean",
    )
    if view.threshold is None:
        state, sentence = "inconclusive", sentence.replace("At the threshold, those", f"There is {NO_THRESHOLD}; those")
    return Finding(state, trends.geometric_mean(ratios), measure, f"{sentence} those around clean ones.")


# fmt: off
claim("test-error-u-shape", "Section 4", "Figure 1c", NOISY,
      "Up to the threshold the test error has the classical U-shape: it falls with width, then rises.", u_shape)
claim("test-error-peak", "Section 4", "Figure 1c", NOISY,
      "The test error peaks at or just below the interpolation threshold and descends again.",
      checks.error_peak(test_error))
claim("test-error-second-descent", "Section 4", "Figure 1c", NOISY,
      "Beyond the threshold, with all training points fitted, the test error falls with width.", second_descent)
claim("double-descent-without-noise", "Section 4.2", "Figure 1d", CLEAN,
      "On a harder dataset the test error has its double descent without any wrong label.",
      checks.error_peak(test_error))

claim("training-accuracy-grows", "Section 4.1", "Figure 2", NOISY,
      "Training accuracy grows with width to 100% at the threshold, and stays there.",
      checks.training_accuracy, over_widths=True)
claim("volume-accuracy-grows", "Section 4.1", "Figure 2", NOISY,
      "Accuracy over volumes grows monotonically with width, for every volume size.",
      checks.accuracy_over_volumes, over_widths=True)
claim("crossentropy-peak-at-points", "Section 4.1", "Figure 2", NOISY,
      "Crossentropy at the training points peaks near the threshold and falls beyond.",
      checks.peaks(["crossentropy"], "points"))
claim("crossentropy-peak-over-volumes", "Section 4.1", "Figure 2", NOISY,
      "Crossentropy over volumes of every size peaks at the threshold and falls beyond.",
      checks.peaks(["crossentropy"], "volumes"))
claim("jacobian-peak-at-points", "Section 4.1", "Figure 2", NOISY,
      "The Jacobian norm at the training points peaks at the threshold and falls beyond.",
      checks.peaks(["jacobian_norm"], "points"))
claim("jacobian-peak-over-volumes", "Section 4.1", "Figure 2", NOISY,
      "The Jacobian norm over volumes of every size peaks at the threshold and falls beyond.",
      checks.peaks(["jacobian_norm"], "volumes"))
claim("hessian-peak-at-points", "Section 4.1", "Figure 2", NOISY,
      "The Hessian norm at the training points peaks at the threshold and falls beyond.",
      checks.peaks(["tangent_hessian_norm"], "points"))
claim("hessian-peak-over-volumes", "Section 4.1", "Figure 2", NOISY,
      "The Hessian norm over volumes of every size peaks at the threshold and falls beyond.",
      checks.peaks(["tangent_hessian_norm"], "volumes"))
claim("points-become-stationary", "Section 4.1", "Figure 2", NOISY,
      "Past the threshold the training points become stationary for the loss: the Jacobian norm there tends to 0.",
      checks.vanishes("jacobian_norm", ["all"]))

claim("small-networks-fit-clean-points", "Section 4.2", "Figure 3", NOISY,
      "The smallest networks fit clean points and hardly any noisy ones.", small_networks)
claim("large-networks-predict-noisy-labels", "Section 4.2", "Figure 3", NOISY,
      "The largest networks predict the noisy label over large volumes.", checks.predicts("noisy", "the noisy label"))
claim("point-losses-vanish", "Section 4.2", "Figure 3", NOISY,
      "Past the threshold the crossentropy at the points approaches 0, at clean and at noisy ones.",
      checks.vanishes("crossentropy", BOTH))
claim("sharp-around-clean-and-noisy", "Section 4.2", "Figure 3", NOISY,
      "Around clean and around noisy points alike, loss and sharpness peak at the threshold, whatever the volume.",
      checks.peaks(SHARPNESS, "both", BOTH))
claim("sharpness-grows-with-volume", "Section 4.2", "Figure 3", NOISY,
      "At the threshold, loss and sharpness grow with the volume's size.", sharpness_grows_with_volume)
claim("noisy-peaks-are-higher", "Section 4.2", "Figure 3", NOISY,
      "The peaks are higher around noisy labels than around clean ones.", noisy_peaks_are_higher)

claim("crossentropy-peak-without-noise", "Section 4.2", "Figure 4", CLEAN,
      "Without any wrong label, crossentropy over volumes peaks at the threshold and falls beyond.",
      checks.peaks(["crossentropy"], "volumes"))
claim("jacobian-peak-without-noise", "Section 4.2", "Figure 4", CLEAN,
      "Without any wrong label, the Jacobian norm peaks at the threshold, at the points and over volumes.",
      checks.peaks(["jacobian_norm"], "both"))
claim("hessian-peak-without-noise", "Section 4.2", "Figure 4", CLEAN,
      "Without any wrong label, the Hessian norm peaks at the threshold, at the points and over volumes.",
      checks.peaks(["tangent_hessian_norm"], "both"))
claim("volume-accuracy-grows-without-noise", "Section 4.2", "Figure 4", CLEAN,
      "Without any wrong label, accuracy over volumes grows with width.",
      checks.accuracy_over_volumes, over_widths=True)
claim("large-networks-smooth-without-noise", "Section 4.2", "Figure 4", CLEAN,
      "Without any wrong label, large networks fit the training set over large volumes.",
      checks.predicts("all", "the label"))
# fmt: on
