"""Each claim on made-up tables whose answer is known: one that supports it, one that contradicts it, one too noisy."""

import dataclasses
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests import worlds
from tests.worlds import CASES, MOMENTS, OF_THE_PAPER, SIZES, THRESHOLD, WIDTHS, World, made, of_the_paper, together

from smooth_interpolation import claims, config
from smooth_interpolation.claims import CLAIMS, Evidence, moments, trends
from smooth_interpolation.errors import RecordError
from smooth_interpolation.runs import store, tables

BY_NAME = {claim.name: claim for claim in CLAIMS}
PLAN = SimpleNamespace(widths=tuple(WIDTHS.tolist()), seeds=(0, 1, 2))


def state(name, evidence):
    return BY_NAME[name](evidence).state


def test_every_claim_has_its_worlds():
    lacking = set(BY_NAME) - set(CASES)
    assert not lacking, (
        f"CASES of tests/worlds.py needs a world that supports and one that contradicts each of {lacking}"
    )
    assert set(CASES) == set(BY_NAME) and len(BY_NAME) == len(CLAIMS)


@pytest.mark.parametrize("name", CASES)
def test_a_world_that_supports(name):
    supports, _ = CASES[name]
    verdict = BY_NAME[name](made(supports).evidence())
    assert verdict.state == "supported", verdict
    assert verdict.sentence.endswith(".") and np.isfinite(verdict.effect) and verdict.measure
    assert verdict.low <= verdict.effect <= verdict.high and verdict.n_seeds == 3


@pytest.mark.parametrize("name", CASES)
def test_a_world_that_contradicts(name):
    _, contradicts = CASES[name]
    verdict = BY_NAME[name](made(contradicts).evidence())
    assert verdict.state == "contradicted", verdict
    assert verdict.sentence.endswith(".") and np.isfinite(verdict.effect)


@pytest.mark.parametrize("figure", OF_THE_PAPER)
def test_a_family_as_the_paper_describes_it_supports_every_claim_of_its_figure(figure):
    evidence = of_the_paper(figure)
    assert evidence.threshold == (18 if figure == "Figure 6" else 15) and evidence.moments == 10
    verdicts = {claim.name: claim(evidence) for claim in CLAIMS if figure in claim.figures}
    assert verdicts and {name: v for name, v in verdicts.items() if v.state != "supported"} == {}


@pytest.mark.parametrize("name", CASES)
def test_seeds_that_disagree_are_too_noisy(name):
    supports, contradicts = map(made, CASES[name])
    verdict = BY_NAME[name](together({0: supports, 1: contradicts}))
    assert verdict.state == "inconclusive", verdict
    assert verdict.low is None or verdict.low < verdict.high
    assert BY_NAME[name](together({0: supports, 1: supports, 2: contradicts})).state != "supported"


@pytest.mark.parametrize("name", CASES)
def test_the_spread_of_one_seed_is_unknown(name):
    claim = BY_NAME[name]
    verdict = claim(made(CASES[name][0]).evidence(0))
    assert verdict.state == "supported" and verdict.n_seeds == 1 and "seeds" not in verdict.over
    assert (verdict.low is None) == (not verdict.over)
    assert verdict.over == ("widths" if claim.over_widths else "test images" if verdict.low is not None else "")


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
                "narrow-networks-keep-their-loss", "narrow-networks-stay-sharp"}  # fmt: skip
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
        ("jacobian-peak-over-volumes-place", worlds.curves("jacobian_norm", ("all",), (1,), worlds.FAR)),
        ("large-networks-predict-noisy-labels", worlds.curves("accuracy", ("noisy",), SIZES, lambda v: 0.7 * v)),
        ("small-networks-fit-clean-points", worlds.curves("accuracy", ("noisy",), SIZES, lambda v: v + 0.3)),
        ("crossentropy-worse-around-noisy", worlds.curves("crossentropy", ("noisy",), (1,), lambda v: v / 3)),
        ("loss-grows-with-volume", worlds.curves("crossentropy", ("noisy",), SIZES, worlds.bump())),
        (
            "volume-accuracy-grows",
            worlds.curves("accuracy", ("all",), (2,), [0.3, 0.4, 0.2, 0.5, 0.35, 0.6, 0.45, 0.7]),
        ),
        ("points-become-stationary", worlds.curves("jacobian_norm", ("all",), (0,), worlds.bump(floor=0.6))),
        ("test-error-u-shape", worlds.error([70, 60, 55, 56.5, 56, 52, 50, 45])),  # 1.5 points are within the noise
        ("test-error-peak", worlds.error([70, 60, 55, 56.5, 56, 52, 50, 45])),
        ("test-error-peak-place", worlds.error([70, 60, 55, 56.5, 56, 52, 50, 45])),
        ("test-error-second-descent", worlds.error([70, 60, 55, 64, 62, 61.9, 61.8, 61])),
        ("untouched-classes-double-descent", worlds.group("other_classes", [70, 60, 55, 64, 62, 63, 63, 63.5])),
        ("corrupted-classes-no-double-descent", worlds.group("other_classes", [70, 60, 55, 56.5, 56, 52, 50, 45])),
        ("asymmetric-jacobian-smooth-clean", worlds.curves("jacobian_norm", ("clean",), (0, 1), worlds.RISING)),
        ("resnet-peaks-early", worlds.error(worlds.FALLING_ERROR)),
        ("resnet-largest-volume-jacobian", worlds.nothing),
        ("resnet-largest-volume-accuracy", worlds.curves("accuracy", ("all",), SIZES[-1:], lambda v: v + 0.005)),
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
    few = Evidence(evidence.volumes, evidence.history[evidence.history.epoch.isin((1, 100))])
    for claim in CLAIMS:
        if "Figure 5" in claim.figures or "over-epochs" in claim.name:
            assert claim(few).state == "not measured"


def test_without_a_threshold_nothing_is_said_about_it():
    world = World()
    world.history["train_error", "all"][-1] = 1.0
    evidence = world.evidence()
    assert evidence.threshold is None
    about_it = ("training-accuracy", "resnet-training", "points-become", "point-losses", "resnet-peaks-early", "epochwise",
                "resnet-epochwise", "narrow-", "loss-grows", "test-error-second", "asymmetric-")  # fmt: skip
    marks = ("-place", "-worse-around-noisy", "over-epochs")
    for claim in CLAIMS:
        evidence.read_the_threshold = False
        verdict = claim(evidence)
        asked = evidence.read_the_threshold and verdict.state == "inconclusive"
        if asked or claim.name.startswith(about_it) or claim.name.endswith(marks):
            assert verdict.state == "inconclusive", claim.name
            assert "zero training error" in verdict.sentence or "beyond the threshold" in verdict.sentence, claim.name
            assert not re.search("(?i)(at|near|from) the threshold", verdict.sentence), verdict.sentence
        elif "corrupted" not in claim.name and not claim.by_interval and "largest-volume" not in claim.name:
            assert verdict.state == "supported", claim.name


def test_what_was_not_measured_is_not_judged():
    evidence = World().evidence()
    few = Evidence(evidence.volumes[evidence.volumes.width < 8], evidence.history[evidence.history.width < 8])
    assert {claim(few).state for claim in CLAIMS} == {"not measured"}
    clean = Evidence(evidence.volumes[evidence.volumes.subset != "noisy"], evidence.history)
    assert state("jacobian-worse-around-noisy", clean) == "not measured"
    for experiment in claims.EXPERIMENTS:
        table = claims.judge([], experiment)
        assert set(table.verdict) == {"not measured"} and len(table)


def test_a_claim_on_an_experiment_of_ones_own_is_judged_there_beside_those_of_its_kin(monkeypatch):
    mine = dataclasses.replace(BY_NAME["training-accuracy-grows"], name="mine", experiments=("mine",))
    monkeypatch.setattr(claims, "CLAIMS", [*CLAIMS, mine])
    judged = claims.judge([], "mine")
    applying = judged[~judged.sentence.str.startswith("It does not apply")]
    assert set(applying.index) == {"mine"} | {claim.name for claim in claims.about(claims.NOISY)}
    assert "mine" not in claims.judge([], claims.NOISY).index
    other = claims.judge([], "another").sentence["mine"]
    assert other.startswith("It does not apply: it is about mine, and these are ConvNets")
    assert claims.EXPERIMENTS == (claims.NOISY, claims.CLEAN, claims.RESNET, claims.ASYMMETRIC)


@pytest.mark.parametrize("what", [pd.DataFrame({"width": [1]}), SimpleNamespace(), "demo", [1, 2], None, {"a": 1}])
def test_what_are_no_records_is_not_judged(what):
    with pytest.raises(RecordError, match="These are no records but a"):
        claims.judge(what)


def test_a_seed_that_lacks_a_width_is_left_out():
    evidence = World().evidence()
    volumes = evidence.volumes[~((evidence.volumes.seed == 2) & (evidence.volumes.width == 4))]
    fewer = Evidence(volumes, evidence.history, PLAN)
    assert fewer.seeds == [0, 1] and fewer.left_out == {2: [4]} and not evidence.left_out
    assert fewer.threshold == THRESHOLD


def test_a_run_that_takes_its_seed_away_is_named():
    evidence = World().evidence(0)
    other = evidence.volumes[evidence.volumes.width != 4].assign(seed=1)
    both = pd.concat([evidence.volumes[evidence.volumes.width != 6], other])
    verdict = BY_NAME["test-error-peak"](Evidence(both, evidence.history, PLAN))
    assert verdict.state == "not measured"
    assert "seed 1 is left out, since it has no volumes at w = 4: not measured, or diverged" in verdict.sentence


def test_the_bootstrap_of_few_seeds_is_exact():
    evidence = together({0: World(), 1: World(), 2: World()})
    drawn = list(evidence.over_seeds())
    assert len(drawn) == 10 and sum(p for p, _ in drawn) == pytest.approx(1)
    assert not World().evidence(0).samples(lambda view: view)
    many = World().evidence(*range(7))
    assert sum(p for p, _ in many.samples(lambda view: view)) == pytest.approx(1)


def test_with_three_seeds_the_interval_is_their_range():
    parts = {
        s: made(worlds.curves("accuracy", ("noisy",), SIZES[-1:], np.full(len(WIDTHS), v)))
        for s, v in enumerate((0.92, 0.95, 0.99))
    }
    verdict = BY_NAME["large-networks-predict-noisy-labels"](together(parts))
    assert (verdict.low, verdict.high) == pytest.approx((92, 99)) and verdict.effect == pytest.approx(95.3, abs=0.1)
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


def test_near_is_a_factor_whatever_was_measured():
    assert trends.near(12, 8) and trends.near(8, 12) and not trends.near(4, 8) and not trends.near(5, 8)


def test_the_range_of_normal_values():
    generator = np.random.default_rng(0)
    for n in (2, 5, 13):
        drawn = np.ptp(generator.standard_normal((200_000, n)), axis=1)
        assert trends.selected(n) == pytest.approx(np.quantile(drawn, 0.95), abs=0.02)


def test_the_typical_variance_is_that_of_most_widths():
    generator = np.random.default_rng(0)
    for seeds in (2, 3, 10):
        values = 3 * generator.standard_normal((2000, seeds))
        values[:20, 0] += 1000  # some jump
        assert trends.typical_variance(values) == pytest.approx(9, rel=0.1)
    assert trends.typical_variance(np.ones((5, 1))) == 0


def test_a_ratio_of_two_nothings_is_no_ratio():
    assert np.isnan(trends.ratio(1e-5, 1e-6, 1.0)) and np.isnan(trends.ratio(0, 0, 0))
    assert trends.ratio(0.5, 1e-6, 1.0) == pytest.approx(5e5) and trends.ratio(1, 2, 2) == 0.5
    level = made(worlds.curves("jacobian_norm", ("clean",), SIZES, np.where(WIDTHS == 1, 5, 1e-6 * WIDTHS[::-1])))
    verdict = BY_NAME["asymmetric-jacobian-smooth-clean"](level.evidence())
    assert verdict.state == "contradicted"  # it falls by a factor of ten near the threshold, from nothing to nothing


def test_effects_are_in_the_unit_of_the_curve():
    once, twice = World(), made(worlds.curves(worlds.SHARPNESS, worlds.EVERY, SIZES, lambda values: 2 * values))
    for name in (
        "jacobian-peak-at-points",
        "loss-grows-with-volume",
        "hessian-worse-around-noisy",
        "points-become-stationary",
    ):
        effects = [BY_NAME[name](world.evidence()).effect for world in (once, twice)]
        assert effects[1] == pytest.approx(2 * effects[0])
    assert BY_NAME["jacobian-peak-at-points"](once.evidence()).effect == pytest.approx(
        1.2 * (worlds.bump()[4] - worlds.bump()[-1])
    )


def test_a_claim_of_a_peak_and_one_of_its_place():
    """A curve that peaks twice as far as the threshold has a peak, and not there; the grid between does not matter."""
    far = made(worlds.error([70, 60, 50, 48, 47, 50, 58, 45])).evidence()
    assert state("test-error-peak", far) == "supported" and state("test-error-peak-place", far) == "contradicted"
    place = BY_NAME["test-error-peak-place"](far)
    assert (place.effect, place.low, place.high) == (16, 16, 16) and place.measure == "width of the peak"
    sparse = Evidence(*(table[~table.width.isin([12])] for table in (far.volumes, far.history)), images=worlds.IMAGES)
    assert state("test-error-peak-place", sparse) == "contradicted"  # w = 16 is the next width now


def test_the_place_of_a_peak_has_an_interval_over_seeds():
    seeds = {
        0: World(),
        1: made(worlds.error([70, 60, 55, 58, 64, 58, 52, 45])),
        2: made(worlds.error([70, 60, 55, 58, 60, 66, 52, 45])),
    }
    place = BY_NAME["test-error-peak-place"](together(seeds))
    assert (place.low, place.high, place.state, place.over) == (6, 12, "supported", "seeds")


def test_the_threshold_is_that_of_all_seeds():
    late = World()
    late.history["train_error", "all"][list(WIDTHS).index(THRESHOLD), -1] = 2.0
    assert together({0: World(), 1: late}).threshold == 12


def test_a_run_that_diverged_leaves_the_threshold():
    records = worlds.records(World(), 0) + worlds.records(World(), 1)
    gone = next(record for record in records if record["config"] == {"width": 24, "seed": 1, "n_classes": 10})
    gone.update(status="diverged", volumes=None)
    evidence = Evidence.of(records, PLAN)
    assert evidence.threshold == THRESHOLD and evidence.seeds == [0] and evidence.left_out == {1: [24]}


def test_errors_that_none_avoids_do_not_count():
    world = World()
    world.history["train_error", "all"][WIDTHS >= THRESHOLD, -1] = 100 * 9 / 50_000
    found = [Evidence.of(worlds.records(world, irreducible=n)).threshold for n in (0, 8, 9, 10)]
    assert found == [None, None, THRESHOLD, THRESHOLD]
    assert Evidence.of(worlds.records(world)).allowing(1.0).threshold == THRESHOLD
    assert store.interpolation_threshold(tables.history_table(worlds.records(world)), tolerance=10.0) == THRESHOLD


def test_a_seed_of_an_unplanned_width_changes_nothing():
    """`papermill book/fig3.ipynb out.ipynb -p width 9` measures one: it used to drop every other seed."""
    plan, records = PLAN, worlds.records(World(), 0) + worlds.records(made(worlds.error(worlds.FALLING_ERROR)), 1)
    extra = [
        {**record, "config": {**record["config"], "width": 9}} for record in records if record["config"]["width"] == 8
    ][:1]
    extra[0]["history"] = [{**entry, "train_error": {"all": 5.0}, "test_error": 99.0} for entry in extra[0]["history"]]
    before = claims.judge(records, plan=plan)
    assert before.loc["test-error-peak"].verdict == "inconclusive" and before.loc["test-error-peak"].seeds == 2
    for given in (plan, None):
        pd.testing.assert_frame_equal(claims.judge(records + extra, plan=given), before)
    unplanned = worlds.records(made(worlds.error(worlds.FALLING_ERROR[::-1])), 7)
    pd.testing.assert_frame_equal(claims.judge(records + unplanned, plan=plan), before)


def test_without_a_plan_the_largest_complete_grid_is_judged():
    whole, part = worlds.records(World(), 0), worlds.records(World(), 1)[:3]
    assert Evidence.of(whole + part).seeds == [0] and Evidence.of(whole + part).widths == list(WIDTHS)


def jumping(value, metric="test_error", width=24, moment=MOMENTS[3], subset="all"):
    world = World()
    world.jumps = {(metric, subset, width, moment): value}
    return world


def test_the_end_of_training_is_a_mean_over_moments():
    evidence = jumping(5.0).evidence()
    assert evidence.moments == 10
    assert evidence.view().end("test_error")[24] == pytest.approx(worlds.TEST_ERROR[-1] + 0.5)
    assert evidence.view(moment=3).end("test_error")[24] == pytest.approx(worlds.TEST_ERROR[-1] + 5)
    assert evidence.view().epochs("test_error", 24).index.tolist() == list(worlds.EPOCHS)  # one value for the end
    table = moments.at_end(evidence.history)
    row = table[(table.metric == "test_error") & (table.width == 24) & (table.seed == 0)].iloc[0]
    assert (row["mean"], row.low, row.high, row.moments, row.epoch) == (45.5, 45, 50, 10, 100)
    assert moments.at_end(World().evidence().history).moments.max() == 1  # records of old have the last epoch alone


def test_sharpness_at_the_points_is_a_mean_over_moments_as_well():
    """A peak that one network makes by a jump at the last epoch is none: at nine of ten moments it is not there."""
    last = worlds.curves("crossentropy", ("all",), (0,), [2, 1, 0.5, 0.3, 0.2, 1.5, 0.1, 0.1])
    assert state("crossentropy-peak-at-points", made(last).evidence()) == "supported"
    world = World()
    last(world)
    world.history["train_crossentropy", "all"][:, -1] = [2, 1, 0.5, 0.3, 0.2, 0.15, 0.1, 0.1]
    world.jumps = {("train_crossentropy", "all", 12, 100): 1.35}
    evidence = world.evidence()
    assert evidence.view().sharpness("crossentropy")[12] == pytest.approx(0.285)
    assert evidence.view().volume("crossentropy")[12] == 1.5
    assert state("crossentropy-peak-at-points", evidence) == "inconclusive"


def test_an_interval_holds_the_moments():
    calm, wild = (BY_NAME["test-error-second-descent"](world.evidence()) for world in (jumping(0.0), jumping(15.0)))
    assert wild.low < calm.low - 8 and "moments" in wild.over and wild.state == calm.state == "supported"
    gone = BY_NAME["test-error-second-descent"](jumping(17.0).evidence())
    assert gone.state == "inconclusive" and gone.sentence.endswith("90% of the samples agree; 97.5% are asked for.")


def test_the_threshold_has_a_range_over_moments():
    evidence = jumping(3.0, "train_error", 12).evidence()
    assert evidence.threshold == THRESHOLD and set(evidence.thresholds) == {8, 16}
    assert state("test-error-peak-place", evidence) == "inconclusive"  # at one moment it is 16, and the peak at 6
    assert state("test-error-peak", evidence) == "supported"


def test_a_jump_of_the_test_error_in_one_seed_alone_is_known_from_its_moments():
    verdict = BY_NAME["test-error-second-descent"](jumping(0.5).evidence(0))
    assert (
        verdict.over == "moments, test images" and verdict.low < verdict.effect < verdict.high and verdict.n_seeds == 1
    )


def test_few_test_images_leave_a_test_error_open():
    worlds_ = {0: World(), 1: World()}
    many, few = (together(worlds_, images={"all": n}) for n in (10_000, 200))
    for name in ("test-error-peak", "test-error-u-shape"):
        assert state(name, many) == "supported" and state(name, few) == "inconclusive"
    wide, narrow = (BY_NAME["test-error-second-descent"](evidence) for evidence in (few, many))
    p = worlds.TEST_ERROR / 100
    expected = trends.selected(2) * 100 * np.sqrt((p * (1 - p)).mean() / 200)
    assert (wide.high - wide.low) / 2 == pytest.approx(expected) and wide.low < narrow.low
    group = together(worlds_, images={"other_classes": 100, "corrupted_classes": 2_000})
    assert state("untouched-classes-double-descent", group) == "inconclusive"


def test_a_highest_of_many_widths_is_not_held_against_zero():
    """Level curves with the error of 10,000 test images: nearly none has a peak, though most rise and fall by a point."""
    generator, rises, found = np.random.default_rng(3), 0, 0
    for _ in range(40):
        world = World()
        world.error(50 + 0.5 * generator.standard_normal(len(WIDTHS)))
        evidence = together({0: world})
        rises += trends.peak(evidence.view().end("test_error"), 1.0) is not None
        found += state("test-error-peak", evidence) == "supported"
    assert rises >= 8 and found <= 2


def test_the_plan_of_a_params_file_is_judged():
    plan = config.find("demo", "convnet-noise20")
    unplanned = worlds.records(World(), 5)
    assert set(claims.judge(unplanned, plan=plan).verdict) == {"not measured"}
    assert "demo" not in claims.SCALES and set(claims.SCALES) < set(config.SCALES)


def test_the_place_of_a_peak_is_said_with_what_counts_as_near():
    sentence = BY_NAME["jacobian-peak-at-points-place"](World().evidence()).sentence
    low, high = (f"{math.ceil(THRESHOLD / trends.NEAR)}", f"{math.floor(THRESHOLD * trends.NEAR)}")
    assert f"the threshold is w = {THRESHOLD} (near: w = {low} to {high})" in sentence


def test_a_verdict_that_hinges_on_networks_that_forgot_says_so():
    records = worlds.records(World())
    spoilt = [record for record in records if record["config"]["width"] == 16]
    assert (claims.judge(records).kept == claims.judge(records).verdict).all()
    for entry in (record["history"][-1] for record in spoilt):
        entry["train_error"]["all"], entry["test_error"] = 80.0, 95.0
    found, kept = claims.judge(records), claims.judge([record for record in records if record not in spoilt])
    assert list(found.kept) == list(kept.verdict)
    assert (found.kept != found.verdict).any()
    for row in found.itertuples():
        said = f"Without w = 16, which forget what they had fitted: {row.kept}."
        assert row.sentence.endswith(said) == (row.kept != row.verdict)
