"""What a user of the ecosystem expects: a wheel that stands alone, files of configuration that parse and name what exists."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import launch
from smooth_interpolation import config, locations
from smooth_interpolation.errors import ConfigError
from smooth_interpolation.runs import provenance

ROOT = locations.repository()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MEASURE = """
import pathlib, sys, torch, smooth_interpolation
from smooth_interpolation.runs import provenance
from smooth_interpolation.measure.volumes import volume_metrics
assert pathlib.Path(smooth_interpolation.__file__).is_relative_to(sys.argv[1]), smooth_interpolation.__file__
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
found = volume_metrics(network, torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), strengths=(2, 4), n_paths=2)
print(tuple(found.jacobian_norm.shape), provenance.code()["commit"])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package, built as a wheel from a copy of its source and unpacked far from the repository."""
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("elsewhere")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "lib", source / "lib", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index", "--no-deps"]
    build = [*pip, "--no-build-isolation", "--wheel-dir", str(source), str(source)]
    result = subprocess.run(build, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    (wheel,) = source.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(place / "site")
    (place / "empty").mkdir()
    return place


def elsewhere(place, *words):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=place / "empty",
        env={"PYTHONPATH": str(place / "site"), "PATH": "/usr/bin:/bin", "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_wheel_holds_the_package_alone(installed):
    names = {path.name.split("-")[0] for path in (installed / "site").iterdir()}
    assert names == {"smooth_interpolation"}
    assert (installed / "site" / "smooth_interpolation" / "py.typed").exists()


def test_the_wheel_measures_outside_the_repository(installed):
    result = elsewhere(installed, "-c", MEASURE, installed)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == "(2, 3) None\n"


def test_an_end_without_collecting_garbage_is_silent():
    """Triton, which PyTorch brings along for GPUs, would print whatever is left of it then."""
    code = "from smooth_interpolation.runs import resources; resources.end_quickly()\ntry: import triton\nexcept ImportError: pass"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_command_outside_the_repository(installed):
    command = ("-m", "smooth_interpolation.cli")
    result = elsewhere(installed, *command, "--help")
    assert result.returncode == 0 and "sweep" in result.stdout
    for words in (("sweep", "params/demo/convnet-noise20.yaml"), ("run", "mine.yaml", "--width", "3")):
        result = elsewhere(installed, *command, *words)
        assert result.returncode == 1 and "Traceback" not in result.stderr
        assert "params/ comes with the project's repository" in result.stderr


def test_an_experiment_cannot_be_found_without_params(monkeypatch, tmp_path):
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    with pytest.raises(ConfigError, match="comes with the project's repository"):
        config.find("demo", "convnet-noise20")


def test_the_commit_of_another_project_is_not_ours(monkeypatch, tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "theirs"], check=True)
    installed = tmp_path / "env" / "smooth_interpolation"
    installed.mkdir(parents=True)
    (installed / "provenance.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(installed / "provenance.py"))
    assert provenance.code()["commit"] is None


def test_commands_of_the_hooks_are_those_of_the_environment():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    wanted = {re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["optional-dependencies"]["test"]}
    wanted |= {re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["optional-dependencies"]["book"]}
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"  # nothing is fetched
        command, *rest = hook["entry"].split()
        if command == "python":
            assert rest == ["book/_ext/pairs.py"] and (ROOT / rest[0]).is_file()
            continue
        assert command in wanted and Path(sys.executable).with_name(command).exists(), command


def test_hooks_leave_the_committed_notebooks_as_they_are(tmp_path):
    shutil.copy(ROOT / "book" / "fig2.ipynb", tmp_path)
    subprocess.run([Path(sys.executable).with_name("nbstripout"), "--keep-id", tmp_path / "fig2.ipynb"], check=True)
    assert (tmp_path / "fig2.ipynb").read_text() == (ROOT / "book" / "fig2.ipynb").read_text()


def test_workflows_run_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = []
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"} and workflow[True]  # YAML 1.1 reads `on` as true
        for job in workflow["jobs"].values():
            assert job.get("needs", next(iter(workflow["jobs"]))) in workflow["jobs"]
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step)
                commands += step.get("run", "").splitlines()
    assert {"make test", "make book"} <= set(commands)
    assert all(line.split()[0] == "make" and line.split()[1] in targets for line in commands)


def test_issue_forms_are_complete():
    forms = [p for p in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if p.name != "config.yml"]
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert form["name"] and form["description"]
        ids = [field["id"] for field in form["body"]]
        assert len(set(ids)) == len(ids) and all(field["attributes"]["label"] for field in form["body"])


def test_the_citation_agrees_with_the_package_and_the_book():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    version = PROJECT["project"]["version"]
    assert citation["version"] == version and citation["license"] == PROJECT["project"]["license"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    box = (ROOT / "book" / "index.md").read_text()
    (paper,) = citation["references"]
    for text in (citation["title"], f"version = {{{version}}}", paper["title"], paper["journal"], str(paper["year"])):
        assert text in box, text


def test_commands_of_the_contributing_guide_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)\b(?= |`|$)", text, re.MULTILINE)) - {"test", "book", "format"} <= targets
    for name in re.findall(r"\.venv/bin/([\w-]+)", text):
        assert Path(sys.executable).with_name(name).exists(), name


def test_without_a_repository_no_address_is_invented(monkeypatch):
    options = SimpleNamespace(html_theme_options={"show_toc_level": 2})
    monkeypatch.delenv(launch.REPOSITORY_VARIABLE, raising=False)
    launch.link_repository(None, options)
    assert options.html_theme_options == {"show_toc_level": 2}
    monkeypatch.setenv(launch.REPOSITORY_VARIABLE, "https://git.example/someone/book/")
    launch.link_repository(None, options)
    assert options.html_theme_options["repository_url"] == "https://git.example/someone/book"
    assert options.html_theme_options["show_toc_level"] == 2 and options.html_theme_options["launch_buttons"]


def test_every_page_offers_its_notebook(tmp_path):
    app, context = SimpleNamespace(srcdir=ROOT / "book", outdir=tmp_path), {}
    launch.offer_notebook(app, "fig2", "page.html", context, object())
    assert context == {"ipynb_source": "fig2.ipynb"} and (tmp_path / "_sources" / "fig2.ipynb").exists()
    launch.offer_notebook(app, "genindex", "genindex.html", context, None)
    assert context == {"ipynb_source": "fig2.ipynb"}
