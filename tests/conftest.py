import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock
from xdist.scheduler import LoadScopeScheduling

from smooth_interpolation import locations
from smooth_interpolation.cli import commands
from smooth_interpolation.runs import resources
from smooth_interpolation.train import graphs

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # a pool of compilers takes longer to start than it saves
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes and kernels that tests start: idle threads wait busily


def base_of_all(tmp_path_factory):
    """A directory that all processes of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def pytest_configure(config):
    """Tests see the committed records: a copy of them where there are others of the user's beside them."""
    if hasattr(config, "workerinput"):  # one of several processes, which has the environment of the first
        return
    os.environ.pop(locations.RESULTS_VARIABLE, None)

    def listed(*options):
        command = ["git", "ls-files", "-z", *options, "results"]
        result = subprocess.run(command, cwd=locations.repository(), capture_output=True, text=True)
        return result.stdout.split("\0")[:-1]

    if not (tracked := listed()) or not listed("--others"):
        return
    copy = Path(tempfile.mkdtemp())
    config.add_cleanup(lambda: shutil.rmtree(copy))
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(locations.repository() / name, copy / name)
    os.environ[locations.RESULTS_VARIABLE] = str(copy / "results")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Tests and the book share one cache of their own and see no data of the user's."""
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(base_of_all(tmp_path_factory) / "cache"))
    monkeypatch.delenv(locations.DATA_VARIABLE, raising=False)


@pytest.fixture(autouse=True)
def one_thread():
    with resources.threads(1):
        yield


@pytest.fixture
def command(monkeypatch, capsys):
    """A function that does in this process what the command line does in its own, which takes seconds to start."""

    def called(*words):
        monkeypatch.chdir(locations.repository())
        monkeypatch.setattr(sys, "argv", ["smooth-interpolation", *map(str, words)])
        monkeypatch.setattr(commands, "_began", None)
        with pytest.raises(SystemExit) as ended:
            commands.main()
        stdout, stderr = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code, stdout=stdout, stderr=stderr)

    return called


@pytest.fixture
def without_codegen(monkeypatch):
    """PyTorch's compiler up to its last stage, which writes code and takes half a minute: captured, differentiated, divided
    into a forward and a backward pass, and then executed as it is."""
    backend = partial(torch.compile, backend="aot_eager_decomp_partition")
    with monkeypatch.context() as patch:
        patch.setattr(torch, "compile", backend)
        graphs.compiled.cache_clear()
        yield
    graphs.compiled.cache_clear()


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The book, built once for all tests and processes: `html`, its directory, and what the build printed and returned."""
    base = base_of_all(tmp_path_factory) / "book"
    with FileLock(f"{base}.lock"):
        answer = base / "answer.json"
        if not answer.exists():
            answer.parent.mkdir()
            answer.write_text(json.dumps(_build(base, base.with_name("cache"))))
        returncode, printed = json.loads(answer.read_text())
    return SimpleNamespace(html=base / "_build" / "html", returncode=returncode, printed=printed)


def _build(base, cache):
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "book", "--path-output", str(base)]
    environment = {k: v for k, v in os.environ.items() if k != locations.DATA_VARIABLE}
    environment[locations.CACHE_VARIABLE] = str(cache)
    result = subprocess.run(
        [*command, "--all", "-W", "-n", "--keep-going"],
        cwd=locations.repository(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    return result.returncode, result.stdout + result.stderr


BOOK = ("test_book.py", "test_browser.py")
LONG = (
    "test_added_fields.py",
    "test_book.py",
    "test_browser.py",
    "test_pages.py",
    "test_ray.py",
    "test_reliability.py",
    "test_staleness.py",
)


def pytest_collection_modifyitems(items):
    """What takes long is marked and comes first, before all the book: nobody then waits for the last of it."""
    for item in items:
        if item.path.name in LONG:
            item.add_marker(pytest.mark.long)
    items.sort(key=lambda item: (item.path.name not in BOOK, item.get_closest_marker("long") is None))


class OneByOne(LoadScopeScheduling):
    """Hands tests out one at a time, so that all processes are busy to the end; those that share a fixture go to one process."""

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0]
        name = Path(file).name
        if name in BOOK:
            return "book"
        return file if 'scope="module"' in (locations.repository() / file).read_text() else nodeid


def pytest_xdist_make_scheduler(config, log):
    return OneByOne(config, log) if config.getvalue("dist") == "loadgroup" else None
