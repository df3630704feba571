"""The claims as rows of one table: what the paper says alike of several experiments stands in one row. And what to doubt.

A row has a short text, the criterion by which it is judged, in the words of `verdicts.criteria`, and the claim on each experiment.
"""

from __future__ import annotations

from collections.abc import Iterable
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


@dataclass(frozen=True)
class Doubt:
    """What we think about the reason of a verdict, said only where a claim has one of these."""

    title: str
    text: str
    claims: tuple[str, ...]
    states: tuple[str, ...] = ("contradicted", "inconclusive")


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


def _named(*endings: str) -> tuple[str, ...]:
    """The claims whose names end so."""
    rows = (row for part in ROWS.values() for row in part)
    return tuple(name for row in rows for name in row.claims.values() if name.endswith(endings))


DOUBTS: dict[str, Doubt] = {
    "before-the-threshold": Doubt("Before the threshold", (
        "The last labels take the longest. Networks a little too narrow still miss some, and a peak may stand among them; from the "
        "threshold on, training has driven the loss at the points, and every gradient there, to almost nothing. The longer one "
        "trains, the narrower the network that fits everything."), _named("-place")),
    "augmentation": Doubt("Augmentation", (
        "ResNets train on shifted and mirrored images and are measured on the images themselves, so their last training errors go "
        "away late. The paper, too, finds peak and threshold apart."), _named("resnet-crossentropy-peak-place", "resnet-jacobian-peak-place", "resnet-hessian-peak-place")),
    "few-narrow-networks": Doubt("Few narrow networks", (
        "Where even the narrowest networks nearly fit, little width is left for a curve to fall and rise over."),
        ("test-error-u-shape", "test-error-peak")),
    "small-rise": Doubt("A small rise", (
        "With clean labels a curve rises by little before it falls. Where that is about what seeds, moments and test images differ by, "
        "so few seeds cannot tell whether it rises at all."),
        ("double-descent-without-noise", "jacobian-peak-without-noise", "hessian-peak-without-noise"), ("inconclusive",)),
    "batch-normalisation": Doubt("Batch normalisation", (
        "It keeps the scale of what a layer passes on, in narrow networks as well: their loss may be steep from the start."),
        ("resnet-jacobian-peak", "resnet-hessian-peak")),
    "what-training-lowers": Doubt("What training lowers", (
        "Training lowers the crossentropy. Where narrow networks start near the loss of guessing, it only falls from there, "
        "unless networks below the threshold are more wrong around the points than the narrowest are on them."),
        (*_named("crossentropy-peak-at-points", "crossentropy-peak-over-volumes", "crossentropy-peak-clean-and-noisy", "crossentropy-peak-without-noise"),
         "resnet-crossentropy-peak", "epochwise-crossentropy", "resnet-epochwise-crossentropy", "narrow-networks-keep-their-loss")),
    "jumps": Doubt("Single networks that jump", (
        "At a constant learning rate the loss of networks next to the threshold jumps until the last epoch: one seed has fitted "
        "everything and another has not."),
        ("training-accuracy-grows", "resnet-training-accuracy-grows", "epochwise-test-error", "narrow-networks-stay", "narrow-networks-stay-sharp",
         "jacobian-peak-at-points-place", "hessian-peak-at-points-place"), ("inconclusive",)),
    "few-test-images": Doubt("Few test images", (
        "The corrupted classes have few: a trend in them must be strong to be told from noise."),
        ("corrupted-classes-no-double-descent",), ("inconclusive",)),
    "early-and-late-epochs": Doubt("Early and late epochs", (
        "In the first epochs the test error falls steeply while sharpness grows from nothing; once everything is fitted the error "
        "stays, and sharpness goes on falling. What the paper calls double descent lies between."),
        _named("test-error-over-epochs")),
}  # fmt: skip


def doubts_on(names: Iterable[str], states: Iterable[str]) -> list[str]:
    """The keys of the doubts about claims that were found to be in these states."""
    found = set(zip(names, states, strict=True))
    return [key for key, doubt in DOUBTS.items() if any(n in doubt.claims and s in doubt.states for n, s in found)]
