"""The committed records: each belongs to a params file, is whole, and is what the figures expect."""

import pytest

from smooth_interpolation import config, locations, store

ROOT = locations.repository()
RECORDS = sorted(p for p in (ROOT / "results").rglob("*.json") if "beyond" not in p.parts)


def test_laptop_and_demo_are_complete():
    for scale in ("demo", "laptop"):
        experiment = config.find(scale, "convnet-noise20")
        assert store.missing(experiment) == []


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: str(p.relative_to(ROOT / "results")))
def test_a_record_is_that_of_its_params_file(path):
    scale, name, file = path.relative_to(ROOT / "results").parts
    width, seed = (int(part[1:]) for part in file.removesuffix(".json").split("-"))
    record = store.read(config.find(scale, name).run(width, seed), ROOT / "results")
    assert record["status"] == "complete"
    assert record["provenance"]["dirty"] is False and len(record["provenance"]["commit"]) == 40


def test_records_fit_in_tens_of_kilobytes():
    assert max(path.stat().st_size for path in RECORDS) < 60_000
