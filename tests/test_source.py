"""Used from source: `lib` on the path and nothing installed, wherever it was copied from."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from smooth_interpolation import locations

ROOT = locations.repository()
# Read by every Python that starts with the copy on its path: as if this package had never been installed.
NOT_INSTALLED = """
import importlib.metadata
there = importlib.metadata.version
def version(name):
    if name == "smooth-interpolation":
        raise importlib.metadata.PackageNotFoundError(name)
    return there(name)
importlib.metadata.version = version
"""
LIBRARY = """
import sys
sys.modules |= {name: None for name in ("typer", "ray", "matplotlib", "jupytext", "papermill")}  # which it does not need
"""
RUN = """
import json
from smooth_interpolation import config
from smooth_interpolation.runs import single, sweep
small = {"n_train": 50, "n_test": 50, "epochs": 2, "n_clean_points": 2, "n_noisy_points": 2, "n_paths": 1}
for seed in (0, 1):
    record = single.run(config.find("demo", "convnet-noise20", small).run(2, seed), device="cpu")
found = {name: record["provenance"][name] for name in ("version", "commit", "dirty")}
print(json.dumps(found | {"at": single.__file__, "compiler": "torch._dynamo" in sys.modules}))
"""
TINY = ["n_train=50", "n_test=50", "epochs=1", "n_evaluations=1", "n_clean_points=2", "n_noisy_points=2", "n_paths=1"]


@pytest.fixture
def source(tmp_path):
    """A copy of the source without what git and pip know of it."""
    for name in ("lib", "params"):
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=ignored)
    (tmp_path / "source/lib/sitecustomize.py").write_text(NOT_INSTALLED)
    return tmp_path / "source"


def python(source, *words, **variables):
    environment = {**os.environ, "PYTHONPATH": str(source / "lib"), **variables}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, timeout=120)


def origin_of(result):
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


def test_a_run_from_a_bare_copy_says_once_what_is_unknown(source):
    result = python(source, "-c", LIBRARY + RUN)
    found = origin_of(result)
    assert found["at"].startswith(str(source))
    assert (found["version"], found["commit"], found["dirty"]) == (None, None, None)
    assert not found["compiler"]  # of PyTorch, which takes seconds to load
    assert result.stderr.count("The commit and the version of the code cannot be found out") == 1


VERSIONS = """
from pathlib import Path
from smooth_interpolation.runs import provenance
file = Path("pyproject.toml")
for text in sys.argv[1:]:
    file.write_text(text)
    print(provenance._version(Path(provenance.__file__).parents[1]))
"""


def test_the_version_is_that_of_the_copy_itself(source):
    project = (ROOT / "pyproject.toml").read_text()
    versions = {
        project.replace('version = "0.1.0"', 'version = "9.8.7"'): "9.8.7",
        project.replace('name = "smooth-interpolation"', 'name = "another"'): "None",
        "[project": "None",
        "project = 3": "None",
    }
    result = python(source, "-c", LIBRARY + VERSIONS, *versions)
    assert result.stdout.split() == list(versions.values()), result.stderr


@pytest.mark.parametrize("trouble", ["no git", "another's repository", "a broken repository"])
def test_git_never_stops_a_run(source, trouble, tmp_path):
    variables = {}
    if trouble == "no git":
        variables["PATH"] = str(tmp_path / "nowhere")
    elif trouble == "a broken repository":
        (source / ".git").write_text("gitdir: nowhere\n")
    else:
        git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b.example"]
        for words in (["init", "--quiet"], ["add", "lib"], ["commit", "--quiet", "--message", "ours"]):
            subprocess.run([*git, *words], check=True)
        assert origin_of(python(source, "-c", LIBRARY + RUN))["commit"]
        variables["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"  # as git itself tests 'dubious ownership'
        refused = subprocess.run([*git, "status"], env={**os.environ, **variables}, capture_output=True, text=True)
        assert "dubious ownership" in refused.stderr
    result = python(source, "-c", LIBRARY + RUN, **variables)
    assert origin_of(result)["commit"] is None
    assert result.stderr.count("commit") == 1, result.stderr


def test_the_command_from_source(source, tmp_path):
    settings = [word for text in TINY for word in ("--set", text)]
    words = ["sweep", "params/demo/convnet-noise20.yaml", "--width", 1, "--results", tmp_path / "mine", *settings]
    result = python(source, "-m", "smooth_interpolation.cli", *words, "--device", "cpu")
    assert result.returncode == 0 and "1 complete" in result.stdout, result.stderr
    assert result.stderr.count("cannot be found out") == 1  # not by its worker as well
    (record,) = (tmp_path / "mine").rglob("*.json")
    assert json.loads(record.read_text())["provenance"]["version"] is None
