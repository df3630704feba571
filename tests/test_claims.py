"""Each claim on made-up tables whose answer is known: one that supports it, one that contradicts it, one too noisy."""

import numpy as np
import pandas as pd
import pytest
from tests import worlds
from tests.worlds import CASES, SIZES, THRESHOLD, WIDTHS, World, made, together

from smooth_interpolation import claims, trends
from smooth_interpolation.claims import CLAIMS, Evidence

BY_NAME = {claim.name: claim for claim in CLAIMS}


def state(name, evidence):
    return BY_NAME[name](evidence).state


def test_every_claim_has_its_worlds():
    assert set(CASES) == set(BY_NAME) and len(BY_NAME) == len(CLAIMS)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_world_that_supports(name):
    supports, _ = CASES[name]
    verdict = BY_NAME[name](made(supports).evidence())
    assert verdict.state == "supported", verdict
    assert verdict.sentence.endswith(".") and np.isfinite(verdict.effect) and verdict.measure
    assert (
        verdict.low <= verdict.effect * (1 + 1e-9)
        and verdict.effect <= verdict.high * (1 + 1e-9)
        and verdict.n_seeds == 3
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_a_world_that_contradicts(name):
    _, contradicts = CASES[name]
    verdict = BY_NAME[name](made(contradicts).evidence())
    assert verdict.state == "contradicted", verdict
    assert verdict.sentence.endswith(".") and np.isfinite(verdict.effect)


@pytest.mark.parametrize("name", BY_NAME)
def test_seeds_that_disagree_are_too_noisy(name):
    supports, contradicts = map(made, CASES[name])
    verdict = BY_NAME[name](together({0: supports, 1: contradicts}))
    assert verdict.state == "inconclusive", verdict
    assert verdict.low < verdict.high
    assert BY_NAME[name](together({0: supports, 1: supports, 2: contradicts})).state != "supported"


@pytest.mark.parametrize("name", BY_NAME)
def test_the_spread_of_one_seed_is_unknown(name):
    claim = BY_NAME[name]
    verdict = claim(made(CASES[name][0]).evidence(0))
    assert verdict.state == "supported" and verdict.n_seeds == 1 and "seeds" not in verdict.over
    assert (verdict.low is None) == (not claim.over_widths)


def test_noise_supports_no_trend():
    """Level curves with the noise of a measurement, 3% and 0.3 percentage points."""
    generator, supported = np.random.default_rng(0), []
    for _ in range(3):
        drawn = [World(), World()]
        for world in drawn:
            for key, values in world.volumes.items():
                world.volumes[key] = 0.5 * np.exp(0.03 * generator.standard_normal(values.shape))
            for key, values in world.history.items():
                error = key[0].startswith("test_error")
                level = 50 + 0.3 * generator.standard_normal(values.shape)
                if key[0] != "train_error":
                    world.history[key] = level if error else np.exp(level / 10)
        evidence = together(dict(enumerate(drawn)))
        supported += [claim.name for claim in CLAIMS if claim(evidence).state == "supported"]
    absences = {"training-accuracy-grows", "resnet-training-accuracy-grows", "narrow-networks-stay",
                "narrow-networks-keep-their-loss", "narrow-networks-stay-sharp",
                "corrupted-classes-no-double-descent"}  # fmt: skip
    assert set(supported) <= absences  # the training error was left as it is, and level curves do not fall


def test_random_sharpness_of_one_seed_does_not_correlate():
    noise = np.array([5, 1, 4, 2.6, 1.5, 9, 3, 3.5])
    world = made(worlds.curves("jacobian_norm", ("all",), SIZES, noise))
    verdict = BY_NAME["jacobian-follows-test-error-over-widths"](world.evidence(0))
    assert verdict.state == "inconclusive" and verdict.low < 0 < verdict.high and verdict.over == "widths"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("jacobian-peak-over-volumes", worlds.curves("jacobian_norm", ("all",), (1,), worlds.RISING)),
        ("large-networks-predict-noisy-labels", worlds.curves("accuracy", ("noisy",), SIZES, lambda v: 0.7 * v)),
        ("small-networks-fit-clean-points", worlds.curves("accuracy", ("noisy",), SIZES, lambda v: v + 0.3)),
        ("noisy-peaks-are-higher", worlds.curves("crossentropy", ("noisy",), SIZES, lambda v: v / 3)),
        ("sharpness-grows-with-volume", worlds.curves("crossentropy", ("all", "clean", "noisy"), SIZES, worlds.bump())),
        (
            "volume-accuracy-grows",
            worlds.curves("accuracy", ("all",), (2,), [0.3, 0.4, 0.2, 0.5, 0.35, 0.6, 0.45, 0.7]),
        ),
        ("points-become-stationary", worlds.curves("jacobian_norm", ("all",), (0,), worlds.bump(floor=0.6))),
        ("test-error-peak", worlds.error([70, 60, 55, 58, 60, 66, 52, 45])),  # at the next width above the threshold
        ("test-error-second-descent", worlds.error([70, 60, 55, 64, 62, 61.9, 61.8, 61.7])),
        ("resnet-peaks-early", worlds.error(worlds.FALLING_ERROR)),
        ("resnet-largest-volume-is-sharper", worlds.nothing),
    ],
)
def test_worlds_in_between_are_inconclusive(name, change):
    assert state(name, made(change).evidence()) == "inconclusive"


@pytest.mark.parametrize("metric", ["test_error", "train_crossentropy", "jacobian_norm", "tangent_hessian_norm"])
def test_double_descent_over_epochs_in_three_of_four_widths_is_inconclusive(metric):
    world = World()
    world.history[metric, "all"][list(WIDTHS).index(12)] = [30, 25, 20, 15, 10]
    name = {"train_crossentropy": "crossentropy", "jacobian_norm": "jacobian", "tangent_hessian_norm": "hessian"}
    verdict = BY_NAME[f"epochwise-{name.get(metric, 'test-error')}"](world.evidence())
    assert verdict.state == "inconclusive" and "w = 12" in verdict.sentence


@pytest.mark.parametrize(
    ("values", "expected"),
    [([30, 20, 40, 30, 25], "supported"), ([30, 20, 26, 28, 30], "contradicted"), ([30, 20, 25, 25, 24.5], "contradicted"),
     ([30, 40, 20, 30, 41], "contradicted"), ([30, 20, 19, 18.5, 18], "contradicted")],
)  # fmt: skip
def test_double_descent_over_epochs_must_end_below_its_peak(values, expected):
    world = World()
    world.history["test_error", "all"][worlds.PAST] = values
    verdict = BY_NAME["epochwise-test-error"](world.evidence())
    assert verdict.state == expected and verdict.effect >= 0


@pytest.mark.parametrize(("threshold", "claim"), [
    (16, "epochwise-test-error"), (16, "epochwise-jacobian"), (16, "jacobian-follows-test-error-over-epochs"),
    (4, "narrow-networks-stay"), (4, "narrow-networks-stay-sharp"), (24, "resnet-epochwise-hessian"),
])  # fmt: skip
def test_a_few_networks_on_a_side_of_the_threshold_show_no_rule(threshold, claim):
    evidence = World().evidence()
    other = Evidence(evidence.volumes, evidence.history)
    assert other.threshold == THRESHOLD and BY_NAME[claim](other).state == "supported"
    other = Evidence(evidence.volumes, evidence.history)
    other.threshold = threshold
    verdict = BY_NAME[claim](other)
    count = "one network" if threshold == 24 else "two networks"
    assert verdict.state == "inconclusive" and f"This rests on {count}" in verdict.sentence
    assert verdict.sentence.endswith("; 3 are asked for.")


def test_a_few_epochs_show_no_trend_over_epochs():
    evidence = World().evidence()
    few = Evidence(evidence.volumes, evidence.history[evidence.history.epoch.isin((1, 17))])
    for claim in CLAIMS:
        if "Figure 5" in claim.figures or "over-epochs" in claim.name:
            assert claim(few).state == "not measured"


def test_without_a_threshold_nothing_is_said_about_it():
    world = World()
    world.history["train_error", "all"][-1] = 1.0
    evidence = world.evidence()
    assert evidence.threshold is None
    free = ("test-error-u-shape", "resnet-double-descent", "resnet-largest-volume", "corrupted-classes", "volume-accuracy",
            "resnet-volume-accuracy", "small-networks", "large-networks")  # fmt: skip
    for claim in CLAIMS:
        if not claim.name.startswith(free) and "over-widths" not in claim.name:
            verdict = claim(evidence)
            assert verdict.state == "inconclusive", claim.name
            assert "zero training error" in verdict.sentence or "beyond the threshold" in verdict.sentence, claim.name


def test_what_was_not_measured_is_not_judged():
    evidence = World().evidence()
    few = Evidence(evidence.volumes[evidence.volumes.width < 8], evidence.history[evidence.history.width < 8])
    assert {claim(few).state for claim in CLAIMS} == {"not measured"}
    clean = Evidence(evidence.volumes[evidence.volumes.subset != "noisy"], evidence.history)
    assert state("noisy-peaks-are-higher", clean) == "not measured"
    for experiment in claims.EXPERIMENTS:
        table = claims.judge([], experiment)
        assert set(table.verdict) == {"not measured"} and len(table)


def test_a_seed_that_lacks_a_width_is_left_out():
    evidence = World().evidence()
    volumes = evidence.volumes[~((evidence.volumes.seed == 2) & (evidence.volumes.width == 4))]
    fewer = Evidence(volumes, evidence.history)
    assert fewer.seeds == [0, 1] and fewer.left_out == {2: [4]} and not evidence.left_out


def test_a_run_that_takes_its_seed_away_is_named():
    evidence = World().evidence(0)
    other = evidence.volumes[evidence.volumes.width != 4].assign(seed=1)
    both = pd.concat([evidence.volumes[evidence.volumes.width != 6], other])
    verdict = BY_NAME["test-error-peak"](Evidence(both, evidence.history))
    assert verdict.state == "not measured"
    assert "seed 1 is left out, since it has no volumes at w = 4: not measured, or diverged" in verdict.sentence


def test_the_bootstrap_of_few_seeds_is_exact():
    evidence = together({0: World(), 1: World(), 2: World()})
    samples = list(evidence.over_seeds())
    assert len(samples) == 10 and sum(p for p, _ in samples) == pytest.approx(1)
    assert not list(World().evidence(0).over_seeds())
    many = World().evidence(*range(7))
    assert sum(p for p, _ in many.over_seeds()) == pytest.approx(1)


def test_with_three_seeds_the_interval_is_their_range():
    parts = {
        s: made(worlds.curves("accuracy", ("noisy",), SIZES[-1:], np.full(len(WIDTHS), v)))
        for s, v in enumerate((0.92, 0.95, 0.99))
    }
    verdict = BY_NAME["large-networks-predict-noisy-labels"](together(parts))
    assert (verdict.low, verdict.high) == pytest.approx((0.92, 0.99)) and verdict.effect == pytest.approx(
        0.953, abs=1e-3
    )
    assert verdict.over == "seeds"


def test_judging_is_repeatable():
    evidence = World().evidence()
    assert all(claim(evidence) == claim(World().evidence()) for claim in CLAIMS if claim.over_widths)


@pytest.mark.parametrize("step", [1.0, 5.0])
def test_peaks_by_definition(step):
    generator = np.random.default_rng(1)
    for _ in range(50):
        curve = pd.Series(generator.normal(0, 4, 7), index=range(1, 8))
        best, at = step, None
        for i in range(1, 6):
            side = min(curve.iloc[i] - curve.iloc[:i].min(), curve.iloc[i] - curve.iloc[i + 1 :].min())
            if side >= best:
                best, at = side, curve.index[i]
        found = trends.peak(curve, step)
        assert (found and found.at) == at and (not found or found.size == pytest.approx(best))


def test_rank_correlation_and_order():
    generator = np.random.default_rng(2)
    for _ in range(20):
        a, b = generator.integers(0, 5, 9), generator.normal(size=9)
        assert trends.rank_correlation(a, b) == pytest.approx(pd.Series(a).rank().corr(pd.Series(b).rank()))
    assert np.isnan(trends.rank_correlation(np.ones(4), np.arange(4)))
    level = pd.Series([10.0, 50, 90, 100, 100, 99.9], index=WIDTHS[:6])
    assert trends.order(level, 1.0) == 1 and trends.order(-level, 1.0) == -1 and np.isnan(trends.order(level * 0, 1.0))


def test_a_bump_among_vanished_values_is_no_peak():
    curve = pd.Series([2.0, 1, 0.1, 3e-5, 5e-5, 3e-5], index=WIDTHS[:6])
    assert trends.log_peak(curve) is None
    assert trends.log_peak(curve.mask(curve.index == WIDTHS[4], 0.3)).at == WIDTHS[4]


def test_an_accuracy_that_does_not_change_does_not_grow():
    level = made(worlds.curves("accuracy", ("all",), SIZES, np.full(len(WIDTHS), 0.5)))
    assert state("volume-accuracy-grows", level.evidence()) == "contradicted"
    steep = made(worlds.curves("accuracy", ("all",), SIZES, np.array([0.5, 0.8] + [1.0] * (len(WIDTHS) - 2))))
    verdict = BY_NAME["volume-accuracy-grows"](steep.evidence())
    assert verdict.state == "supported" and verdict.low == 1  # samples of equal accuracies say nothing


def test_near_is_the_next_width_or_half_as_much_again():
    assert trends.near([1, 2, 4, 8, 16], 4, 8) and not trends.near([1, 2, 4, 8, 16], 2, 8)
    assert trends.near([4, 6, 7, 8, 9, 12], 12, 8) and not trends.near([4, 5, 6, 7, 8], 5, 8)


def test_the_threshold_is_that_of_all_seeds():
    late = World()
    late.history["train_error", "all"][list(WIDTHS).index(THRESHOLD), -1] = 2.0
    assert together({0: World(), 1: late}).threshold == 12
