"""The paper's claims about ResNets and about asymmetric noise, Sections 4.4 and 4.5, Figures 6 and 7, see `registry`."""

from __future__ import annotations

import pandas as pd

from . import checks, trends
from .checks import NO_THRESHOLD, SHARPNESS
from .evidence import View
from .registry import ASYMMETRIC, RESNET, Finding, State, claim, share
from .trends import MARKED, POINTS, STEP
from .width_claims import test_error


def has_double_descent(view: View) -> Finding:
    """The test error rises and falls again with width, wherever its peak."""
    error, measure = test_error(view), "percentage points from the peak to the widest network"
    top = trends.peak(error, POINTS)
    if top is None:
        return Finding("contradicted", 0.0, measure, "The test error nowhere rises and falls again with width.")
    state: State = "supported" if top.to_end >= POINTS else "inconclusive"
    sentence = (
        f"It rises by {top.rise:.1f} percentage points to its peak at w = {top.at} and ends {top.to_end:.1f} lower."
    )
    return Finding(state, top.to_end, measure, sentence)


def peaks_early(view: View) -> Finding:
    """The peak of the test error comes before the threshold."""
    top, measure = trends.peak(test_error(view), POINTS), "threshold / width of the peak"
    if top is None:
        return Finding("inconclusive", float("nan"), measure, "The test error has no peak.")
    if view.threshold is None:  # beyond every width measured: all of them come before it
        state, bound = "inconclusive", view.widths[-1]
        return Finding(state, bound / top.at, measure, f"The test error peaks at w = {top.at}; {NO_THRESHOLD}.")
    state = "supported" if top.at < view.threshold else "contradicted"
    sentence = f"The test error peaks at w = {top.at}, and the threshold is w = {view.threshold}."
    return Finding(state, view.threshold / top.at, measure, sentence)


def largest_volume_is_sharper(view: View) -> Finding:
    """Over the largest volume, beside the next smaller one, both norms are markedly larger and accuracy is lower."""
    largest, next_to = view.sizes[-1], view.sizes[-2]
    growth = {
        metric: trends.geometric_mean(view.volume(metric, size=largest) / view.volume(metric, size=next_to))
        for metric in ("jacobian_norm", "tangent_hessian_norm")
    }
    drop = 100 * float((view.volume("accuracy", size=next_to) - view.volume("accuracy", size=largest)).mean())
    low = min(growth.values())
    state: State = "supported" if low >= MARKED and drop >= POINTS else "inconclusive"
    state = "contradicted" if low < STEP or drop <= 0 else state
    sentence = (
        f"Beside the next smaller volume the Jacobian norm is {growth['jacobian_norm']:.2f} times, the Hessian norm "
        f"{growth['tangent_hessian_norm']:.2f} times as large, and accuracy {drop:.1f} percentage points lower."
    )
    measure = "largest / next smaller volume, the smaller of both norms, geometric mean over widths"
    return Finding(state, low, measure, sentence)


def smooth(subset: str):
    """Loss and sharpness fall markedly from their peak to the widest network, over every volume."""

    def check(view: View) -> Finding:
        near = view.near_threshold()
        found = checks.curves(view, SHARPNESS, "both", (subset,))
        ratios = [float(curve[near].max() / max(curve.iloc[-1], trends.TINY)) for curve in found]
        fall = [ratio >= MARKED for ratio in ratios]
        sentence = (
            f"From the threshold to w = {view.widths[-1]}, {sum(fall)} of {len(fall)} curves fall by a factor of {MARKED:g} "
            f"or more, the least by {min(ratios):.2g}."
        )
        measure = "largest near the threshold / at the widest, geometric mean"
        if view.threshold is None:
            return Finding(
                "inconclusive", trends.geometric_mean(ratios), measure, f"It cannot be judged: {NO_THRESHOLD}."
            )
        return Finding(share(fall), trends.geometric_mean(ratios), measure, sentence)

    return check


def other_classes(view: View) -> pd.Series:
    return view.last_epoch("test_error_by_group", "other_classes")


def corrupted_classes_keep_their_error(view: View) -> Finding:
    """The test error of the corrupted classes has no second descent."""
    error = view.last_epoch("test_error_by_group", "corrupted_classes")
    top, measure = trends.peak(error, POINTS), "percentage points from a peak to the widest network, 0 without a peak"
    ends = f"{error.iloc[0]:.1f}% at w = {error.index[0]}, {error.iloc[-1]:.1f}% at w = {error.index[-1]}"
    if top is None or top.to_end < POINTS:
        sentence = f"The test error of the corrupted classes does not fall again: {ends}."
        return Finding("supported", top.to_end if top else 0.0, measure, sentence)
    sentence = f"It peaks at w = {top.at}, at {error[top.at]:.1f}%, and falls again: {ends}."
    return Finding("contradicted", top.to_end, measure, sentence)


# fmt: off
claim("resnet-double-descent", "Section 4.4", "Figure 6", RESNET,
      "ResNets with Adam and augmentation, too, have a double descent of the test error.", has_double_descent)
claim("resnet-peaks-early", "Section 4.4", "Figure 6", RESNET,
      "With data augmentation the test error peaks earlier than the interpolation threshold.", peaks_early)
claim("resnet-training-accuracy-grows", "Section 4.4", "Figure 6", RESNET,
      "The training accuracy of ResNets, too, grows with width to 100% at the threshold.",
      checks.training_accuracy, over_widths=True)
claim("resnet-volume-accuracy-grows", "Section 4.4", "Figure 6", RESNET,
      "The accuracy of ResNets over volumes, too, grows with width.", checks.accuracy_over_volumes, over_widths=True)
claim("resnet-crossentropy-peak", "Section 4.4", "Figure 6", RESNET,
      "The crossentropy of ResNets over volumes, too, peaks at the threshold and falls beyond.",
      checks.peaks(["crossentropy"], "volumes"))
claim("resnet-jacobian-peak", "Section 4.4", "Figure 6", RESNET,
      "The Jacobian norm of ResNets, too, peaks at the threshold, at the points and over volumes.",
      checks.peaks(["jacobian_norm"], "both"))
claim("resnet-hessian-peak", "Section 4.4", "Figure 6", RESNET,
      "The Hessian norm of ResNets, too, peaks at the threshold, at the points and over volumes.",
      checks.peaks(["tangent_hessian_norm"], "both"))
claim("resnet-largest-volume-is-sharper", "Section 4.4", "Figure 6", RESNET,
      "Over the largest volume ResNets are markedly sharper and less accurate.", largest_volume_is_sharper)

claim("asymmetric-smooth-around-clean", "Section 4.5", "Figure 7", ASYMMETRIC,
      "Under asymmetric noise wide networks are smooth around clean points.", smooth("clean"))
claim("asymmetric-smooth-around-noisy", "Section 4.5", "Figure 7", ASYMMETRIC,
      "Under asymmetric noise wide networks are as well smooth around noisy points.", smooth("noisy"))
claim("untouched-classes-double-descent", "Section 4.5", "Figure 7", ASYMMETRIC,
      "The test error of the untouched classes has its double descent, peaking at or just below the threshold.",
      checks.error_peak(other_classes, "The test error of the untouched classes"))
claim("corrupted-classes-no-double-descent", "Section 4.5", "Figure 7", ASYMMETRIC,
      "The test error of the corrupted classes has no double descent.", corrupted_classes_keep_their_error)
# fmt: on
