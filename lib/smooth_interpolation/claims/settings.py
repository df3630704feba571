"""The paper's claims about ResNets and about asymmetric noise, Sections 4.4 and 4.5, Figures 6 and 7, see `registry`."""

from __future__ import annotations

from collections.abc import Callable

from . import checks, trends
from .checks import NAMES, NO_THRESHOLD, SHARPNESS, TEST_ERROR, UNITS
from .evidence import View
from .registry import ASYMMETRIC, RESNET, Finding, State, claim, share
from .trends import MARKED, POINTS, STEP
from .widths import peak_and_place
from .words import number

CORRUPTED, UNTOUCHED = ("test_error_by_group", "corrupted_classes"), ("test_error_by_group", "other_classes")


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
    state: State = "supported" if drop >= POINTS else "contradicted" if drop <= 0 else "inconclusive"
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

for subset in ("clean", "noisy"):
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
