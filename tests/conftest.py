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
