"""Figures as the book shows them: described, downloadable, with their origin."""

import base64
import io
import re
import shlex
from types import SimpleNamespace

import pandas as pd
import pytest
from worlds import opened

import book_files
from smooth_interpolation import config, figures, locations
from smooth_interpolation.book import origins, presentation
from smooth_interpolation.errors import ConfigError
from smooth_interpolation.figures import alt_text
from smooth_interpolation.runs import store


@pytest.fixture(scope="module")
def page():
    return opened({"scale": "demo", "experiment": "convnet-noise20"})


def show(page, alt=""):
    drawn = figures.fig2(page)
    return presentation.show(drawn, drawn.drawn_from.table, "fig2-demo", alt, records=page, experiment=page.experiment)


@pytest.fixture(scope="module")
def shown(page):
    return show(page, 'Four panels, "all points".')


def held(html, kind):
    """The content of the first file of a kind in a piece of HTML."""
    return base64.b64decode(
        re.search(rf"data:{re.escape(presentation.TYPES[kind])};name=fig2-demo\.{kind};base64,([^\"]+)", html)[1]
    )


def test_a_figure_has_its_words_its_files_and_the_table_that_was_drawn(page, shown):
    assert 'alt="Four panels, &quot;all points&quot;."' in shown.html and 'id="fig2-demo"' in shown.html
    assert held(shown.html, "pdf").startswith(b"%PDF") and held(shown.html, "svg").decode() == shown.svg
    pd.testing.assert_frame_equal(
        pd.read_csv(io.BytesIO(held(shown.html, "csv"))), figures.FIGURES["fig2"].rows(page.volumes)
    )
    bundle = shown._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg") and bundle["text/plain"] == shown.alt


def test_the_same_figure_is_the_same_html(page, shown):
    assert show(page, 'Four panels, "all points".').html == shown.html


def test_each_run_has_a_row_of_origin_and_a_command_that_remakes_it(page, shown):
    table = origins.table_of(page)
    assert list(table.width) == [record["config"]["width"] for record in page]
    record, row = page[0], table.iloc[0]
    assert record["provenance"]["commit"].startswith(row.commit) and record["data"]["fingerprint"].startswith(row.data)
    command = "smooth-interpolation run params/demo/convnet-noise20.yaml --width 1 --seed 0 --force"
    assert row["to remake it"] == command and command in shown.html
    assert (locations.repository() / "params/demo/convnet-noise20.yaml").exists()


def test_a_command_names_the_fields_that_differ_from_the_file(page):
    other = config.find("demo", "convnet-noise20", {"epochs": 3, "widths": [1, 2]})
    assert origins.table_of(page, other)["to remake it"][0].endswith("--force --set epochs=3")
    sizes = config.find("demo", "convnet-noise20", {"strengths": [5, 20]})
    words = origins.table_of(page, sizes)["to remake it"][0]
    assert words.endswith(" --set 'strengths=[5,20]'") and shlex.split(words)[-1] == "strengths=[5,20]"


def test_a_command_names_what_its_record_says_was_set_apart(page):
    apart = {"overrides": ["schedule=cosine", "strengths=5-20"], "schedule": "cosine", "strengths": [5, 20]}
    changed = page[0] | {"config": page[0]["config"] | apart}
    other, plain = origins.table_of([changed, page[1]])["to remake it"]
    assert plain.endswith("--force") and other.endswith("--force --set schedule=cosine --set 'strengths=[5,20]'")


def test_without_words_a_figure_is_described_by_what_was_drawn(page):
    text = show(page).alt
    assert text == alt_text.describe(figures.draw("fig2", page)) and "base width w (1 to 16)" in text


def test_a_notebook_shows_a_figure_of_records_with_its_files_and_origin(page):
    html = presentation.shown(figures.fig2(page)).html
    assert html == show(page).html and "Origin of this figure: 5 runs" in html
    assert "Origin" not in presentation.shown(figures.fig2(list(page))).html  # of no experiment


def test_a_figure_needs_a_name_that_files_can_have(page):
    with pytest.raises(ConfigError, match="Figure 2"):
        presentation.show(figures.fig2(page), page.volumes, "Figure 2")


def test_four_panels_abreast_are_for_screens_wider_than_a_tablet(page):
    for figure, screens in ((figures.fig2, "991px"), (figures.fig1c, "600px")):
        assert f'media="screen and (max-width: {screens})"' in presentation.shown(figure(page)).html


def test_the_book_keeps_a_file_once(tmp_path, shown):
    app = SimpleNamespace(outdir=str(tmp_path))
    context = {"body": shown.html, "pathto": lambda place, _: f"../{place}"}
    book_files._write_files(app, "page", "page.html", context, None)
    files = sorted(path.name for path in tmp_path.rglob("*.*"))
    drawings = ["fig2-demo-dark.svg", "fig2-demo-narrow-dark.svg", "fig2-demo-narrow.svg"]
    assert files == [*drawings, "fig2-demo.csv", "fig2-demo.pdf", "fig2-demo.svg"] and "base64" not in context["body"]
    (written,) = tmp_path.rglob("*.csv")
    assert written.read_bytes() == held(shown.html, "csv")
    assert f'href="../{written.relative_to(tmp_path)}"' in context["body"]


def test_records_of_the_store_are_not_changed_by_showing_them(page, shown):
    assert list(page) == store.read_all(config.find("demo", "convnet-noise20").runs())
