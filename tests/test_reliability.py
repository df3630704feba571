"""Everything that `benchmarks.reliability` counts holds, every time."""

import pytest
from benchmarks import reliability

SCENARIOS = ["dead_lock_is_taken_over_once"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_promised_holds(name, tmp_path):
    _, function = reliability.SCENARIOS[name]
    found = function(tmp_path, True)
    assert found.tried > 0 and found.held == found.tried
