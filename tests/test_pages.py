"""Figure pages under papermill, and what they share."""

import contextlib
import json
import re
import shlex
import shutil
from pathlib import Path

import nbformat
import pytest
import yaml
from papermill import cli as papermill_cli
from papermill.exceptions import PapermillExecutionError
from worlds import opened

from smooth_interpolation import config, locations
from smooth_interpolation.book import facts, origins, pages
from smooth_interpolation.errors import ConfigError
from smooth_interpolation.figures import style
from smooth_interpolation.runs import records, store

ROOT = locations.repository()
PAGES = {
    "fig1": "convnet-noise20",
    "fig2": "convnet-noise20",
    "fig3": "convnet-noise20",
    "fig4": "convnet-cifar100",
    "fig5": "convnet-noise20",
    "fig6": "resnet18-noise20",
    "fig7": "convnet-asymmetric",
    "appendix-resnet": "resnet18-noise20",
}
TINY = {
    "n_train": 100,
    "n_test": 60,
    "epochs": 3,
    "n_evaluations": 2,
    "n_clean_points": 5,
    "n_noisy_points": 5,
    "n_paths": 1,
    "n_tangents": 1,
}


def papermill(page, out, *words):
    """What the command does, in this process: it takes a second to start. Returns how it ended, and the notebook."""
    try:
        with contextlib.chdir(ROOT):
            papermill_cli.papermill.main([f"book/{page}.ipynb", str(out), *map(str, words)], standalone_mode=False)
        error = None
    except PapermillExecutionError as raised:
        error = str(raised)
    return error, nbformat.read(out, 4) if out.exists() else None


def texts(notebook):
    return "\n".join(
        "".join(output.get("data", {}).get(kind, ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in ("text/markdown", "text/plain", *(["text/html"] if "captioned" in str(output) else []))
    )


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A directory of its own for records."""
    monkeypatch.setenv(locations.RESULTS_VARIABLE, str(tmp_path))
    return tmp_path


def test_a_width_of_the_store_is_marked_and_its_numbers_printed(tmp_path):
    error, notebook = papermill("fig3", tmp_path / "out.ipynb", "-p", "width", 15)
    assert error is None, error[-2000:]
    records = [json.loads(path.read_text()) for path in (ROOT / "results/laptop/convnet-noise20").glob("w015-s*.json")]
    rows = [next(r for r in one["volumes"] if r["subset"] == "noisy" and r["size"] == 6) for one in records]
    text = texts(notebook)
    assert f"{sum(row['jacobian_norm']['mean'] for row in rows) / len(rows):.4g}" in text
    assert "Scale `laptop`" in text and "cifar10, " in text
    drawings = [
        o["data"]["image/svg+xml"]
        for c in notebook.cells
        for o in c.get("outputs", [])
        if "image/svg+xml" in o.get("data", {})
    ]
    here, parts, at_gpu_scale, *_ = drawings
    assert here.count(style.ACCENT) >= 4 and parts.count(style.ACCENT) >= 2  # a mark in every panel
    assert style.ACCENT not in at_gpu_scale


def test_a_width_that_is_not_there_is_trained_and_measured(results):
    found = opened({"scale": "demo", "experiment": "convnet-noise20", "width": 3, "widths": [1, 2], **TINY})
    assert [r["config"]["width"] for r in found] == [3] and sorted(run.width for run in found.missing) == [1, 2]
    assert pages.at_width(found).loc[("clean", 0), "accuracy"] != ""
    said = pages.numbers(found).data
    assert (
        facts.unbroken(f"\\(w = {found.width}\\)") in said
        and "`demo`" not in said
        and "<code>demo</code> scale" in said
        and "seed" in said
    )
    path = next(results.rglob("w003-s0.json"))
    before = path.read_bytes()
    opened({"scale": "demo", "experiment": "convnet-noise20", "width": 3, "widths": [1, 2], **TINY})
    assert path.read_bytes() == before
    text = origins.missing(found)
    assert "w = 1, 2 (seed 0)" in text and "--set epochs=3" in text and "--set 'widths=[1,2]'" in text


def test_a_diverged_width_is_a_sentence_each_time(results):
    asked = {
        "scale": "demo",
        "experiment": "convnet-noise20",
        "width": 3,
        **TINY,
        "learning_rate": 1e6,
        "warmup_epochs": 0,
    }
    for _ in range(2):  # measured now, and from the store
        with pytest.raises(ConfigError, match="w = 3 diverged"):
            opened(asked)


def test_papermill_trains_and_measures_a_width_that_is_not_there(results, tmp_path):
    words = [word for name, value in TINY.items() for word in ("-p", name, value)]
    out = tmp_path / "out.ipynb"
    error, notebook = papermill("fig2", out, "-p", "scale", "demo", "-p", "width", 6, *words)
    assert error is None, error[-2000:]
    record = json.loads(next(results.rglob("w006-s0.json")).read_text())
    assert record["config"]["width"] == 6 and record["config"]["epochs"] == 3
    row = next(r for r in record["volumes"] if r["subset"] == "clean" and r["size"] == 0)
    assert f"{row['crossentropy']['mean']:.4g}" in texts(notebook)


def test_the_command_that_a_page_names_computes_what_is_missing(command, results):
    asked = {"scale": "demo", "experiment": "convnet-noise20", "widths": [1], **TINY}
    text = origins.missing(opened(asked))
    words = shlex.split(re.search(r"`smooth-interpolation (.*)`", text).group(1))
    assert command(*words).returncode == 0
    assert origins.missing(opened(asked)) == ""


# A params file is a set of parameters, too.
DEMO = {page: ("-p", "scale", "demo") for page in PAGES} | {"fig2": ("-f", "params/demo/convnet-noise20.yaml")}


def at_demo(page, out):
    """A figure page from the committed records alone, with a width marked."""
    before = sorted((ROOT / "results" / "demo").rglob("*.json"))
    error, notebook = papermill(page, out, *DEMO[page], "-p", "width", 4)
    assert error is None, error[-2000:]
    text = texts(notebook)
    assert "Scale `demo`" in text and "dead_leaves, drawn" in text and "Not measured yet" not in text
    assert style.ACCENT in str([cell.get("outputs") for cell in notebook.cells])
    assert sorted((ROOT / "results" / "demo").rglob("*.json")) == before
    return notebook


@pytest.mark.parametrize("page", [page for page in PAGES if page != "fig4"])
def test_scale_demo_executes_offline(page, tmp_path):
    at_demo(page, tmp_path / "out.ipynb")


def test_losses_and_norms_are_drawn_on_a_logarithmic_axis_if_asked(tmp_path):
    """At scale demo, too; the default is linear: see the parameters of a page, below."""

    def drawings(notebook):
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        texts_of_outputs = ("".join(output.get("data", {}).get("text/html", "")) for output in outputs)
        return [text for text in texts_of_outputs if 'class="measured"' in text]

    linear = drawings(at_demo("fig4", tmp_path / "linear.ipynb"))
    error, notebook = papermill("fig4", tmp_path / "log.ipynb", *DEMO["fig4"], "-p", "width", 4, "-p", "yscale", "log")
    assert error is None, error[-2000:]
    log = drawings(notebook)
    assert len(log) == 2 and all(a != b for a, b in zip(linear, log, strict=True))
    with pytest.raises(ConfigError, match="'yscale' is not known"):
        pages.fields({"In": ["# Parameters\nyscale = 'log'\n"]})  # of a page without such figures


def test_a_scale_without_records_says_how_to_compute_them(tmp_path):
    error, notebook = papermill("fig4", tmp_path / "out.ipynb", "-p", "scale", "paper")
    assert error is None, error[-2000:]
    assert "smooth-interpolation sweep params/paper/convnet-cifar100.yaml" in texts(notebook)


WRONG = [
    (("widht", 15), "'widht' is not known; did you mean 'width'?"),
    (("width", 0), "width = 0: must be at least 1"),
    (("width", "wide"), "width = 'wide'"),
    (("scale", "lap"), "'lap' is not known"),
    (("yscale", "lin"), "yscale: 'lin' is not known"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_an_unknown_name_or_value_is_an_error(words, message):
    """By the page's cells up to its figure, with what papermill puts after the first."""
    cells = nbformat.read(ROOT / "book/fig3.ipynb", 4).cells
    defaults, *others = [cell.source for cell in cells if cell.cell_type == "code"][:3]
    name, value = words
    given = f"# Parameters\n{name} = {value!r}\n"
    with pytest.raises(ConfigError, match=re.escape(message)):
        exec("\n".join((defaults, given, *others)), {"In": ["", defaults, given]})


def test_an_error_of_a_page_is_papermills(tmp_path):
    (name, value), message = WRONG[0]
    error, _ = papermill("fig3", tmp_path / "out.ipynb", "-p", name, value)
    assert error and "ConfigError: " in error and message in error


def test_names_are_checked_in_papermills_cell_alone():
    pages.check_names({"In": ["", "mine = 1", "# Parameters\nwidth = 3\nscale = 'demo'\n"]})
    with pytest.raises(ConfigError, match="'mine'"):
        pages.check_names({"In": ["# Parameters\nmine = 1\n"]})


@pytest.mark.parametrize("page", PAGES)
def test_the_parameters_of_a_page_are_where_its_records_are(page):
    notebook = nbformat.read(ROOT / "book" / f"{page}.ipynb", 4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    values: dict = {}
    exec(cell.source, values)
    del values["__builtins__"]
    linear = {} if page in ("fig1", "fig5") else {"yscale": "linear"}  # of figures of volumes
    assert values == {
        "scale": None,
        "width": None,
        "experiment": PAGES[page],
        **linear,
    }  # fields need not be listed to be set


def test_the_default_is_the_largest_scale_with_records(results):
    assert records.largest_scale("convnet-cifar100") == "demo"
    page = opened({"experiment": "convnet-cifar100"})
    assert page.experiment.scale == "demo" and "nothing has been measured" in pages.about(page).data
    for scale in ("demo", "gpu", "laptop"):
        path = store.path_of(config.find(scale, "convnet-cifar100").runs()[-1])
        path.parent.mkdir(parents=True)
        path.touch()
        assert records.largest_scale("convnet-cifar100") == ("demo" if scale == "demo" else "gpu")
    with pytest.raises(ConfigError, match="did you mean 'convnet-cifar100'"):
        opened({"experiment": "convnet-cifar10"})


def test_a_scale_that_was_only_begun_is_not_the_default(results):
    for scale, n in (("laptop", 10), ("gpu", 9)):
        plan = config.find(scale, "convnet-noise20")
        for width in plan.widths[:n]:
            path = store.path_of(plan.run(width, plan.seeds[-1]))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert records.largest_scale("convnet-noise20") == "laptop"
    path = store.path_of(plan.run(plan.widths[9], 0))
    path.touch()
    assert records.largest_scale("convnet-noise20") == "gpu"


def test_a_width_is_meant_at_the_largest_scale_that_has_it():
    assert records.largest_scale("convnet-noise20") == "paper"
    assert records.largest_scale("convnet-noise20", 64) == "paper"
    assert records.largest_scale("convnet-noise20", 40) == "gpu"  # measured there, and not at paper
    assert records.largest_scale("convnet-noise20", 15) == "laptop"  # measured there, and at no larger scale
    assert records.largest_scale("convnet-noise20", 17) == "laptop"  # nowhere: not hours on all images


def test_another_experiment_is_taken_where_it_has_records(results):
    run = config.find("demo", "convnet-cifar100").runs()[0]
    path = store.path_of(run)
    path.parent.mkdir(parents=True)
    shutil.copy(ROOT / "results" / run.path, path)
    page = opened({"scale": "laptop", "experiment": "convnet-noise20"})
    beside = page.beside("convnet-cifar100")
    assert beside.experiment.scale == "demo" and len(beside) == 1
    assert page.beside("convnet-cifar100", "laptop").found == ()


@pytest.mark.parametrize("page", ["fig1", "fig4", "fig7"])
def test_a_page_builds_without_records(page, results, tmp_path):
    error, notebook = papermill(page, tmp_path / "out.ipynb", "-p", "scale", "laptop")
    assert error is None, error[-2000:]
    assert "nothing measured yet" in texts(notebook)


def test_params_of_the_page_header_are_those_of_the_file():
    for path in sorted((ROOT / "params").glob("*/*.yaml")):
        named = set(yaml.safe_load(Path(path).read_text()))
        assert named - {"base"} <= set(pages.NAMES)
    with pytest.raises(ConfigError, match="with a base is named, not given"):
        pages.check_names({"In": ["# Parameters\nbase = 'demo/convnet-noise20'\n"]})


def test_the_readmes_figure_is_drawn_from_the_records(command, tmp_path):
    words = ("figure", "fig2", "params/paper/convnet-noise20.yaml")
    drawn = tmp_path / "figure.svg"
    assert command(*words, "--output", drawn).returncode == 0
    said = f"run: smooth-interpolation {' '.join(words)}"
    assert drawn.read_text() == (ROOT / "book" / "figure2.svg").read_text(), said
