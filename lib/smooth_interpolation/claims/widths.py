"""The paper's claims about growing width, Sections 4 to 4.2 and Figures 1c to 4, see `registry`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from . import checks, trends
from .checks import NAMES, NO_THRESHOLD, SHARPNESS, TEST_ERROR, UNITS
from .evidence import View
from .registry import CLEAN, NOISY, Finding, State, claim, share
from .trends import POINTS, STEP
from .words import number

BOTH = ("clean", "noisy")


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
    state: State = "supported" if fall >= max(POINTS, noise) else "inconclusive"
    state = "contradicted" if fall + noise < POINTS else state
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
        grow.append(trends.ratio(curve.iloc[-1], curve.iloc[0], largest) >= trends.MARKED and order >= trends.MONOTONE)
        rises.append(float(curve.iloc[-1] - curve.iloc[0]))
        said.append(f"from {curve.iloc[0]:.2g} at {subset} points to {curve.iloc[-1]:.2g} over the largest volume")
    sentence = f"At w = {view.threshold} it goes {' and '.join(said)}."
    return Finding(share(grow), trends.mean(rises), measure, sentence)


def small_networks(view: View) -> Finding:
    """The narrowest fits clean points and hardly any noisy ones."""
    width = view.widths[0]
    clean, noisy = (float(view.volume("accuracy", subset).iloc[0]) for subset in BOTH)
    few = noisy < trends.HARDLY and noisy < clean / 2
    state: State = "supported" if few else "contradicted" if noisy >= clean else "inconclusive"
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
# fmt: on
