"""Everything that `scenarios` counts holds, every time."""

import pytest

from smooth_interpolation import locations

from . import disks, scenarios, sharing, stopping

MODULES = {module.__name__ for module in (disks, sharing, stopping)}
SCENARIOS = [name for name, (_, function) in scenarios.SCENARIOS.items() if function.__module__ in MODULES]


@pytest.fixture(autouse=True)
def cache_of_its_own(own_cache, tmp_path_factory, monkeypatch):
    """Scenarios train the same networks, look for them in the cache and remove them."""
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_promised_holds(name, tmp_path):
    _, function = scenarios.SCENARIOS[name]
    found = function(tmp_path, True)
    assert found.tried > 0 and found.held == found.tried
