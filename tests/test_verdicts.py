"""Verdicts as text, for the pages of the book and the command line."""

import re

import pytest
from tests.worlds import CASES, World, made, together
from typer.testing import CliRunner

from smooth_interpolation import claims, cli, locations, pages, verdicts

DEMO = "params/demo/convnet-noise20.yaml"


def judged(evidence, experiment=claims.NOISY, monkeypatch=None):
    monkeypatch.setattr(claims.Evidence, "of", classmethod(lambda cls, records: evidence))
    return claims.judge([], experiment)


def command(*words):
    result = CliRunner().invoke(cli.app, ["claims", *words], env={"COLUMNS": "80", "TERM": "dumb"})
    return result


def test_all_claims_in_eighty_columns():
    result = command()
    lines = result.output.splitlines()
    assert result.exit_code == 0 and max(map(len, lines)) <= 80
    rows = [line.split()[0] for line in lines if line.startswith(" ")]
    assert set(rows) == {claim.name for claim in claims.CLAIMS}  # none wraps
    assert len(rows) == sum(len(claim.experiments) for claim in claims.CLAIMS)
    assert re.search(r"laptop: \d+ supported", result.output)


def test_the_claims_of_one_experiment_in_sentences(tmp_path):
    result = command(DEMO)
    assert result.exit_code == 0 and "Section 4.1, Figure 2; jacobian-peak-at-points" in " ".join(result.output.split())
    assert "one seed" in result.output
    result = command(DEMO, "--results", str(tmp_path))
    assert f"{len(claims.about(claims.NOISY))} not measured" in " ".join(result.output.split())
    assert "supported:" not in result.output


def test_an_experiment_of_ones_own_has_no_claims(tmp_path):
    text = (locations.repository() / DEMO).read_text().replace("experiment: convnet-noise20", "experiment: mine")
    (tmp_path / "mine.yaml").write_text(text)
    assert "No claim is about the experiment mine." in command(str(tmp_path / "mine.yaml")).output


def test_a_table_shows_effect_spread_and_sentence(monkeypatch):
    table = judged(World().evidence(), monkeypatch=monkeypatch)
    text = verdicts.as_table(table, "Figure 2")
    assert len(text.splitlines()) == 2 + 9 and "**supported**" in text and "(1 to 1 over seeds and widths)" in text
    assert verdicts.as_table(table, "Figure 7") == ""
    disagree = together(dict(enumerate(map(made, CASES["test-error-peak"]))))
    text = verdicts.as_table(judged(disagree, monkeypatch=monkeypatch), "Figure 1")
    assert "**inconclusive**" in text and "bootstrap samples of the seeds agree" in text
    alone = verdicts.as_table(judged(World().evidence(0), monkeypatch=monkeypatch), "Figure 3")
    assert "(one seed)" in alone


@pytest.mark.parametrize(
    ("experiment", "figures"),
    [(claims.NOISY, {"Figure 1c", "Figure 2", "Figure 3", "Figure 5"}), (claims.RESNET, {"Figure 6", "Figure 11"}),
     (claims.CLEAN[0], {"Figure 1d", "Figure 4"}), (claims.CLEAN[1], {"Figure 1d", "Figure 4"}),
     (claims.ASYMMETRIC, {"Figure 7"})],
)  # fmt: skip
def test_every_figure_has_its_claims(experiment, figures, monkeypatch):
    table = judged(World().evidence(), experiment, monkeypatch)
    for figure in figures:
        assert len(verdicts.of_figure(table, figure)), figure


def test_counts():
    table = claims.judge([], claims.ASYMMETRIC)
    assert verdicts.count(table) == "**4 not measured** of 4 claims"
    table = table.assign(verdict=["supported", "supported", "contradicted", "not measured"], scale="gpu")
    assert verdicts.count(table) == "**2 supported, 1 contradicted and 1 not measured** of 4 claims"
    assert "| `gpu` | 2 | 1 | 0 | 1 |" in verdicts.counts(table)


def test_the_pages_tables_follow_the_records():
    page = pages.open_page({"scale": "demo", "experiment": "convnet-noise20"})
    assert "inconclusive" in page.verdicts("Figure 3").data
    text = page.verdicts_by_scale("Figure 2").data
    assert "`demo`" in text and "`gpu`" in text and "`paper`" not in text
    assert "At scale `demo`: **" in page.verdict_count().data
    empty = pages.open_page({"scale": "paper", "experiment": "convnet-asymmetric"})
    assert empty.verdicts("Figure 7").data.count("not measured") == 4


def test_the_criteria_name_every_threshold_of_judgement():
    text = verdicts.criteria()
    for said in (
        "at least 3 networks",
        "at least 1/1.1 of",
        "less than 20% of their labels",
        "factor of 1.5",
        "over 90%",
    ):
        assert said in text, said


def test_effects_are_short():
    values = {0.000012: "1.2e-05", 0.5: "0.5", 12.34: "12", 123.4: "123", 12345.6: "12,346", -0.06: "-0.06"}
    assert {value: verdicts.number(value) for value in values} == values
