import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from smooth_interpolation import locations


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Tests share one cache of their own and see no data of the user's."""
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "cache"))
    for name in (locations.DATA_VARIABLE, locations.RESULTS_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The book, built once for all tests: `html`, its directory, and what the build printed and returned."""
    base = tmp_path_factory.mktemp("book")
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "book", "--path-output", str(base)]
    environment = {
        k: v for k, v in os.environ.items() if k not in (locations.DATA_VARIABLE, locations.RESULTS_VARIABLE)
    }
    environment[locations.CACHE_VARIABLE] = str(tmp_path_factory.getbasetemp() / "cache")
    result = subprocess.run(
        [*command, "--all", "-W", "-n", "--keep-going"],
        cwd=locations.repository(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    printed = result.stdout + result.stderr
    return SimpleNamespace(html=base / "_build" / "html", returncode=result.returncode, printed=printed)
