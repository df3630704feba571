"""The looks beside the claims, on made-up tables."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from tests import worlds
from tests.worlds import World, made, together

from smooth_interpolation import claims, config
from smooth_interpolation.book import board as page
from smooth_interpolation.book import facts
from smooth_interpolation.book.board import Board
from smooth_interpolation.claims import second_looks
from smooth_interpolation.runs import store

HERE = "laptop/convnet-noise20"


@pytest.fixture
def world(monkeypatch):
    """Of two seeds at `laptop` scale."""
    made_up = World()
    monkeypatch.setattr(second_looks, "evidences", lambda: {HERE: together({0: made_up, 1: made_up})})
    return made_up


@pytest.fixture
def overview(monkeypatch):
    """Of a family of which much holds, and some does not."""
    family = made(worlds.history("train_crossentropy", worlds.RISING_IN_TIME[::-1])).evidence()
    monkeypatch.setattr(claims.Evidence, "of", classmethod(lambda cls, *given: family))
    return claims.judge([], claims.NOISY).assign(scale="laptop")


def test_thresholds_stand_side_by_side(world):
    row = second_looks.thresholds(second_looks.evidences()).loc[HERE].tolist()
    assert row == ["w = 8", "w = 8", "0%", "w = 8", "w = 8", "w = 8"]
    world.history["train_error", "all"][:, -1] = [30, 20, 8, 4, 0.5, 0, 0, 0]
    world.jumps = {("train_error", "all", 16, 95): 0.5}
    row = second_looks.thresholds(second_looks.evidences()).loc[HERE].tolist()
    assert row == ["w = 12", "12 to 24", "0%", "w = 8", "w = 6", "w = 4"]


def test_peaks_stand_beside_the_threshold(world):
    row = second_looks.peaks(second_looks.evidences()).loc[HERE].tolist()
    assert row == ["w = 8", "w = 6 (22%), w = 6", "w = 8 (0%), w = 8", "w = 8 (0%), w = 8"]


def test_correlation_after_the_first_descent(world):
    world.history["jacobian_norm", "all"][worlds.PAST] = [0.1, 2, 5, 4, 1]  # grows while the error first falls
    found = second_looks.over_epochs(second_looks.evidences()).loc[HERE]
    assert float(found["Jacobian norm, all epochs"]) < 0.5 and found["Jacobian norm, after the first descent"] == "1.00"


def test_what_hangs_on_the_threshold(world):
    assert second_looks.by_tolerance(second_looks.evidences()).empty
    world.history["train_error", "all"][:, -1] = [30, 20, 8, 4, 3, 3, 0.5, 0]  # it is 24, and 16 at 1%, and 6 at 5%
    table = second_looks.by_tolerance(second_looks.evidences()).set_index("claim")
    row = table.loc["The test error has its peak near the interpolation threshold."]
    assert row.tolist() == ["contradicted", "contradicted", "supported", "supported"]


def test_the_board_shows_them(world, overview):
    shown, evidences = Board(overview), second_looks.evidences()
    peaks, correlations = (look(evidences) for look in (second_looks.peaks, second_looks.over_epochs))
    head = facts.unbroken(f'<th scope="row"><code>{HERE}</code></th><td>w = 8</td>')
    assert head in page.look(peaks, "Peaks.").data
    assert page.look(second_looks.by_tolerance(evidences), "None here.").data == "None."
    assert re.search(r"\d+ of \d+ are positive", page.positive(correlations))
    assert "contradicted" in shown.summary().data and "supported" in shown.counts().data
    assert "fixed in" in page.criteria().data


def test_a_sentence_appears_with_its_verdict(overview, monkeypatch):
    plan = config.find("laptop", claims.NOISY)
    records = worlds.records(World())
    monkeypatch.setattr(
        second_looks, "records_of", lambda scale, experiment: (records if scale == "laptop" else [], plan)
    )
    board = Board(overview)
    text = "At the end {test.last}%."
    assert board.says(text, claims.NOISY, "test-error-peak").data == "- `laptop`: At the end 45%."
    assert board.says(text, claims.NOISY, "test-error-peak", verdict="contradicted") is None
    assert board.says(text, claims.NOISY, "test-error-peak", "epochwise-crossentropy") is None
    assert board.says(text, claims.RESNET, "resnet-double-descent") is None and board.says(text, claims.NOISY) is None
    assert board.state("test-error-peak", "gpu", claims.NOISY) == "not measured"
    larger = Board(pd.concat([overview, overview.assign(scale="gpu", kept="inconclusive")]))
    assert (
        larger.says(text, claims.NOISY, "test-error-peak").data == "- `laptop`: At the end 45%. At `gpu`: inconclusive."
    )
    names = ("test-error-peak", "points-become-stationary")
    monkeypatch.setattr(second_looks, "records_of", lambda scale, experiment: (records, plan))
    for states in itertools.product(("contradicted", "inconclusive"), repeat=2):
        here = overview.assign(kept=overview.index.map(dict(zip(names, states, strict=True))))
        smaller = Board(pd.concat([here, overview.assign(scale="gpu", kept="supported")]))
        also = " At `laptop`: contradicted." if set(states) == {"contradicted"} else ""
        assert smaller.says(text, claims.NOISY, *names).data == f"- `gpu`: At the end 45%.{also}"


def test_scales_are_compared(overview):
    assert Board(overview).agreement() is None
    other = overview.assign(scale="gpu")
    other.loc["epochwise-crossentropy", "verdict"] = "supported"
    other.loc["epochwise-jacobian", "verdict"] = "inconclusive"
    other.loc["epochwise-hessian", "verdict"] = "not measured"
    said = Board(pd.concat([overview, other])).agreement().data
    n = len(overview)
    assert said == (
        f"Of {n - 1} claims judged at `laptop` and `gpu`, {n - 3} have the same verdict at both; supported at one and "
        "contradicted at the other: 1."
    )


def test_what_was_measured_is_counted(monkeypatch):
    plan = config.find("laptop", claims.NOISY)
    records = [
        {**record, "config": {**record["config"], "epochs": 400}} for record in worlds.records(World(np.array([2, 24])))
    ]
    found = (records, plan)
    monkeypatch.setattr(
        second_looks, "records_of", lambda *where: found if where == ("laptop", claims.NOISY) else ([], None)
    )
    row = second_looks.measured().loc[HERE]
    widths, seeds = f"2 of {len(plan.widths)}, 2 to 24", f"1 of {len(plan.seeds)}"
    assert row.tolist() == ["50,000", "400", widths, seeds] and len(second_looks.measured()) == 1


def test_values_by_seed(monkeypatch):
    world = World()
    world.jumps = {("train_error", "all", 24, 95): 5.0}
    records = worlds.records(world) + worlds.records(World(), 1)
    monkeypatch.setattr(second_looks, "records_of", lambda scale, experiment: (records, None))
    table = second_looks.by_seed("laptop", claims.NOISY, "train_error")
    assert table.loc["w = 24"].tolist() == ["0.5 (0 to 5)", "0"] and len(table) == 8
    monkeypatch.setattr(second_looks, "records_of", lambda scale, experiment: ([], None))
    assert second_looks.by_seed("laptop", claims.NOISY, "train_error").empty


def test_only_experiments_with_enough_records_are_looked_at(monkeypatch):
    monkeypatch.setattr(store, "read_all", lambda runs, root=None: [])
    assert second_looks.evidences() == {} and second_looks.peaks({}).empty
    plan = config.find("laptop", claims.NOISY)
    records = worlds.records(World(np.array(plan.widths)))
    monkeypatch.setattr(store, "read_all", lambda runs, root=None: records)
    assert second_looks.evidences(["laptop"])[HERE].widths == list(plan.widths)


def test_correlations_of_records_without_a_rise():
    assert np.isfinite(second_looks._mean_correlation(made(worlds.nothing).evidence().view(), "jacobian_norm", True))
