"""The book as a whole: pairs of text and notebook, the build, and what may not be in it."""

import os
import re
import subprocess
from types import SimpleNamespace

import jupytext
import nbformat
import pytest

from smooth_interpolation import locations

ROOT = locations.repository()
PAGES = sorted((ROOT / "book").glob("*.md"))


@pytest.mark.parametrize("text", PAGES, ids=lambda p: p.stem)
def test_text_and_notebook_agree_cell_by_cell(text):
    notebook = text.with_suffix(".ipynb")
    assert notebook.exists(), f"make format makes {notebook.name}"
    written, paired = jupytext.read(text), jupytext.read(notebook)
    assert [(c.cell_type, c.source, c.metadata.get("tags")) for c in written.cells] == [
        (c.cell_type, c.source, c.metadata.get("tags")) for c in paired.cells
    ]
    assert not any(c.get("outputs") for c in paired.cells), "notebooks are kept without outputs"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_section_offers_its_code_once(page):
    offers = {"": 0}
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "markdown":
            offers |= {heading: 0 for heading in re.findall(r"^#+ .*", cell.source, re.MULTILINE)}
        elif "hide-input" in cell.metadata.get("tags", []) and "code_prompt_show" not in cell.metadata.get(
            "mystnb", {}
        ):
            offers[list(offers)[-1]] += 1  # what has a name of its own, such as a page's parameters, is not just code
    assert max(offers.values()) <= 1, offers


def test_every_page_is_in_the_contents():
    listed = set(re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text()))
    assert listed == {page.stem for page in PAGES}


def test_the_configuration_is_linked_into_the_book():
    for name in ("_config.yml", "_toc.yml"):
        link = ROOT / "book" / name
        assert link.is_symlink() and link.resolve() == ROOT / name


def test_the_book_builds_without_a_warning(book):
    assert book.returncode == 0, book.printed[-6000:]
    html = book.html
    for page in PAGES:
        assert (html / f"{page.stem}.html").exists()
    for page in ("fig2", "fig3", "index"):
        content = (html / f"{page}.html").read_text()
        assert "Traceback" not in content and ".svg" in content and "Scale" in content
    methodology = (html / "methodology.html").read_text()
    assert all(f"equation-eq{i}" in methodology for i in range(1, 8))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_build_executes_every_cell_without_an_error(page, book):
    executed = nbformat.read(book.html.parent / "jupyter_execute" / f"{page.stem}.ipynb", 4)
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    written = [cell.source for cell in jupytext.read(page).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells] == written
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


def test_no_tracked_file_names_a_registry_or_a_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile(r"(pypi|pythonhosted|npmjs|debian)\.org|(^|[^\w.])/(home|root|work|tmp)/")
    for name in files:
        path = ROOT / name
        if path.is_symlink() or path.suffix in {".png", ".safetensors"} or name == "tests/test_book.py":
            continue
        found = pattern.search(path.read_text(encoding="utf-8"))
        assert not found, f"{name}: {found.group(0)}"


def test_the_page_of_claims_is_short(book):
    html = (book.html / "claims.html").read_text()
    article = re.search(r"<article.*?</article>", html, re.DOTALL).group(0)
    words = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", article, flags=re.DOTALL).replace("&nbsp;", " ").split()
    assert 500 < len([word for word in words if re.search(r"[^\W\d_]", word)]) <= 2500


# Settings and criteria, which no record holds. What was measured is filled in: `facts`, or a cell that writes a sentence.
GIVEN = {
    "index": {"2209.10080", "4.0"},  # the paper's number and licence
    "claims": {"95%"},  # of the brackets
    "criteria": {"95%"},
    "fig1": {"20%", "5%"},  # what the exercises ask for
    "fig2": {"10%", "0.9"},  # the criteria
    "fig5": {"10%"},
    "fig6": {"1.5"},  # the criterion
    "reproduce": {"3.11"},  # Python
    "fig7": {"16%", "20%", "80%"},  # the paper's noise
    "methodology": {"0.99", "1.01", "1%"},  # the paper's colour changes
    "setup": {"16%", "20%", "80%"},  # the noise
}


def prose(path):
    """A page's text without header, code, mathematics, headings, links' targets and sections' numbers."""
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"^(`{3,}|:{3,}).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(
        r"Section \d\.\d|\$\$.*?\$\$|\$[^$]+\$|\{[\w:]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL
    )
    return re.sub(r"^#.*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_no_measured_number_is_typed_into_prose(page):
    typed = set(re.findall(r"\d+\.\d+%?|\d+ ?%|\d+(?:\.\d+)? (?:percentage points|times as)", prose(page)))
    assert typed <= GIVEN.get(page.stem, set())


def test_a_change_of_what_pages_are_drawn_from_is_seen(tmp_path, monkeypatch):
    import book_files

    results = tmp_path / "elsewhere"
    record = results / "demo/mine/w001-s0.json"
    record.parent.mkdir(parents=True)
    for place in ("lib", "book/_build", "results"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    env = SimpleNamespace(found_docs={"fig2", "index"})

    def read_again():
        return book_files._outdated(None, env, set(), set(), set())

    def changed(path, content):
        path.write_text(content)
        return read_again()

    monkeypatch.setenv(locations.RESULTS_VARIABLE, str(results))
    every = ["fig2", "index"]
    assert read_again() == every and read_again() == []
    assert changed(record, "{}") == every and read_again() == []
    assert changed(record, "{ }") == every
    status = record.stat()
    record.write_text("{1}")
    os.utime(record, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert read_again() == every and read_again() == []
    assert changed(tmp_path / "lib/module.py", "") == every
    assert changed(tmp_path / "book/fig2.ipynb", "{}") == every
    assert changed(tmp_path / "book/_build/fig2.ipynb", "{}") == []
    (results / "demo/mine/.work").mkdir()
    assert changed(results / "demo/mine/.work/w001-s0.status.json", "{}") == []
    disk = tmp_path / "another disk"
    disk.mkdir()
    (results / "laptop").symlink_to(disk)
    assert changed(disk / "w001-s0.json", "{}") == every and read_again() == []
    monkeypatch.delenv(locations.RESULTS_VARIABLE)
    assert read_again() == every and read_again() == []
    monkeypatch.setattr(book_files.verdicts, "fixed", lambda: "another commit")
    assert read_again() == every
    monkeypatch.setattr(book_files.importlib.metadata, "distributions", list)
    assert read_again() == every and read_again() == []
