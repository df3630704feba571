"""The claims as rows of one table: what the paper says alike of several experiments stands in one row.

A row has a short text, the criterion by which it is judged, in the words of `verdicts.criteria`, and the claim on each experiment.
"""

from __future__ import annotations

from dataclasses import dataclass

from .registry import ASYMMETRIC, CLEAN, NOISY, RESNET

PEAK, PLACE, GROWS, TOGETHER = (
    "A curve has a peak",
    "A peak is at the threshold",
    "It grows with width",
    "They go together",
)
OVER_EPOCHS, VANISHES = "It is so over the epochs, on one side of the threshold", "It tends to 0"
NOT_LOWER, PREDICTED = "A loss or sharpness does not decrease over the epochs", "The label is predicted over a volume"
SUBJECTS = {"crossentropy": "Crossentropy", "jacobian": "Jacobian norm", "hessian": "Hessian norm"}


@dataclass(frozen=True)
class Row:
    text: str
    criterion: str
    claims: dict[str, str]  # by experiment


ROWS: dict[str, list[Row]] = {
    "Test error over width": [
        Row("It falls, then rises, up to the threshold", "Two test errors differ", {NOISY: "test-error-u-shape"}),
        Row("It rises to a peak and falls again", PEAK, {
            NOISY: "test-error-peak", CLEAN: "double-descent-without-noise", RESNET: "resnet-double-descent",
            ASYMMETRIC: "untouched-classes-double-descent"}),
        Row("The peak is near the threshold", PLACE,
            {NOISY: "test-error-peak-place", CLEAN: "double-descent-without-noise-place"}),
        Row("The peak comes before the threshold", PLACE, {RESNET: "resnet-peaks-early"}),
        Row("It falls beyond the threshold", "It falls beyond the threshold", {NOISY: "test-error-second-descent"}),
        Row("Corrupted classes have no double descent", "The trend disappears for the corrupted classes",
            {ASYMMETRIC: "corrupted-classes-no-double-descent"}),
    ],
    "Fitting": [
        Row("Training accuracy grows to 100% at the threshold", GROWS,
            {NOISY: "training-accuracy-grows", RESNET: "resnet-training-accuracy-grows"}),
        Row("Accuracy over volumes grows with width", GROWS, {
            NOISY: "volume-accuracy-grows", CLEAN: "volume-accuracy-grows-without-noise",
            RESNET: "resnet-volume-accuracy-grows"}),
        Row("Small networks fit clean points alone", "Small networks fit hardly any noisy points",
            {NOISY: "small-networks-fit-clean-points"}),
        Row("Large networks predict right labels over volumes", PREDICTED,
            {NOISY: "large-networks-predict-clean-labels", CLEAN: "large-networks-smooth-without-noise"}),
        Row("Large networks predict wrong labels over volumes", PREDICTED,
            {NOISY: "large-networks-predict-noisy-labels"}),
        Row("The loss at the points vanishes", VANISHES, {NOISY: "point-losses-vanish"}),
        Row("The gradient at the points vanishes", VANISHES, {NOISY: "points-become-stationary"}),
    ],
    "Loss and sharpness over width": [
        row
        for short, subject in SUBJECTS.items()
        for what, criterion, place in (("rises and falls", PEAK, ""), ("peaks at the threshold", PLACE, "-place"))
        for row in (
            Row(f"{subject} at points {what}", criterion, {NOISY: f"{short}-peak-at-points{place}"}),
            Row(f"{subject} over volumes {what}", criterion, {
                NOISY: f"{short}-peak-over-volumes{place}", CLEAN: f"{short}-peak-without-noise{place}",
                RESNET: f"resnet-{short}-peak{place}"}),
        )
    ],
    "Around right and wrong labels": [
        *(
            row
            for short, subject in SUBJECTS.items()
            for row in (
                Row(f"{subject} rises and falls around both", PEAK, {NOISY: f"{short}-peak-clean-and-noisy"}),
                Row(f"{subject} peaks at the threshold around both", PLACE,
                    {NOISY: f"{short}-peak-clean-and-noisy-place"}),
                Row(f"{subject} is higher around wrong labels", "It is higher around noisy points",
                    {NOISY: f"{short}-worse-around-noisy"}),
            )
        ),
        *(
            Row(f"{subject} around {label} labels becomes low", "It becomes low in wide networks",
                {ASYMMETRIC: f"asymmetric-{short}-smooth-{subset}"})
            for subset, label in (("clean", "right"), ("noisy", "wrong"))
            for short, subject in SUBJECTS.items()
        ),
        Row("Loss grows with the volume", "The loss increases with the volume", {NOISY: "loss-grows-with-volume"}),
    ],
    "The largest volume": [
        *(
            Row(f"{SUBJECTS[short]} is considerably larger there", "The largest volume is considerably sharper",
                {RESNET: f"resnet-largest-volume-{short}"})
            for short in ("jacobian", "hessian")
        ),
        Row("Accuracy is lower there", "An error or accuracy rises or falls", {RESNET: "resnet-largest-volume-accuracy"}),
    ],
    "Over the epochs": [
        *(
            Row(f"{subject} has a double descent", OVER_EPOCHS,
                {NOISY: f"epochwise-{short}", RESNET: f"resnet-epochwise-{short}"})
            for short, subject in {"test-error": "Test error", **SUBJECTS}.items()
        ),
        Row("Narrow networks keep their test error", OVER_EPOCHS, {NOISY: "narrow-networks-stay"}),
        Row("Narrow networks keep their loss", NOT_LOWER, {NOISY: "narrow-networks-keep-their-loss"}),
        Row("Narrow networks stay sharp", NOT_LOWER, {NOISY: "narrow-networks-stay-sharp"}),
    ],
    "Sharpness and test error go together": [
        Row(f"{SUBJECTS[short]}, over {what}", TOGETHER, dict.fromkeys((NOISY, CLEAN, RESNET), f"{short}-follows-test-error-over-{what}"))
        for what in ("widths", "epochs")
        for short in ("jacobian", "hessian")
    ],
}  # fmt: skip
