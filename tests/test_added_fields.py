"""A setting that is added to the package later: every record from before it stays valid, drawn and judged as it was."""

import inspect
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from smooth_interpolation import config, locations
from smooth_interpolation.errors import ConfigError
from smooth_interpolation.runs import checkpoints, single, store
from smooth_interpolation.runs.checkpoints import DiskKeeper, State

ROOT = locations.repository()
TINY = {
    "n_train": 100, "n_test": 60, "epochs": 2, "n_evaluations": 2, "n_clean_points": 4, "n_noisy_points": 4,
    "strengths": "[5, 20]", "n_paths": 1, "n_tangents": 1, "widths": "[1, 2]",
}  # fmt: skip
NEW = {
    "class Settings(Measurement):": "    later_decay: fields.Share = fields.added(0.0)\n",
    "class Measurement(BaseModel):": "    more_strengths: fields.Strengths = fields.added((3, 4))\n",
}


def seen(*files):
    """What the digests, tables and figures of experiments are, in short; figures are drawn of one experiment at each scale."""
    import hashlib
    from pathlib import Path

    from smooth_interpolation import config, figures, locations
    from smooth_interpolation.runs import store, tables

    found = {}
    for path in map(Path, files or sorted((locations.repository() / "params").glob("*/*.yaml"))):
        experiment = config.load(path)
        planned = experiment.runs()
        records = store.read_all(planned)
        as_text = [table.to_csv() for table in (tables.volumes_table(records), tables.history_table(records))]
        names = ("fig2", "fig5") if records and experiment.experiment == "convnet-noise20" else ()
        drawn = [figures.written(figures.draw(name, records), "svg").decode() for name in names]
        texts = [run.digest for run in planned] + [str(run.path) for run in planned] + as_text + drawn
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        found[path.parent.name + path.name] = [len(records), len(drawn), *digests]
    return found


SEEN = f"import json, sys\n{inspect.getsource(seen)}\nprint(json.dumps(seen(*sys.argv[1:])))"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A repository with the package as it is with two settings more, a line each."""
    base = tmp_path_factory.mktemp("later")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "lib" / "smooth_interpolation", base / "lib" / "smooth_interpolation", ignore=ignored)
    for name in ("params", "results", "book", "tests", "benchmarks", "pyproject.toml"):
        (base / name).symlink_to(ROOT / name)
    source = base / "lib" / "smooth_interpolation" / "config" / "settings.py"
    text = source.read_text()
    for head, line in NEW.items():
        start = text.index(head)
        end = text.index("    @model_validator", start)
        text = text[:end] + line + text[end:]
    source.write_text(text)
    return base


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A params file, and a directory with its records, made without those settings."""
    base = tmp_path_factory.mktemp("before")
    lines = locations.params_file("demo", "convnet-noise20").read_text().splitlines()
    names = {name: f"{name}: {value}" for name, value in TINY.items()}
    file = base / "mine.yaml"
    file.write_text("\n".join(names.get(line.split(":")[0], line) for line in lines))
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(locations.CACHE_VARIABLE, str(base / "cache"))
        planned = config.load(file).runs()
        for run in planned:
            store.write(single.run(run), run, base / "results")
    state = State(epoch=1, step=7, done=None, history=[], seconds={}, cpu_seconds=0.0, networks=0.0, origin={})
    keeper = DiskKeeper(planned[0], base / "results")
    keeper.directory.mkdir(parents=True)
    keeper.save({"x": torch.arange(3)}, state, "f" * 64)
    return base


def python(lib, code, *words, cwd=ROOT, **environment):
    result = subprocess.run(
        [sys.executable, *(["-c", code] if code else []), *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(lib), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.mark.parametrize("which", ["committed", "just measured"])
def test_records_are_valid_and_drawn_as_before(place, measured, which, monkeypatch):
    files = [measured / "mine.yaml"] if which == "just measured" else []
    if files:
        monkeypatch.setenv(locations.RESULTS_VARIABLE, str(measured / "results"))
    before, after = seen(*files), json.loads(python(place / "lib", SEEN, *files, cwd=place))
    assert before == after and all(sum(each[i] for each in before.values()) > 0 for i in (0, 1))


def test_the_command_line_says_and_judges_what_it_did(command, place, measured):
    file, results = measured / "mine.yaml", measured / "results"
    record = next(results.rglob("w001-s0.json"))
    for words in (
        ["status", file, "--results", results],
        ["claims", file, "--results", results],
        ["show", record],
        ["claims", locations.params_file("gpu", "convnet-noise20")],
    ):
        said = python(place / "lib", "", "-m", "smooth_interpolation.cli", *words, cwd=place)
        assert said == command(*words).stdout and said


LATER = """
import json, sys, pathlib, torch
import smooth_interpolation
from smooth_interpolation import config
from smooth_interpolation.book import hyperparameters, pages
from smooth_interpolation.errors import RecordError
from smooth_interpolation.runs import checkpoints, single, store, tables, weights
torch.set_num_threads(1)
base = pathlib.Path(sys.argv[1])
file, results = base / "mine.yaml", base / "results"
run = config.load(file).runs()[0]
assert run.later_decay == 0 and run.more_strengths == (3, 4)
found = {"record": store.read(run, results), "again": single.run(run), "digest": run.digest}
[path] = checkpoints.DiskKeeper(run, results).paths()
found["step"] = checkpoints.read(path, run, "f" * 64)[1].step
found["parameters"] = sum(p.numel() for p in weights.network(run).parameters())

text = file.read_text()
said, other = base / "said.yaml", base / "other.yaml"
said.write_text(text + "\\nlater_decay: 0\\nmore_strengths: [3, 4]\\n")
other.write_text(text + "\\nlater_decay: 0.1\\n")
assert store.read(config.load(said).runs()[0], results) == found["record"]
changed = config.load(other).runs()[0]
try:
    store.read(changed, results)
except RecordError as error:
    found["refused"] = str(error)
try:
    checkpoints.read(path, changed, "f" * 64)
except RecordError as error:
    found["not resumed"] = str(error)

for name, values in {"set": {"later_decay": "0.1"}, "longer": {"more_strengths": "[7]"}}.items():
    off = config.load(file, values).runs()[0]
    assert store.read(off, results) is None
    record = single.run(off)
    store.write(record, off, results)
    assert store.read(off, results) == record == store.read_file(store.path_of(off, results))
    found[name] = {"digest": off.digest, "path": str(off.path), "config": record["config"]}
asked = {"epochs": 3, "later_decay": 0.1, "In": ["# Parameters\\nlater_decay = 0.1\\n"]}
found["page"] = smooth_interpolation.records("demo", "convnet-noise20", **pages.fields(asked)).experiment.name
found["table"] = hyperparameters.table("convnet-noise20").loc["later_decay"].tolist()
print(json.dumps(found))
"""


def test_a_run_at_the_default_is_the_old_one_and_off_it_another(place, measured):
    environment = {
        locations.CACHE_VARIABLE: str(measured / "cache"),
        locations.RESULTS_VARIABLE: str(measured / "none"),
    }
    found = json.loads(python(place / "lib", LATER, measured, cwd=place, **environment))
    run = config.load(measured / "mine.yaml").runs()[0]
    record = store.read(run, measured / "results")
    assert found["record"] == record and found["digest"] == run.digest == record["digest"]
    again = {key: value for key, value in found["again"].items() if key != "provenance"}
    assert again == {key: value for key, value in record.items() if key != "provenance"}
    assert found["step"] == 7 and found["parameters"] == record["provenance"]["parameters"]
    assert "later_decay is 0.0 there and 0.1 here" in found["refused"]
    assert "later_decay is 0.0 there and 0.1 here" in found["not resumed"]
    assert found["set"]["path"] == "demo/convnet-noise20+later_decay=0.1/w001-s0.json"
    assert found["longer"]["path"] == "demo/convnet-noise20+more_strengths=7/w001-s0.json"
    assert len({found[name]["digest"] for name in ("set", "longer")} | {run.digest}) == 3
    overrides = {"overrides": ["later_decay=0.1"]}
    assert found["set"]["config"] == record["config"] | overrides | {"later_decay": 0.1}
    assert found["longer"]["config"]["more_strengths"] == [7] and "later_decay" not in found["longer"]["config"]
    assert found["page"] == "convnet-noise20+epochs=3+later_decay=0.1" and set(found["table"]) == {"0.0"}
    with pytest.raises(ConfigError, match="'later_decay' is not known"):  # here, where there is no such setting
        config.load(measured / "mine.yaml", {"later_decay": 0.1})


def test_a_checkpoint_holds_the_canonical_configuration(measured):
    run = config.load(measured / "mine.yaml").runs()[0]
    [path] = DiskKeeper(run, measured / "results").paths()
    _, text = checkpoints.read_file(path)
    assert text["config"] == run.canonical() and text["digest"] == run.digest
    assert config.completed(run.canonical()) == run.model_dump(mode="json")


GO_THROUGH = [
    "test_config.py",
    "test_hyperparameters.py",
    "test_cli.py::test_every_field_can_be_set",
    "reliability/test_fuzz.py::test_options_that_set_fields",
    "reliability/test_fuzz.py::test_params_files_with_other_values",
    "test_pages.py::test_the_parameters_of_a_page_are_where_its_records_are",
    "test_pages.py::test_params_of_the_page_header_are_those_of_the_file",
]


def test_tests_that_go_through_the_settings_allow_for_it(place):
    tests = [f"tests/{name}" for name in GO_THROUGH]
    said = python(place / "lib", "", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=place)
    assert " passed" in said
