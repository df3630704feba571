"""A guard against staleness: a committed record is what this code measures, and no page is drawn from another's record.

The same PyTorch on the same processor gives the committed numbers exactly; the first epoch's tell. Elsewhere kernels add in
another order, and a hundred epochs amplify that: metrics of the record at its first epoch agree to 1%, those at its end to half their size.
"""

import json
import shutil

import pytest
from worlds import opened

from smooth_interpolation import config, locations
from smooth_interpolation.errors import RecordError
from smooth_interpolation.runs import single, store

ROOT = locations.repository()
EARLY, LATE = 0.01, 0.5


@pytest.fixture(scope="module")
def committed():
    run = config.find("demo", "convnet-noise20").run(1, 0)
    record = store.read(run, ROOT / "results")
    assert record is not None
    return run, record


def test_a_committed_record_is_measured_again(committed):
    run, before = committed
    again = json.loads(json.dumps(single.run(run, device="cpu", threads=before["provenance"]["threads"])))
    assert {key: again[key] for key in ("config", "digest", "data", "schema", "status", "epochs_run")} == {
        key: before[key] for key in ("config", "digest", "data", "schema", "status", "epochs_run")
    }
    assert shape(again["history"]) == shape(before["history"]) and shape(again["volumes"]) == shape(before["volumes"])
    same_processor = again["provenance"]["device_name"] == before["provenance"]["device_name"]
    if same_processor or again["history"][0] == before["history"][0]:  # the same kernels, bit by bit
        assert again["history"] == before["history"] and again["volumes"] == before["volumes"]
    close(again["history"][0], before["history"][0], EARLY)
    close(again["history"][-1], before["history"][-1], LATE)
    close(again["volumes"], before["volumes"], LATE)


def shape(value):
    """A record's structure without its measurements: counts and names stay."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return None if isinstance(value, float) else value


def close(ours, theirs, tolerance):
    """Every measurement within a share of the committed one."""
    if isinstance(theirs, dict):
        for key, inner in theirs.items():
            close(ours[key], inner, tolerance)
    elif isinstance(theirs, list):
        for one, other in zip(ours, theirs, strict=True):
            close(one, other, tolerance)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=1e-6)


def test_tolerances_notice_another_network(committed):
    _, record = committed
    wider = store.read(config.find("demo", "convnet-noise20").run(16, 0), ROOT / "results")
    with pytest.raises(AssertionError):
        close(wider["history"][-1], record["history"][-1], LATE)
    changed = json.loads(json.dumps(record["history"][0]))
    changed["test_error"] *= 1.02
    with pytest.raises(AssertionError):
        close(changed, record["history"][0], EARLY)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A repository with the demo's params and records alone."""
    for part in ("params/demo", "results/demo/convnet-noise20"):
        shutil.copytree(ROOT / part, tmp_path / part)
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    return tmp_path


def edit(repository, old, new):
    path = repository / "params/demo/convnet-noise20.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("learning_rate: 0.01", "learning_rate: 0.02", "learning_rate is 0.01 there and 0.02 here"),
        ("epochs: 100", "epochs: 101", "epochs is 100 there and 101 here"),
        ("delta: 0.1", "delta: 0.2", "delta is 0.1 there and 0.2 here"),
        ("n_train: 1000", "n_train: 900", "n_train is 1000 there and 900 here"),
    ],
)
def test_no_page_is_made_of_records_that_its_params_no_longer_describe(copy, old, new, field):
    asked = {"scale": "demo", "experiment": "convnet-noise20"}
    assert len(opened(asked)) == 5
    edit(copy, old, new)
    with pytest.raises(RecordError, match=field):
        opened(asked)


def test_no_page_is_made_of_a_record_that_was_edited(copy):
    path = copy / "results/demo/convnet-noise20/w004-s0.json"
    record = json.loads(path.read_text())
    record["history"][-1]["test_error"] -= 5
    path.write_text(json.dumps(record))
    with pytest.raises(RecordError, match="checksum"):
        opened({"scale": "demo", "experiment": "convnet-noise20"})


def test_a_width_more_keeps_the_records_and_is_missing(copy):
    edit(copy, "widths: [1, 2, 4, 8, 16]", "widths: [1, 2, 4, 8, 16, 20]")
    page = opened({"scale": "demo", "experiment": "convnet-noise20"})
    assert len(page) == 5 and [run.width for run in page.missing] == [20]
