"""The looks beside the claims, on made-up tables."""

import re

import numpy as np
import pytest
from tests import worlds
from tests.worlds import World, made, together

from smooth_interpolation import claims, locations, second_looks, verdicts
from smooth_interpolation.board import Board
from smooth_interpolation.errors import ConfigError


@pytest.fixture(scope="module")
def overview():
    return verdicts.overview()


@pytest.fixture
def world(monkeypatch):
    made_up = World()
    monkeypatch.setattr(second_looks, "evidences", lambda scale: {claims.NOISY: together({0: made_up, 1: made_up})})
    return made_up


def test_peaks_stand_beside_the_threshold(world):
    row = second_looks.peaks(["demo"]).loc["demo/convnet-noise20"].tolist()
    assert row == ["w = 8", "w = 8", "w = 6 (20.0%)", "w = 8 (0.0%)", "w = 8 (0.0%)"]


def test_correlation_after_the_first_descent(world):
    world.history["jacobian_norm", "all"][worlds.PAST] = [0.1, 2, 5, 4, 1]  # grows while the error first falls
    found = second_looks.over_epochs(["demo"]).loc["demo/convnet-noise20"]
    assert float(found["Jacobian norm, all epochs"]) < 0.5 and found["Jacobian norm, after the first descent"] == "1.00"


def test_what_hangs_on_the_threshold(world):
    assert second_looks.by_first_width(["demo"]).empty
    world.history["train_error", "all"][0, -1] = 0.0  # the narrowest fits, the next does not
    table = second_looks.by_first_width(["demo"])
    assert len(table) and (table["verdict"] != table.iloc[:, -1]).all()
    assert second_looks.first_interpolating(together({0: world})) == 1


def test_the_board_shows_them(world, overview):
    shown = Board(overview)
    for text in (shown.peaks(), shown.over_epochs(), shown.by_first_width(), shown.figure("Figure 2"), shown.counts()):
        assert text.data
    assert "| `demo/convnet-noise20` | w = 8 |" in shown.peaks().data and shown.by_first_width().data == "None."
    assert re.search(r"\d+ of \d+ are positive", shown.over_epochs().data)
    assert "**contradicted**" in shown.figure("Figure 5").data


def test_what_is_not_supported_is_explained_once(overview):
    board = Board(overview)
    text = board.why("epochwise-crossentropy").data
    assert "**contradicted**" in text and "[Figure 5](fig5.html)" in text
    left = board.others().data
    assert "training crossentropy shows epoch-wise" not in left and board.others().data == "None."
    assert board.why("points-become-stationary").data == "None."  # supported everywhere
    with pytest.raises(ConfigError, match="no claim epochwise"):
        board.why("epochwise")


def test_the_page_says_why_of_every_claim_that_does_not_hold(overview):
    text = (locations.repository() / "book" / "claims.md").read_text()
    said = set(re.findall(r'"([a-z0-9-]+)"', " ".join(re.findall(r"board\.why\((.*?)\)", text, re.DOTALL))))
    table = verdicts.not_supported(overview)
    assert set(table[table.scale != "demo"].index) <= said


def test_errors_by_seed():
    table = second_looks.by_seed("demo", "convnet-noise20", "train_error")
    assert table.loc["w = 16", "seed 0"] == "0.0" and len(table) == 5


def test_only_experiments_with_enough_records_are_looked_at():
    assert set(second_looks.evidences("paper")) == set()
    assert claims.NOISY in second_looks.evidences("demo")
    assert np.isfinite(second_looks._mean_correlation(made(worlds.nothing).evidence().view(), "jacobian_norm", True))
