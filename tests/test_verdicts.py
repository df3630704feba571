"""Verdicts as text, for the pages of the book and the command line."""

import re

import pytest
from tests import worlds
from tests.worlds import CASES, World, made, of_the_paper, together
from typer.testing import CliRunner
from worlds import opened

from smooth_interpolation import claims, cli, config, locations
from smooth_interpolation.book import board, pages
from smooth_interpolation.claims import verdicts, words
from smooth_interpolation.cli import display
from smooth_interpolation.runs import store
from smooth_interpolation.runs.records import Records

DEMO = "params/demo/convnet-noise20.yaml"
LAPTOP = config.find("laptop", claims.NOISY)


def judged(evidence, experiment=claims.NOISY, monkeypatch=None):
    monkeypatch.setattr(claims.Evidence, "of", classmethod(lambda cls, *given: evidence))
    return claims.judge([], experiment)


@pytest.fixture
def measured(monkeypatch):
    """Records of a made-up family for `laptop/convnet-noise20`, and none elsewhere."""
    widths = worlds.np.array(LAPTOP.widths)
    error = worlds.np.interp(widths, [1, 4, 8, 24], [70, 55, 64, 45])
    found = [record for seed in LAPTOP.seeds for record in worlds.records(World(widths, 8, error), seed)]

    def read_all(runs, root=None):
        return found if root is None and str(runs[0]).startswith("laptop/convnet-noise20 ") else []

    monkeypatch.setattr(store, "read_all", read_all)
    return found


def command(*words):
    result = CliRunner().invoke(cli.app, ["claims", *words], env={"COLUMNS": "80", "TERM": "dumb"})
    return result


def test_all_claims_in_eighty_columns(measured):
    result = command()
    lines = result.output.splitlines()
    assert result.exit_code == 0 and max(map(len, lines)) <= 80
    rows = [line.split()[0] for line in lines if line.startswith(" ")]
    assert set(rows) == {claim.name for claim in claims.CLAIMS}  # none wraps
    assert len(rows) == sum(len(claim.experiments) for claim in claims.CLAIMS)
    assert re.search(r"laptop: \d+ supported", result.output) and "demo:" not in result.output
    assert (
        "Left out, and judged with their params files" in result.output and "demo/convnet-noise20 (5" in result.output
    )


def test_nothing_measured_at_demo_scale_counts(monkeypatch):
    """Its records are judged on request, and called what they are."""
    demo = config.find("demo", claims.NOISY)
    records = worlds.records(World(worlds.np.array(demo.widths)))
    monkeypatch.setattr(store, "read_all", lambda runs, root=None: records if runs[0].scale == "demo" else [])
    table = verdicts.overview()
    assert "demo" not in set(table.scale) and set(table.verdict) == {"not measured"}
    assert verdicts.counts(table).empty
    text = " ".join(command(DEMO).output.split())
    assert "Section 4.1, Figure 2; jacobian-peak-at-points" in text and "supported: " in text
    assert "is no verdict on the paper" in text
    page = Records(demo, tuple(records), None)
    assert (
        "no verdict on the paper" in pages.verdicts_on(page, "Figure 3").data
        and "<strong>supported</strong>" in pages.verdicts_on(page, "Figure 3").data
    )
    assert pages.verdicts_by_scale(page, "Figure 3") is None
    assert verdicts.trial("gpu") == ""


def test_the_claims_of_one_experiment_in_sentences(tmp_path, measured):
    file = "params/laptop/convnet-noise20.yaml"
    text = " ".join(command(file).output.split())
    assert "supported: The test error rises by" in text and "over seeds, test images" in text
    result = command(file, "--results", str(tmp_path))
    assert f"{len(claims.about(claims.NOISY))} not measured" in " ".join(result.output.split())
    assert "supported:" not in result.output


def test_every_size_of_an_effect_has_a_unit(measured):
    """By its sign in the short list, which says what the signs are, and by a word beside it in the sentences."""
    overview = verdicts.overview()
    *_, legend = display.claims_by_scale(overview)
    assert "%: percentage points or percent; w: a width; r: an order or correlation" in legend
    assert legend.splitlines()[1].endswith("else of a loss or norm.")
    signs = {}
    for row in overview[overview.effect.notna()].itertuples():
        sized = display._sized(row)
        signs.setdefault(re.sub(r"[-\d.,e]+", "#", sized), set()).add(row.measure)
        assert len(f"open {sized}") <= 12
    assert set(signs) == {"#%", "w#", "r#", "#"}
    assert all("percent" in measure for measure in signs["#%"])
    assert all(measure.startswith("width of") for measure in signs["w#"])
    assert all(measure.startswith(("order with", "rank correlation")) for measure in signs["r#"])
    assert all(re.search("(loss|norm)\\)$|^(loss|norm), ", measure) for measure in signs["#"])


def test_an_experiment_of_ones_own_is_judged_as_the_one_that_it_is_like(tmp_path):
    text = (locations.repository() / DEMO).read_text().replace("experiment: convnet-noise20", "experiment: mine")
    (tmp_path / "mine.yaml").write_text(text)
    said = " ".join(command(str(tmp_path / "mine.yaml")).output.split())
    assert "It does not apply: it is about ResNets trained on wrong labels of all classes" in said
    assert "these are ConvNets trained on wrong labels of all classes." in said


def test_a_table_shows_effect_spread_and_sentence(monkeypatch):
    table = judged(World().evidence(), monkeypatch=monkeypatch)

    def text(evidence, figure):
        return verdicts.as_table(judged(evidence, monkeypatch=monkeypatch), figure).to_string()

    n_claims = sum("Figure 2" in one.figures and claims.NOISY in one.experiments for one in claims.CLAIMS)
    assert len(verdicts.as_table(table, "Figure 2")) == n_claims and verdicts.as_table(table, "Figure 7").empty
    assert "**supported**" in text(World().evidence(), "Figure 2")
    assert "(1 to 1 over seeds, widths)" in text(World().evidence(), "Figure 2")
    disagree = text(together(dict(enumerate(map(made, CASES["test-error-peak"])))), "Figure 1")
    assert "**inconclusive**" in disagree and "of the samples agree" in disagree
    assert "(one seed)" in text(World().evidence(0), "Figure 3")
    assert "over test images, one seed)" in text(World().evidence(0), "Figure 1")
    assert "over seeds, moments, test images)" in text(of_the_paper("Figure 1c"), "Figure 1")


@pytest.mark.parametrize(
    ("experiment", "figures"),
    [(claims.NOISY, {"Figure 1c", "Figure 2", "Figure 3", "Figure 5"}), (claims.RESNET, {"Figure 6", "Figure 11"}),
     (claims.CLEAN, {"Figure 1d", "Figure 4"}), (claims.ASYMMETRIC, {"Figure 7"})],
)  # fmt: skip
def test_every_figure_has_its_claims(experiment, figures, monkeypatch):
    table = judged(World().evidence(), experiment, monkeypatch)
    for figure in figures:
        assert len(verdicts.of_figure(table, figure)), figure


def test_counts():
    table = claims.judge([], claims.ASYMMETRIC)
    assert verdicts.count(table) == "**8 not measured** of 8 claims"
    table = table[:4].assign(verdict=["supported", "supported", "contradicted", "not measured"], scale="gpu")
    assert verdicts.count(table) == "**2 supported, 1 contradicted and 1 not measured** of 4 claims"
    assert verdicts.counts(table).loc["gpu"].tolist() == [2, 1, 0, 1]


def test_the_pages_tables_follow_the_records(measured):
    page = Records(LAPTOP, tuple(measured), None)
    assert "<strong>supported</strong>" in pages.verdicts_on(page, "Figure 3").data
    assert pages.verdicts_on(page, "Figure 7") is None
    text = pages.verdicts_by_scale(page, "Figure 2").data
    assert "<code>laptop</code>" in text and "<code>demo</code>" not in text and "<code>paper</code>" not in text
    empty = opened({"scale": "paper", "experiment": "convnet-asymmetric"})
    assert pages.verdicts_on(empty, "Figure 7").data.count("not measured") == 8


def test_a_page_with_a_width_of_the_readers_judges_the_plan(measured):
    """And its threshold and its sentences are about the plan as well."""
    extra = {**measured[0], "config": {**measured[0]["config"], "width": 9}}  # which fits next to nothing
    page, other = Records(LAPTOP, tuple(measured), None), Records(LAPTOP, tuple([*measured, extra]), 9)
    assert page.threshold == other.threshold == 8
    assert pages.verdicts_on(page, "Figure 1").data == pages.verdicts_on(other, "Figure 1").data
    said = "{test.peak} {n_widths} {threshold}"
    assert pages.says(page, said).data == pages.says(other, said).data == f"64 {len(LAPTOP.widths)} 8"


def test_the_criteria_name_every_threshold_of_judgement():
    text = board.criteria().text
    for said in (
        "at least 3 networks",
        "at least 1/1.1 of",
        "less than 20% of their labels",
        "within a factor of 1.5 in width",
        "over 90%",
        "the evaluated epochs of the last 10%",
        "thresholds at 1, 5, 10% of training error",
        "2.77 for two widths",
    ):
        assert said in text, said


def test_the_commit_of_the_criteria_is_named(monkeypatch):
    assert re.fullmatch(
        r"commit `[0-9a-f]{7,}` of \d{4}-\d\d-\d\d|a commit that is unknown outside of git", verdicts.fixed()
    )
    monkeypatch.setenv("PATH", "")
    assert verdicts.fixed() == "a commit that is unknown outside of git"


def test_effects_are_short():
    values = {
        0.000012: "1.2e-05",
        0.5: "0.5",
        12.34: "12",
        123.4: "120",
        12345.6: "12,000",
        99.97: "100",
        9.96: "10",
        0.0: "0",
        -0.06: "-0.06",
    }
    assert {value: words.number(value) for value in values} == values
