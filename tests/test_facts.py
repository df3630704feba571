"""What prose says of records: numbers filled into sentences."""

import ast
import copy
from types import SimpleNamespace

import jupytext
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from tests import worlds

from smooth_interpolation import config, errors, locations
from smooth_interpolation.book import facts, origins, pages
from smooth_interpolation.claims import moments, trends, words
from smooth_interpolation.figures import alt_text
from smooth_interpolation.runs import records as all_records
from smooth_interpolation.runs import store, tables
from smooth_interpolation.runs.records import Records

ROOT = locations.repository()


@pytest.fixture(scope="module")
def records():
    return worlds.records(worlds.World())


def test_a_curve_knows_its_ends_and_extremes():
    curve = facts.Curve(pd.Series({1: 4.0, 2: 2.0, 4: 8.0, 8: 0.001234}), threshold=4)
    assert (curve.first, curve.last, curve.lowest, curve.highest) == ("4", "0.0012", "0.0012", "8")
    assert (curve.lowest_at, curve.highest_at, curve.at_threshold) == ("8", "4", "8")
    assert (curve.peak, curve.peak_at, curve.dip, curve.dip_at) == ("8", "4", "2", "2")
    assert (curve.drop, curve.fall, curve.at("2"), curve.at("3")) == ("8", "6,500", "2", facts.UNKNOWN)
    assert facts.Curve(pd.Series({1: 3.0, 2: 2.0, 4: 1.0})).peak_at == facts.UNKNOWN
    course = facts.Curve(pd.Series({1: 90.0, 10: 55.0, 20: 61.0, 40: 57.0}))
    assert (course.lowest_at, course.rebound, course.rebound_at) == ("10", "61", "20")
    errors_ = facts.Curve(pd.Series({1: 70.04, 2: 66.0}), percent=True)
    assert (errors_.first, errors_.last, errors_.at_threshold) == ("70", "66", facts.UNKNOWN)


def test_nothing_measured_is_said_and_is_no_error():
    empty = facts.Facts([])
    text = empty.fill("{threshold} {test.first} {jacobian.noisy.volume.highest_at} {corrupted.share} {n_train}")
    assert text == " ".join([facts.UNKNOWN] * 4 + ["0"])
    assert facts.known(text) == "" and facts.known("0") == "0"


def test_nearly_all_is_not_all():
    shares = [facts.Curve(pd.Series({1: value})).share for value in (1.0, 0.9996, 0.914, 0.02)]
    assert shares == ["100%", "more than 99%", "91%", "2%"]


def test_sentences_are_filled_from_the_records(records):
    known = facts.Facts(records)
    history, volumes = moments.settled(tables.history_table(records)), tables.volumes_table(records)
    last = store.last_epoch(history, "test_error").groupby("width").value.mean()
    part = volumes[(volumes.metric == "accuracy") & (volumes.subset == "noisy") & (volumes["size"] == worlds.SIZES[-1])]
    accuracy = part.groupby("width")["mean"].mean()
    assert known.fill("{test.highest}% at w = {test.highest_at}") == f"{last.max():.0f}% at w\xa0=\xa0{last.idxmax()}"
    assert known.fill("{accuracy.noisy.volume.share}") == f"{accuracy.iloc[-1]:.0%}"
    jacobian = store.last_epoch(history, "jacobian_norm").set_index("width").value
    assert known.fill("{wide.jacobian.last}") == f"{words.number(jacobian[24])}"
    assert known.fill("{peaked.test.last} {training_at_test_peak}")
    assert known.fill("{threshold} {widest} {n_seeds} {n_train}") == "8 24 1 50,000"
    with pytest.raises(errors.ConfigError, match="no fact"):
        known.fill("{test.hightest}")


def test_what_was_fitted_and_forgotten_is_named(records):
    assert facts.Facts(records).forgotten == facts.UNKNOWN
    spoilt = copy.deepcopy(records)
    for record in spoilt:
        jumps = {8: 100, 12: 30}.get(record["config"]["width"])  # one at the end, one before it
        for entry in (entry for entry in record["history"] if entry["epoch"] == jumps):
            entry["train_error"]["all"] = 70.0
    known = facts.Facts(spoilt)
    assert known.forgotten == "8" and "w\xa0=\xa08" in known.fill("w = {forgotten}")


def test_sentences_claims_and_pictures_have_one_peak():
    error = pd.Series({1: 70.0, 2: 60, 4: 55, 8: 64, 12: 62, 24: 45})
    curve = facts.Curve(error, percent=True)
    assert (curve.peak_at, curve.dip, curve.drop) == (str(trends.peak(error, trends.POINTS).at), "55", "19")
    flat = pd.Series({1: 50.0, 2: 49.5, 4: 50.2, 8: 49.9})
    assert facts.Curve(flat, percent=True).peak_at == facts.UNKNOWN and trends.peak(flat, trends.POINTS) is None
    loss = pd.Series({1: 2.0, 2: 1.0, 4: 3e-5, 8: 5e-5, 16: 3e-5})  # what bumps is next to nothing
    assert facts.Curve(loss).peak_at == facts.UNKNOWN and trends.log_peak(loss) is None
    axes = plt.figure().subplots()
    axes.plot(error.index, error, label="test error")
    axes.set_title("Test error")
    assert f"peak 64 at {curve.peak_at}" in alt_text.describe(axes.figure)
    plt.close(axes.figure)


def test_sentences_are_about_the_plan_and_the_end_of_training():
    world = worlds.World()
    world.jumps = {("test_error", "all", 24, 95): 10.0}
    records = worlds.records(world) + worlds.records(world, seed=9)
    plan = SimpleNamespace(widths=(1, 2, 4, 6, 8, 12, 16, 24), seeds=(0,))
    known = facts.Facts(records, plan)
    assert known.fill("{n_seeds} {test.last} {wide.test.last} {threshold}") == "1 46 46 8"
    assert facts.Facts(records).n_seeds == "2"
    assert moments.settled(tables.history_table(records)).epoch.max() == 100


def test_a_page_has_another_experiment_beside_it(records, monkeypatch):
    monkeypatch.setattr(store, "read_all", lambda runs, root=None: records)
    page = Records(config.find("demo", "convnet-noise20"), tuple(records), 4)
    other = page.beside("convnet-cifar100")
    assert (other.experiment.scale, other.experiment.experiment) == ("demo", "convnet-cifar100")
    assert page.beside("convnet-noise20").width == 4
    assert page.beside("convnet-noise20", "laptop").experiment.scale == "laptop"


def test_another_scale_is_the_next_smaller_one_with_records(monkeypatch):
    there = {"demo", "laptop", "gpu", "paper"}
    monkeypatch.setattr(all_records, "measured", lambda scale, name, width=None: scale in there)
    found = {scale: Records(config.find(scale, "convnet-noise20"), ()) for scale in config.SCALES}

    def nearest():
        return [found[scale].at().experiment.scale for scale in config.SCALES]

    assert nearest() == ["laptop", "gpu", "laptop", "gpu"]
    there -= {"gpu"}
    assert nearest() == ["laptop", "paper", "laptop", "laptop"]
    there -= {"laptop", "paper"}
    assert nearest() == ["laptop", "gpu", "laptop", "gpu"]  # which have no records


@pytest.mark.parametrize("page", sorted((ROOT / "book").glob("*.md")), ids=lambda path: path.stem)
def test_every_sentence_of_the_book_names_facts(page):
    known = facts.Facts([])
    for cell in jupytext.read(page).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "says":
                assert known.fill(ast.literal_eval(node.args[-1]))


def test_the_takeaway_is_what_the_verdicts_allow(records, monkeypatch):
    for scale, verdict, said in (
        ("laptop", "supported", "It peaks at w"),
        ("laptop", "contradicted", "Not certain"),
        ("demo", "supported", "Not certain"),
    ):
        page = Records(config.find(scale, "convnet-noise20"), tuple(records), None)
        monkeypatch.setattr(pages, "_holds", lambda runs, where, verdict=verdict: list(where) == [verdict])
        box = pages.takeaway(page, "It peaks at w = {test.peak_at} <now>.", "Not certain.", supported="test-error-peak")
        assert 'class="admonition tip"' in box.data and said in box.data and "<now>" not in box.data
        assert box._repr_markdown_().startswith(f"**Takeaway.** {said}")
    assert pages.takeaway(Records(page.experiment, (), None), "A.", "B.") is None
    assert pages.says(page, "{corrupted.peak_at}") is None  # a number that there is not


def test_a_threshold_that_is_not_reached_says_how_many_errors_are_left(records):
    """And how many of them no network avoids."""
    changed = copy.deepcopy(records)
    for record in changed:
        record["data"]["irreducible_errors"] = 2
    widest = max(changed, key=lambda record: record["config"]["width"])
    plan = config.find("laptop", "convnet-noise20", {"widths": sorted(record["config"]["width"] for record in changed)})
    page = Records(plan, tuple(changed), None)
    assert "w = 8 (dotted); the 2 errors left there no network avoids" in origins._threshold(page)
    widest["history"][-1]["train_error"]["all"] = 0.01  # percent of 50,000
    page = Records(plan, tuple(changed), None)
    said = "not reached; 5 errors of 50,000 are left at w = 24, of which no network avoids 2: identical images"
    assert said in origins._threshold(page) and "If 1% were allowed, it would be w = 8." in origins._threshold(page)
    widest["history"][-1]["train_error"]["all"] = 0.002
    one = [{**record, "data": {**record["data"], "irreducible_errors": 0}} for record in changed]
    assert "not reached; 1 error of 50,000 is left at w = 24." in origins._threshold(Records(plan, tuple(one), None))


def test_what_the_widest_network_misses_is_said_where_there_is_no_threshold(records):
    changed = copy.deepcopy(records)
    assert facts.Facts(changed).unfitted == facts.UNKNOWN
    for record in changed:
        if record["config"]["width"] == 24:
            for moment in record["history"]:
                moment["train_error"]["all"] = 0.25
    found = facts.Facts(changed)
    assert (found.threshold, found.unfitted) == (facts.UNKNOWN, "0.25")
