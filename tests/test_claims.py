"""Each claim on made-up tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from smooth_interpolation import claims
from smooth_interpolation.claims import CLAIMS, Evidence

WIDTHS = np.array([1, 2, 4, 6, 8, 12, 16, 24])
SIZES = [0, 1, 2, 3]
SEEDS = [0, 1, 2]
THRESHOLD = 8
EPOCHS = (1, 3, 5, 9)


def bump(height, at=8, floor=0.05):
    return floor + height * np.exp(-(np.log(WIDTHS / at) ** 2) / 0.3)


def paper_like(
    noise=0.0, peak_at=8, flat=False, noisy_factor=2.0, volume_growth=0.5, volume_accuracy=0.0, noisy_fit=0.95,
    monotone_epochs=False, narrow_fall=False,
):  # fmt: skip
    """A world in which every claim holds, and knobs that break them."""
    generator = np.random.default_rng(0)
    rows, history = [], []
    for seed in SEEDS:
        for size in SIZES:
            rising = np.clip(0.3 + 0.1 * np.arange(len(WIDTHS)), 0, 1) - 0.01 * size
            if volume_accuracy and size == SIZES[-1]:
                rising = rising - volume_accuracy * np.arange(len(WIDTHS))
            noisy_accuracy = np.linspace(0.05, noisy_fit, len(WIDTHS))
            clean_accuracy = np.linspace(0.5, 1, len(WIDTHS))
            for subset, accuracy, factor in (
                ("all", rising, 1.2),
                ("clean", clean_accuracy, 1.0),
                ("noisy", noisy_accuracy, noisy_factor),
            ):
                sharp = (
                    factor
                    * (1 + volume_growth * size)
                    * (
                        np.linspace(0.1, 2, len(WIDTHS))
                        if flat
                        else bump(3, peak_at[seed] if isinstance(peak_at, tuple) else peak_at)
                    )
                )
                for metric, values in [("accuracy", accuracy)] + [(m, sharp) for m in claims.SHARPNESS]:
                    values = values * np.exp(noise * generator.standard_normal(len(WIDTHS)))
                    rows += [(w, seed, size, 0, subset, metric, v, 0.0) for w, v in zip(WIDTHS, values, strict=True)]
        train = np.where(WIDTHS >= THRESHOLD, 0.0, 50.0 - 5 * WIDTHS)
        test = np.linspace(60, 65, len(WIDTHS)) if flat else 60 - WIDTHS + bump(20, 6) * np.exp(noise)
        history += [
            (w, seed, epoch, "all", "train_error", v + 10 * (epoch < 9))
            for epoch in EPOCHS
            for w, v in zip(WIDTHS, train, strict=True)
        ]
        for metric in ("test_error", "train_crossentropy", "jacobian_norm", "tangent_hessian_norm"):
            for w, last in zip(WIDTHS, test, strict=True):
                past = w >= THRESHOLD
                rise = {"test_error": 8.0}.get(metric, 3.0) if (past or metric == "test_error") else 0.5
                fall = rise if (past and not monotone_epochs) or (narrow_fall and not past) else 0.0
                last = last if metric == "test_error" else 2.0
                curve = [last + fall + 20 * (metric != "jacobian_norm"), last + fall - rise / 2, last + fall, last]
                history += [(w, seed, e, "all", metric, max(v, 0.1)) for e, v in zip(EPOCHS, curve, strict=True)]
    volumes = pd.DataFrame(rows, columns=["width", "seed", "size", "strength", "subset", "metric", "mean", "std"])
    return Evidence(volumes, pd.DataFrame(history, columns=["width", "seed", "epoch", "subset", "metric", "value"]))


def verdicts(evidence):
    return {claim.name: claim(evidence).state for claim in CLAIMS}


def test_a_world_like_the_papers_supports_every_claim():
    assert set(verdicts(paper_like()).values()) == {"supported"}
    for claim in CLAIMS:
        verdict = claim(paper_like())
        assert verdict.sentence.endswith(".") and np.isfinite(verdict.effect) and verdict.measure


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"flat": True}, "test-error-peak", "contradicted"),
        ({"flat": True}, "jacobian-peak", "contradicted"),
        ({"flat": True}, "hessian-peak", "contradicted"),
        ({"flat": True}, "crossentropy-peak", "contradicted"),
        ({"peak_at": 2}, "jacobian-peak", "inconclusive"),
        ({"peak_at": (2, 8, 20)}, "jacobian-peak", "inconclusive"),
        ({"noisy_factor": 0.5}, "noisy-peaks-are-higher", "contradicted"),
        ({"noisy_factor": 1.0, "noise": 0.2}, "noisy-peaks-are-higher", "inconclusive"),
        ({"volume_growth": -0.2}, "sharpness-grows-with-volume", "contradicted"),
        ({"volume_growth": 0.0, "noise": 0.3}, "sharpness-grows-with-volume", "inconclusive"),
        ({"volume_accuracy": 0.2}, "volume-accuracy-grows", "contradicted"),
        ({"volume_accuracy": 0.09, "noise": 0.05}, "volume-accuracy-grows", "inconclusive"),
        ({"monotone_epochs": True}, "epochwise-test-error", "contradicted"),
        ({"monotone_epochs": True}, "epochwise-crossentropy", "contradicted"),
        ({"monotone_epochs": True}, "epochwise-jacobian", "contradicted"),
        ({"monotone_epochs": True}, "epochwise-hessian", "contradicted"),
        ({"narrow_fall": True}, "narrow-networks-stay", "contradicted"),
        ({"noisy_fit": 0.3}, "large-networks-predict-noisy-labels", "contradicted"),
        ({"noisy_fit": 0.7}, "large-networks-predict-noisy-labels", "inconclusive"),
    ],
)
def test_worlds_that_differ_are_judged_so(change, name, state):
    assert verdicts(paper_like(**change))[name] == state


@pytest.mark.parametrize("metric", ["test_error", "train_crossentropy", "jacobian_norm", "tangent_hessian_norm"])
def test_double_descent_over_epochs_in_three_of_four_widths_is_inconclusive(metric):
    evidence, flat = paper_like(), paper_like(monotone_epochs=True)
    history = evidence.history.copy()
    swap = (history.metric == metric) & history.width.isin([12])
    history.loc[swap, "value"] = flat.history.value[swap]
    name = {"train_crossentropy": "crossentropy", "jacobian_norm": "jacobian", "tangent_hessian_norm": "hessian"}
    claim = f"epochwise-{name.get(metric, 'test-error')}"
    assert verdicts(Evidence(evidence.volumes, history))[claim] == "inconclusive"
    assert "w = 12" in {c.name: c for c in CLAIMS}[claim](Evidence(evidence.volumes, history)).sentence


@pytest.mark.parametrize(
    ("values", "state"),
    [([30, 20, 40, 25], "supported"), ([30, 20, 26, 30], "contradicted"), ([30, 20, 25, 24.5], "contradicted"),
     ([30, 40, 20, 41], "contradicted"), ([30, 20, 19, 18], "contradicted")],
)  # fmt: skip
def test_double_descent_over_epochs_must_end_below_its_peak(values, state):
    evidence = paper_like()
    history = evidence.history.copy()
    wide = (history.metric == "test_error") & (history.width >= THRESHOLD)
    history.loc[wide, "value"] = history.epoch[wide].map(dict(zip(EPOCHS, values, strict=True)))
    verdict = {c.name: c for c in CLAIMS}["epochwise-test-error"](Evidence(evidence.volumes, history))
    assert verdict.state == state and verdict.effect >= 0


def test_a_few_epochs_show_no_trend_over_epochs():
    evidence = paper_like()
    few = Evidence(evidence.volumes, evidence.history[evidence.history.epoch.isin((1, 9))])
    found = verdicts(few)
    assert {found[c.name] for c in CLAIMS if c.place.endswith("Figure 5")} == {"not measured"}


def test_some_narrow_networks_that_fall_again_are_inconclusive():
    evidence, falling = paper_like(), paper_like(narrow_fall=True)
    history = evidence.history.copy()
    swap = (history.metric == "test_error") & (history.width == 4)
    history.loc[swap, "value"] = falling.history.value[swap]
    assert verdicts(Evidence(evidence.volumes, history))["narrow-networks-stay"] == "inconclusive"


def test_small_networks_that_fit_noise_contradict():
    evidence = paper_like()
    volumes = evidence.volumes.copy()
    low = (volumes.metric == "accuracy") & (volumes.width == 1)
    volumes.loc[low & (volumes.subset == "noisy"), "mean"] = 0.6
    assert verdicts(Evidence(volumes, evidence.history))["small-networks-fit-clean-points"] == "contradicted"
    volumes.loc[low & (volumes.subset == "noisy"), "mean"] = 0.45
    assert verdicts(Evidence(volumes, evidence.history))["small-networks-fit-clean-points"] == "inconclusive"


def test_without_a_threshold_nothing_is_said_about_it():
    evidence = paper_like()
    history = evidence.history.copy()
    history.loc[(history.metric == "train_error") & (history.width == 24), "value"] = 1.0
    found = verdicts(Evidence(evidence.volumes, history))
    for name in ("test-error-peak", "training-accuracy-grows", "jacobian-peak", "sharpness-grows-with-volume",
                 "epochwise-jacobian", "narrow-networks-stay"):  # fmt: skip
        assert found[name] == "inconclusive"


def test_training_accuracy_that_falls_before_the_threshold_contradicts():
    evidence = paper_like()
    history = evidence.history.copy()
    below = (history.metric == "train_error") & (history.width < THRESHOLD) & (history.epoch == EPOCHS[-1])
    history.loc[below, "value"] = 10.0 + history.width[below]  # falling accuracy
    history.loc[(history.metric == "train_error") & (history.width == THRESHOLD), "value"] = 0.0
    assert verdicts(Evidence(evidence.volumes, history))["training-accuracy-grows"] == "contradicted"


def test_too_few_widths_are_not_measured():
    evidence = paper_like()
    few = Evidence(evidence.volumes[evidence.volumes.width < 8], evidence.history[evidence.history.width < 8])
    assert set(verdicts(few).values()) == {"not measured"}
    assert set(claims.judge([]).verdict) == {"not measured"}
