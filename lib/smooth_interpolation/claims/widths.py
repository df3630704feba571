"""The paper's claims about growing width, Sections 4 to 4.2, 4.4 and 4.5, Figures 1c to 4, 6 and 7, see `registry`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from . import checks, trends
from .checks import NAMES, NO_THRESHOLD, SHARPNESS, TEST_ERROR, UNITS
from .evidence import View
from .registry import ASYMMETRIC, CLEAN, NOISY, RESNET, Finding, State, claim, decided, share
from .trends import MARKED, POINTS, STEP
from .words import number

BOTH = ("clean", "noisy")
CORRUPTED, UNTOUCHED = ("test_error_by_group", "corrupted_classes"), ("test_error_by_group", "other_classes")


def u_shape(view: View) -> Finding:
    """Up to the threshold the test error falls, has its minimum, and rises."""
    error, measure = view.end(*TEST_ERROR), "percentage points, the smaller of fall and rise"
    up_to = error[error.index <= max(checks.near_threshold(view))]
    valley = checks.Top(trends.peak(-up_to, -np.inf), POINTS, checks.noise_of(view, TEST_ERROR, len(up_to)))
    images = trends.selected(max(len(up_to), 2)) * view.image_error(*TEST_ERROR)
    if valley.peak is None or valley.at is None:
        sentence = "The test error does not fall and then rise with the width"
        sentence += f" by {POINTS:g} percentage point; noise alone would explain {number(valley.noise)}."
        return Finding("inconclusive" if valley.possible else "contradicted", 0.0, measure, sentence, images)
    sentence = (
        f"The test error falls by {number(valley.peak.rise)} percentage points to w = {valley.at} and rises by "
        f"{number(valley.peak.fall)}; noise alone would explain {number(valley.noise)}."
    )
    return Finding("supported" if valley.certain else "inconclusive", valley.size, measure, sentence, images)


def second_descent(view: View) -> Finding:
    """Beyond the threshold the test error falls."""
    error, measure = view.end(*TEST_ERROR), "percentage points from the threshold to the widest network"
    if view.threshold is None or view.threshold == view.widths[-1]:
        return Finding("inconclusive", float("nan"), measure, "No measured width lies beyond the threshold.")
    here, widest = error[view.threshold], error.iloc[-1]
    fall, noise = float(here - widest), checks.noise_of(view, TEST_ERROR, 2)  # two widths, known beforehand
    state = decided(fall >= max(POINTS, noise), fall + noise < POINTS)
    sentence = (
        f"It is {number(here)}% at the threshold, w = {view.threshold}, and {number(widest)}% at w = {view.widths[-1]}; noise alone "
        f"would explain a difference of {number(noise)}."
    )
    return Finding(state, fall, measure, sentence, trends.selected(2) * view.image_error(*TEST_ERROR))


def loss_grows_with_volume(view: View) -> Finding:
    """At the threshold the crossentropy grows markedly with the volume's size, around clean and noisy points."""
    measure = "crossentropy, largest volume minus point, mean over clean and noisy (loss)"
    if view.threshold is None:
        return Finding("inconclusive", float("nan"), measure, f"It cannot be judged: {NO_THRESHOLD}.")
    grow, rises, said = [], [], []
    for subset in BOTH:
        by_size = {size: view.volume("crossentropy", subset, size) for size in view.sizes}
        curve = pd.Series({size: values[view.threshold] for size, values in by_size.items()})
        largest = max(float(values.max()) for values in by_size.values())
        order = trends.order(np.log(curve.clip(lower=trends.TINY)), np.log(STEP))
        grow.append(trends.ratio(curve.iloc[-1], curve.iloc[0], largest) >= MARKED and order >= trends.MONOTONE)
        rises.append(float(curve.iloc[-1] - curve.iloc[0]))
        said.append(f"from {curve.iloc[0]:.2g} at {subset} points to {curve.iloc[-1]:.2g} over the largest volume")
    sentence = f"At w = {view.threshold} it goes {' and '.join(said)}."
    return Finding(share(grow), trends.mean(rises), measure, sentence)


def small_networks(view: View) -> Finding:
    """The narrowest fits clean points and hardly any noisy ones."""
    width = view.widths[0]
    clean, noisy = (float(view.volume("accuracy", subset).iloc[0]) for subset in BOTH)
    few = noisy < trends.HARDLY and noisy < clean / 2
    state = decided(few, noisy >= clean)
    sentence = f"At w = {width} it predicts {clean:.0%} of clean and {noisy:.0%} of noisy labels."
    measure = "percentage points, clean minus noisy accuracy of the narrowest network"
    return Finding(state, 100 * (clean - noisy), measure, sentence)


def worse_around_noisy(metric: str) -> Callable[[View], Finding]:
    """At the threshold a loss or sharpness is larger around noisy points."""
    measure = f"{NAMES[metric]}, noisy minus clean, largest near the threshold, mean over curves ({UNITS[metric]})"

    def check(view: View) -> Finding:
        higher, more = [], []
        for _, size in checks.places(view, metric, "both", ("noisy",)):
            clean, noisy = (view.sharpness(metric, subset, size) for subset in BOTH)
            largest = max(float(clean.max()), float(noisy.max()))
            here, there = (checks.largest_near_threshold(view, curve) for curve in (noisy, clean))
            higher.append(trends.ratio(here, there, largest) >= STEP)
            more.append(here - there)
        where = "Near the threshold" if view.threshold is not None else "Where it is largest"
        sentence = f"{where} it is larger around noisy points in {sum(higher)} of {len(higher)} curves"
        state = share(higher)
        if view.threshold is None:
            state, sentence = "inconclusive", f"{sentence}; {NO_THRESHOLD}"
        return Finding(state, trends.mean(more), measure, f"{sentence}.")

    return check


def peak_and_place(
    name: str, section: str, figure: str, experiment: str, subject: str, *about: Any, when: str = ""
) -> None:
    """Two claims: that curves peak and fall beyond, and that the peak is at the threshold."""
    claim(name, section, figure, experiment, f"{when}{subject} rises to a peak and falls beyond.", checks.peaks(*about))
    claim(f"{name}-place", section, figure, experiment,
          f"{when}{subject} has its peak at the interpolation threshold.", checks.places_of_peaks(*about))  # fmt: skip


def peaks_early(view: View) -> Finding:
    """The peak of the test error comes before the threshold."""
    top, measure = checks.top_of_error(view, TEST_ERROR)[1], "width of the peak"
    if not top.certain:
        effect = float("nan") if top.at is None else top.at
        return Finding("inconclusive", effect, measure, "The test error has no peak that noise does not explain.")
    if view.threshold is None:  # beyond every width measured: all of them come before it
        return Finding("inconclusive", top.at, measure, f"The test error peaks at w = {top.at}; {NO_THRESHOLD}.")
    state: State = "supported" if top.at < view.threshold else "contradicted"
    sentence = f"The test error peaks at w = {top.at}, and the threshold is w = {view.threshold}."
    return Finding(state, top.at, measure, sentence)


def largest_volume_is_sharper(metric: str) -> Callable[[View], Finding]:
    """Over the largest volume, beside the next smaller one, a norm is markedly larger, near its peak and elsewhere."""
    measure = f"{NAMES[metric]}, largest minus next smaller volume, mean over widths ({UNITS[metric]})"

    def check(view: View) -> Finding:
        larger, next_to = (view.volume(metric, size=size) for size in (view.sizes[-1], view.sizes[-2]))
        highest = max(float(larger.max()), float(next_to.max()))
        ratios = {w: trends.ratio(larger[w], next_to[w], highest) for w in view.widths}
        markedly, at_all = ([ratio >= factor for ratio in ratios.values()] for factor in (MARKED, STEP))
        sentence = (
            f"Beside the next smaller volume it is larger by a factor of {MARKED:g} or more at {sum(markedly)} of {len(ratios)} "
            f"widths, and by {STEP:g} or more at {sum(at_all)}."
        )
        return Finding(share(markedly, at_all), float((larger - next_to).mean()), measure, sentence)

    return check


def largest_volume_is_less_accurate(view: View) -> Finding:
    """Over the largest volume, beside the next smaller one, accuracy is lower."""
    fall = view.volume("accuracy", size=view.sizes[-2]) - view.volume("accuracy", size=view.sizes[-1])
    drop = 100 * float(fall.mean())
    state = decided(drop >= POINTS, drop <= 0)
    sentence = f"Beside the next smaller volume accuracy is {number(drop)} percentage points lower."
    return Finding(state, drop, "percentage points, next smaller minus largest volume, mean over widths", sentence)


def smooth(metric: str, subset: str) -> Callable[[View], Finding]:
    """A loss or sharpness falls markedly from the threshold to the widest network, over every volume."""
    measure = f"{NAMES[metric]}, largest near the threshold minus widest network, mean over curves ({UNITS[metric]})"

    def check(view: View) -> Finding:
        fall, falls = [], []
        for _, size in checks.places(view, metric, "both", (subset,)):
            curve = view.sharpness(metric, subset, size)
            top, widest = checks.largest_near_threshold(view, curve), float(curve.iloc[-1])
            fall.append(trends.ratio(top, widest, float(curve.max())) >= MARKED)
            falls.append(top - widest)
        sentence = (
            f"From the threshold to w = {view.widths[-1]}, {sum(fall)} of {len(fall)} curves fall by a factor of {MARKED:g} "
            "or more."
        )
        state = share(fall)
        if view.threshold is None:
            state, sentence = "inconclusive", f"It cannot be judged: {NO_THRESHOLD}."
        return Finding(state, trends.mean(falls), measure, sentence)

    return check


def corrupted_classes_keep_their_error(view: View) -> Finding:
    """The test error of the corrupted classes has no second descent, where that of the others would have been seen."""
    error, top = checks.top_of_error(view, CORRUPTED)
    others = checks.top_of_error(view, UNTOUCHED)[1]
    images = trends.selected(len(error)) * view.image_error(*CORRUPTED)
    measure = "percentage points from a peak to the widest network, 0 without a peak"
    ends = f"{number(error.iloc[0])}% at w = {error.index[0]}, {number(error.iloc[-1])}% at w = {error.index[-1]}"
    effect = 0.0 if top.peak is None or top.at is None else max(float(top.peak.to_end), 0.0)
    if top.certain and effect >= max(top.step, top.noise):
        sentence = f"It peaks at w = {top.at}, at {number(error[top.at])}%, and falls again: {ends}."
        return Finding("contradicted", effect, measure, sentence, images)
    sentence = f"The test error of the corrupted classes does not fall again by more than noise explains, {number(top.noise)} points: {ends}"
    trend = 0.0 if others.peak is None else max(min(others.size, others.peak.to_end), 0.0)
    if trend < max(top.step, top.noise):
        sentence += f"; but the double descent of the untouched classes, {number(trend)} points, would not have been seen either"
        return Finding("inconclusive", effect, measure, f"{sentence}.", images)
    return Finding("supported", effect, measure, f"{sentence}.", images)


# fmt: off
claim("test-error-u-shape", "Section 4", "Figure 1c", NOISY,
      "Up to the threshold the test error has the classical U-shape: it falls with width, then rises.", u_shape)
claim("test-error-peak", "Section 4", "Figure 1c", NOISY,
      "The test error rises to a peak and descends again.", checks.error_peak(TEST_ERROR))
claim("test-error-peak-place", "Section 4", "Figure 1c", NOISY,
      "The test error has its peak near the interpolation threshold.", checks.place_of_error_peak(TEST_ERROR))
claim("test-error-second-descent", "Section 4", "Figure 1c", NOISY,
      "Beyond the threshold, with all training points fitted, the test error falls with width.", second_descent)
claim("double-descent-without-noise", "Section 4.2", "Figure 1d", CLEAN,
      "On a harder dataset the test error has its double descent without any wrong label.",
      checks.error_peak(TEST_ERROR))
claim("double-descent-without-noise-place", "Section 5", "Figure 1d", CLEAN,
      "There, too, the test error has its peak near the interpolation threshold.",
      checks.place_of_error_peak(TEST_ERROR))

claim("training-accuracy-grows", "Section 4.1", "Figure 2", NOISY,
      "Training accuracy grows with width to 100% at the threshold, and stays there.",
      checks.training_accuracy, over_widths=True)
claim("volume-accuracy-grows", "Section 4.1", "Figure 2", NOISY,
      "Accuracy over volumes grows monotonically with width, for every volume size.",
      checks.accuracy_over_volumes, over_widths=True)
for short, metric in SHARPNESS.items():
    the = NAMES[metric][0].upper() + NAMES[metric][1:] if metric == "crossentropy" else f"The {NAMES[metric]}"
    peak_and_place(f"{short}-peak-at-points", "Section 4.1", "Figure 2", NOISY,
                   f"{the} at the training points", metric, "points")
    peak_and_place(f"{short}-peak-over-volumes", "Section 4.1", "Figure 2", NOISY,
                   f"{the} over volumes of every size", metric, "volumes")
claim("points-become-stationary", "Section 4.1", "Figure 2", NOISY,
      "Past the threshold the training points become stationary for the loss: the Jacobian norm there tends to 0.",
      checks.vanishes("jacobian_norm", ["all"]))

claim("small-networks-fit-clean-points", "Section 4.2", "Figure 3", NOISY,
      "The smallest networks fit clean points and hardly any noisy ones.", small_networks)
claim("large-networks-predict-clean-labels", "Section 4.2", "Figure 3", NOISY,
      "The largest networks predict the clean label over large volumes.", checks.predicts("clean", "the clean label"))
claim("large-networks-predict-noisy-labels", "Section 4.2", "Figure 3", NOISY,
      "The largest networks predict the noisy label over large volumes.", checks.predicts("noisy", "the noisy label"))
claim("point-losses-vanish", "Section 4.2", "Figure 3", NOISY,
      "Past the threshold the crossentropy at the points approaches 0, at clean and at noisy ones.",
      checks.vanishes("crossentropy", BOTH))
for short, metric in SHARPNESS.items():
    peak_and_place(f"{short}-peak-clean-and-noisy", "Section 4.2", "Figure 3", NOISY,
                   f"the {NAMES[metric]}, whatever the volume,", metric, "both", BOTH,
                   when="Around clean and around noisy points alike, ")
    claim(f"{short}-worse-around-noisy", "Section 4.2", "Figure 3", NOISY,
          f"At the threshold the {NAMES[metric]} is higher around noisy labels than around clean ones.",
          worse_around_noisy(metric))
claim("loss-grows-with-volume", "Section 4.2", "Figure 3", NOISY,
      "At the threshold the loss increases largely with the volume's size.", loss_grows_with_volume)

for short, metric in SHARPNESS.items():
    where: checks.Where = "volumes" if metric == "crossentropy" else "both"
    reach = "over volumes" if metric == "crossentropy" else "at the points and over volumes"
    peak_and_place(f"{short}-peak-without-noise", "Section 4.2", "Figure 4", CLEAN, f"the {NAMES[metric]} {reach}",
                   metric, where, when="Without any wrong label, ")
claim("volume-accuracy-grows-without-noise", "Section 4.2", "Figure 4", CLEAN,
      "Without any wrong label, accuracy over volumes grows with width.",
      checks.accuracy_over_volumes, over_widths=True)
claim("large-networks-smooth-without-noise", "Section 4.2", "Figure 4", CLEAN,
      "Without any wrong label, large networks fit the training set over large volumes.",
      checks.predicts("all", "the label"))

claim("resnet-double-descent", "Section 4.4", "Figure 6", RESNET,
      "ResNets with Adam and augmentation, too, have a double descent of the test error.",
      checks.error_peak(TEST_ERROR))
claim("resnet-peaks-early", "Section 4.4", "Figure 6", RESNET,
      "With data augmentation the test error peaks earlier than the interpolation threshold.", peaks_early)
claim("resnet-training-accuracy-grows", "Section 4.4", "Figure 6", RESNET,
      "The training accuracy of ResNets, too, grows with width to 100% at the threshold.",
      checks.training_accuracy, over_widths=True)
claim("resnet-volume-accuracy-grows", "Section 4.4", "Figure 6", RESNET,
      "The accuracy of ResNets over volumes, too, grows with width.", checks.accuracy_over_volumes, over_widths=True)
for short, metric in SHARPNESS.items():
    reach = "over volumes" if metric == "crossentropy" else "at the points and over volumes"
    peak_and_place(f"resnet-{short}-peak", "Section 4.4", "Figure 6", RESNET, f"the {NAMES[metric]} {reach}",
                   metric, "volumes" if metric == "crossentropy" else "both", when="For ResNets, too, ")
for short in ("jacobian", "hessian"):
    claim(f"resnet-largest-volume-{short}", "Section 4.4", "Figure 6", RESNET,
          f"Over the largest volume the {NAMES[SHARPNESS[short]]} of ResNets is considerably larger.",
          largest_volume_is_sharper(SHARPNESS[short]))
claim("resnet-largest-volume-accuracy", "Section 4.4", "Figure 6", RESNET,
      "Over the largest volume ResNets are less accurate.", largest_volume_is_less_accurate)

for subset in BOTH:
    for short, metric in SHARPNESS.items():
        claim(f"asymmetric-{short}-smooth-{subset}", "Section 4.5", "Figure 7", ASYMMETRIC,
              f"Under asymmetric noise the {NAMES[metric]} around {subset} points becomes low in wide networks.",
              smooth(metric, subset))
claim("untouched-classes-double-descent", "Section 4.5", "Figure 7", ASYMMETRIC,
      "The test error of the untouched classes has its double descent.",
      checks.error_peak(UNTOUCHED, "The test error of the untouched classes"))
claim("corrupted-classes-no-double-descent", "Section 4.5", "Figure 7", ASYMMETRIC,
      "In the test error of the corrupted classes that trend disappears.", corrupted_classes_keep_their_error)
# fmt: on
