"""The standard error that a sample of points leaves, from made-up records and from those there are."""

import math

import pytest

from smooth_interpolation import config
from smooth_interpolation.book import sampling_error
from smooth_interpolation.runs import record_format, store

PLANNED = config.find("gpu", "convnet-noise20").model_copy(
    update={"scale": "paper", "n_clean_points": 400, "n_noisy_points": 100, "n_paths": 8}
)


def record(width=8, mean=2.0, std=6.0, subsets=("all", "clean", "noisy"), status="complete"):
    volumes = [
        {"size": size, "subset": subset, **{m: {"mean": mean + size, "std": std} for m in record_format.VOLUME_METRICS}}
        for size in (0, 1)
        for subset in subsets
    ]
    data = {"n_corrupted": 20 if "noisy" in subsets else 0, "n_train": 100}
    return {"status": status, "volumes": volumes, "data": data, "config": {"width": width, "seed": 0, "n_paths": 4}}


def test_errors_fall_with_the_root_of_the_points_and_are_weighted():
    errors = sampling_error.relative_errors([record(), record(status="diverged")], PLANNED)
    assert len(errors) == 3 * len(record_format.VOLUME_METRICS)
    found = errors[errors.metric == "jacobian_norm"].set_index("subset").error
    assert found["clean"] == pytest.approx(6 / 20 / 3) and found["noisy"] == pytest.approx(6 / 10 / 3)
    assert found["all"] == pytest.approx(math.hypot(0.8 * 6 / 20, 0.2 * 6 / 10) / 3)


def test_a_metric_that_a_record_lacks_is_left_out():
    lacking = record()
    for entry in lacking["volumes"]:
        del entry["accuracy"]
    errors = sampling_error.relative_errors([lacking], PLANNED)
    assert set(errors.metric) == set(record_format.VOLUME_METRICS) - {"accuracy"}
    assert "Training accuracy" not in sampling_error.table(errors).index


def test_without_noisy_points_and_with_means_of_zero():
    clean = PLANNED.model_copy(update={"n_noisy_points": 0})
    errors = sampling_error.relative_errors([record(subsets=("all", "clean"))], clean)
    assert set(errors.subset) == {"all", "clean"} and errors.error.nunique() == 1
    assert sampling_error.relative_errors([record(mean=-1.0)], PLANNED).empty


def test_the_table_has_the_median_and_the_largest():
    records = [record(std=std) for std in (3.0, 6.0, 30.0)]
    table = sampling_error.table(sampling_error.relative_errors(records, PLANNED))
    assert table.loc["Jacobian norm", "noisy points"] == "20 (100)"
    assert len(table) == len(record_format.VOLUME_METRICS)
    assert "errors scaled to the 400 clean and 100 noisy points of paper scale" in sampling_error.caption(
        "gpu", records, PLANNED
    )
    assert "scaled" not in sampling_error.caption("paper", records, PLANNED)


def test_records_of_the_largest_scale_are_taken(monkeypatch):
    kept = {"paper": [], "gpu": ["of gpu"]}
    monkeypatch.setattr(store, "read_all", lambda runs, root=None: kept[runs[0].scale])
    assert sampling_error.measured() == ("gpu", ["of gpu"])
    kept["paper"] = ["of paper"]
    assert sampling_error.measured() == ("paper", ["of paper"])
    kept.update(paper=[], gpu=[])
    assert sampling_error.measured() == ("paper", [])
