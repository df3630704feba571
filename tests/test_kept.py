"""Verdicts from the cache: the same table, and of the same records and code alone."""

import copy

import pandas as pd
import pytest

from smooth_interpolation import claims, config, locations
from smooth_interpolation.claims import verdicts
from smooth_interpolation.runs import store


@pytest.fixture
def family(monkeypatch, tmp_path):
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path / "cache"))
    plan = config.find("demo", claims.NOISY)
    return store.read_all(plan.runs()), claims.NOISY, plan


@pytest.fixture
def judgements(monkeypatch):
    """Counts how often something was judged."""
    found, judge = [], claims.judge
    monkeypatch.setattr(claims, "judge", lambda *given: found.append(1) or judge(*given))
    return found


def files():
    return sorted((locations.cache() / "verdicts").iterdir())


def test_the_table_is_the_same(family, judgements):
    first, again = verdicts.judged(*family), verdicts.judged(*family)
    assert len(judgements) == 1 and len(first) > 10
    pd.testing.assert_frame_equal(first, claims.judge(*family))
    pd.testing.assert_frame_equal(again, first)


def test_whatever_decides_is_in_the_key(family, judgements, monkeypatch):
    records, experiment, plan = family
    verdicts.judged(*family)
    other = copy.deepcopy(records)
    other[0]["volumes"][0]["accuracy"]["mean"] /= 2
    verdicts.judged(other, experiment, plan)
    verdicts.judged(records, experiment, plan.model_copy(update={"seeds": (0, 1)}))
    monkeypatch.setattr(verdicts, "code", lambda: "other")
    verdicts.judged(*family)
    assert len(judgements) == len(files()) == 4


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"claim": ["one"]}'])
def test_a_damaged_file_is_written_anew(family, judgements, content):
    first = verdicts.judged(*family)
    files()[0].write_bytes(content)
    pd.testing.assert_frame_equal(verdicts.judged(*family), first)
    assert len(judgements) == 2


def test_where_nothing_can_be_kept_it_is_judged(family, judgements, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path / "file"))
    assert len(verdicts.judged(*family)) == len(verdicts.judged(*family)) and len(judgements) == 2
