"""Records on disk: whatever a file holds is a record, or one sentence, at once."""

import os
import tracemalloc

import pandas as pd
import pytest
from reliability import hostile

from smooth_interpolation import config
from smooth_interpolation.errors import RecordError
from smooth_interpolation.runs import record_format, store, tables

RECORD = store.read_file(hostile.DEMO)


@pytest.mark.parametrize(("content", "words"), hostile.RECORDS.values(), ids=hostile.RECORDS.keys())
def test_a_damaged_or_hostile_file_is_one_sentence(content, words, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(RecordError) as caught:
            store.read_file(path)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_is_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "circle", tmp_path / "none", tmp_path / "a\0b", "/dev/zero"):
        with pytest.raises(RecordError, match="Cannot read"):
            store.read_file(path)


def test_a_link_to_a_record_is_read(tmp_path):
    (tmp_path / "link.json").symlink_to(hostile.DEMO)
    assert store.read_file(tmp_path / "link.json") == RECORD


def test_tables_hold_every_number_of_the_records_in_order():
    records = store.read_all(config.find("demo", "convnet-noise20").runs())
    volumes, history = tables.volumes_table(reversed(records)), tables.history_table(records)
    rows = [
        (r["config"]["width"], 0, row["size"], row["strength"], row["subset"], m, row[m]["mean"], row[m]["std"])
        for r in records for row in r["volumes"] for m in record_format.VOLUME_METRICS
    ]  # fmt: skip
    hessian = "tangent_hessian_norm"
    rms = [(*row[:5], "tangent_hessian_rms", 0.8 * row[6], 0.8 * row[7]) for row in rows if row[5] == hessian]
    rows += rms  # M^1.5 delta times Equation 5
    expected = pd.DataFrame(rows, columns=volumes.columns)
    keys = ["metric", "subset", "size", "width", "seed"]
    pd.testing.assert_frame_equal(volumes, expected.sort_values(keys, ignore_index=True))
    keys = ["metric", "subset", "width", "seed", "epoch"]
    pd.testing.assert_frame_equal(history, history.sort_values(keys, ignore_index=True))
    per_epoch = sum(len(v) if isinstance(v, dict) else 1 for k, v in RECORD["history"][0].items() if k != "epoch")
    per_epoch += len(RECORD["history"][0]["tangent_hessian_norm"])  # its root mean square
    assert len(history) == sum(len(record["history"]) for record in records) * per_epoch
    assert tables.volumes_table([]).empty and store.interpolation_threshold(tables.history_table([])) is None
