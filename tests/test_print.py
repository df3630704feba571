"""Print: the book on paper, by a browser and by LaTeX, has every figure with its caption."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import printing
from smooth_interpolation import locations

ROOT = locations.repository()
TOC = "format: jb-book\nroot: fig6\noptions: {numbered: false}\n"
CAPTIONS = {"6a": "Test and training error", "6b": "Four metrics"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page of the book for itself: a function from a builder to its directory."""
    base = tmp_path_factory.mktemp("print")
    (base / "toc.yml").write_text(TOC)

    def build(builder: str) -> Path:
        command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "book", "--builder", builder]
        paths = ["--toc", str(base / "toc.yml"), "--path-output", str(base)]
        done = subprocess.run([*command, *paths], cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return base / "_build" / builder

    return build


def test_latex_has_every_figure_as_pdf_with_the_paper_s_number_and_its_caption(built):
    place = built("latex")
    text = next(place.glob("*.tex")).read_text()
    figures = re.findall(r"\\begin\{figure\}.*?\\end\{figure\}", text, re.DOTALL)
    assert len(figures) == 4  # 6a, 6b, its parts and the reader's own
    for figure in figures:
        (drawing,) = re.findall(r"\\sphinxincludegraphics(?:\[[^]]*\])?\{\{(.*?)\}\.pdf\}", figure)
        assert (place / f"{drawing}.pdf").read_bytes().startswith(b"%PDF") and "\\caption{" in figure
    for number, caption in CAPTIONS.items():
        assert re.search(rf"thefigure\}}\{{{number}\}}.{{0,600}}{caption}", text, re.DOTALL)
    assert "Takeaway" in text and "IPython" not in text and "<pandas" not in text  # what is HTML elsewhere
    assert "explore" not in text and "Choose a width" not in text  # nor any word of an instrument


def test_a_browser_prints_it_with_figures_and_captions_on_one_page(built, tmp_path):
    target = tmp_path / "book.pdf"
    printing.to_pdf(built("singlehtml") / "index.html", target)
    content = target.read_bytes()
    assert content.startswith(b"%PDF") and content.count(b"/S /Figure") >= 3 and content.count(b"/S /Caption") >= 3
