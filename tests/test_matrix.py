"""The one table of all claims: every claim once, the largest scale that decides, few words whatever will be measured."""

import fnmatch
import re

import pandas as pd
import pytest

from smooth_interpolation import claims
from smooth_interpolation.book import board
from smooth_interpolation.claims import verdicts

ON = {(claim.name, experiment): claim for claim in claims.CLAIMS for experiment in claim.experiments}
ROWS = [row for part in board.page_rows().values() for row in part]


def overview(verdict="inconclusive", scales=claims.SCALES):
    """Every claim with this verdict at these scales."""
    nothing = pd.concat(
        claims.judge([], name).assign(scale=scale) for scale in claims.SCALES for name in claims.EXPERIMENTS
    )
    measured = nothing.scale.isin(scales)
    found = {"verdict": verdict, "kept": verdict, "effect": -0.123, "low": -0.2, "high": 0.3, "seeds": 3,
             "measure": "Jacobian norm, largest near the threshold minus widest network (norm)"}  # fmt: skip
    return nothing.assign(**{name: nothing[name].where(~measured, value) for name, value in found.items()})


def words(html):
    return [
        word for word in re.sub("<[^>]+>", " ", html).replace("&nbsp;", " ").split() if re.search("[^\\W\\d_]", word)
    ]


def test_every_claim_stands_in_one_row_with_a_criterion_that_there_is():
    placed = [(name, experiment) for row in ROWS for experiment, name in row.claims.items()]
    assert sorted(placed) == sorted(ON)
    criteria = board.criteria().data
    for row in ROWS:
        assert f'<tr id="{verdicts.place_of(row.criterion)}"><th scope="row">{row.criterion}</th>' in criteria, row


def test_doubts_are_about_claims():
    names = [claim.name for claim in claims.CLAIMS]
    for doubt in board.content()["doubts"].values():
        assert set(doubt["verdicts"]) <= set(claims.STATES)
        assert all(fnmatch.filter(names, pattern) for pattern in doubt["claims"])


@pytest.mark.parametrize("verdict", ["supported", "contradicted", "inconclusive"])
def test_a_cell_has_colour_sign_and_word_and_its_interval(verdict):
    html = board.matrix(overview(verdict, ("gpu",)))
    assert html.count(f'<td class="{verdict}"') == len(ON) and "demo" not in html
    assert html.count(f"{board.SIGNS[verdict]}</span>&nbsp;{verdict}") == len(ON)
    assert "−0.12 [−0.2,&nbsp;0.3]" in html and "<code>gpu</code>" in html


def test_on_paper_a_row_has_its_verdicts_in_words():
    lines = board.printed(overview("supported", ("gpu",))).splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(board.page_rows()) + len(
        ROWS
    )  # with the heads of each part
    assert sum(line.count("supported −0.12 [−0.2, 0.3]") for line in lines) == len(ON) and "<" not in "".join(lines)


def test_the_largest_scale_with_a_verdict_decides():
    table = overview(scales=("laptop", "gpu"))
    assert set(board.largest(table).scale) == {"gpu"} and len(board.largest(table)) == len(ON)
    late = table.scale.eq("gpu") & table.index.isin(["test-error-peak"])
    found = board.largest(table.assign(verdict=table.verdict.where(~late, "not measured")))
    assert found.scale["test-error-peak"] == "laptop" and (found.scale == "gpu").sum() == len(ON) - 1
    nothing = board.matrix(overview(scales=()))
    assert nothing.count('<td class="not-measured"') == len(ON) and "not measured</span></th>" in nothing
    assert board.Board(overview(scales=())).doubts().data == ""


def test_a_row_unfolds_to_its_figures_and_to_every_scale_with_its_seeds():
    html = board.matrix(overview(scales=("laptop", "gpu")))
    assert html.count("<code>laptop</code>&nbsp;×3 ") == html.count("<code>gpu</code>&nbsp;×3 ") == len(ON)
    assert 'Figures <a href="fig1.html">1c</a>, <a href="fig1.html">1d</a>, ' in html
    assert "<p>Figure <a " in html and "<p>." not in html


def test_the_spread_of_one_seed_is_not_an_interval():
    row = board.largest(overview()).iloc[:1].assign(seeds=1, low=-0.123, high=-0.123)
    assert board.value(next(row.itertuples())) == "−0.12"


def test_a_verdict_that_networks_which_forgot_give_is_marked():
    table = overview("supported", ("gpu", "paper"))
    spoilt = table.assign(kept=table.kept.where(table.index != "test-error-peak", "contradicted"))
    assert board.matrix(spoilt).count("(else contradicted)") == board.printed(spoilt).count("(else contradicted)") == 1
    assert "(else" not in board.matrix(table)
    assert board.Board(spoilt).state("test-error-peak", "paper", claims.NOISY) == "contradicted"
    assert "1 of them would be another" in board.Board(spoilt).summary().data


def test_a_doubt_is_said_with_the_verdict_that_calls_for_it():
    assert list(board.doubts_on(["epochwise-crossentropy"], ["contradicted"])) == ["what-training-lowers"]
    assert not board.doubts_on(["epochwise-crossentropy"], ["supported"])
    assert not board.doubts_on(["narrow-networks-stay"], ["contradicted"])  # networks that jump leave it open
    table = overview("contradicted")
    said, shown = board.Board(table).doubts().data, board.matrix(table)
    linked = set(re.findall(r'href="#([\w-]+)"', shown))
    assert linked and linked <= set(re.findall(r'id="([\w-]+)"', said))


def test_the_table_stays_short_when_everything_is_measured():
    table = overview()
    assert len(words(board.matrix(table) + board.Board(table).doubts().data)) < 30 * len(claims.CLAIMS)
