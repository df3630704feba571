"""Records on disk: whatever a file holds is a record, or one sentence, at once."""

import json
import os
import tracemalloc

import pandas as pd
import pytest

from smooth_interpolation import config, locations, record_format, store
from smooth_interpolation.errors import RecordError

DEMO = locations.repository() / "results/demo/convnet-noise20/w008-s0.json"
RECORD = store.read_file(DEMO)
REMOVED = object()


def changed(place, value):
    """The record with something else at a place in it, and its checksum right again."""
    record = json.loads(json.dumps(RECORD))
    *way, last = place
    part = record
    for step in way:
        part = part[step]
    if value is REMOVED:
        del part[last]
    else:
        part[last] = value
    return record


def test_the_quick_checksum_is_the_exact_one():
    for value in (
        1e-5,
        1.234e-5,
        9.99e-6,
        1e-7,
        1e-10,
        1e16,
        1.5e17,
        5e-324,
        10.00001,
        -1.2e-5,
        0.0001,
        -0.0,
        2**53,
        "1e-5 0.00001 é",
    ):
        record = changed(("history", 0, "test_error" if not isinstance(value, str) else "epoch"), value)
        assert record_format._matches(record, store.checksum(record), record_format.encode(record))
        assert not record_format._matches(record, "0" * 64, record_format.encode(record))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("status",), "fine", "status 'fine'"),
        (("schema",), 1, "schema 1"),
        (("volumes",), None, "has no volumes"),
        (("volumes", 3, "subset"), "odd", "subset in row 4 of the volumes is 'odd'"),
        (("volumes", 3, "crossentropy"), {"mean": 1.0}, "crossentropy in row 4"),
        (("volumes", 3, "crossentropy", "mean"), "1.0", "crossentropy in row 4"),
        (("volumes", 0), [], "row 1 of the volumes is []"),
        (("history", 2, "epoch"), 2.5, "epoch in entry 3 of the history is 2.5"),
        (("history", 2, "test_error"), None, "test_error in entry 3"),
        (("history", 2, "train_error", "clean"), True, "clean of train_error in entry 3"),
        (("history", 2, "note"), [1, 2], "note in entry 3"),
        (("history",), {}, "history in it is {}"),
        (("config", "width"), 0, "width = 0: must be at least 1"),
        (("config", "epochs"), 7, "digest"),
        (("config", "batch_size"), REMOVED, "digest"),
        (("config",), [], "config in it is []"),
        (("data", "fingerprint"), 5, "fingerprint in data is 5"),
        (("data",), REMOVED, "it has no data"),
        (("provenance", "wall_s"), REMOVED, "provenance has no wall_s"),
        (("provenance", "wall_s", "train"), "long", "train of wall_s is 'long'"),
        (("provenance", "at_once"), 0, "at_once is 0"),
        (("provenance", "end"), "yesterday", "damaged"),
    ],
    ids=lambda part: ".".join(map(str, part)) if isinstance(part, tuple) else None,
)
def test_a_record_of_another_structure_is_refused_although_its_checksum_is_right(place, value, words, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(record_format.encode(changed(place, value)))
    with pytest.raises(RecordError) as caught:
        store.read_file(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


GOOD = DEMO.read_bytes()
FILES = {
    "empty": b"",
    "half": GOOD[: len(GOOD) // 2],
    "a number": b"3",
    "a list": b"[]",
    "no checksum": b'{"schema": 2}',
    "not text": b"\xff\xfe\x00",
    "NaN": GOOD.replace(b"89.55", b"NaN"),
    "infinity": GOOD.replace(b"89.55", b"1e999"),
    "a digit": GOOD.replace(b"89.55", b"89.56"),
    "thousands of digits": GOOD.replace(b"89.55", b"1" * 10_000),
    "twice the same name": GOOD.replace(b'"schema": 2,', b'"schema": 2, "schema": 2,'),
    "deep": b"[" * 1_000_000,
    "deep and closed": b'{"schema": 2, "checksum": "", "x": ' + b"[" * 900 + b"]" * 900 + b"}",
    "many entries": b'{"history": [' + b"{}," * 1_390_000 + b"{}]}",
    "too large": GOOD + b" " * (4 << 20),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_a_damaged_or_hostile_file_is_one_sentence(content, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(RecordError) as caught:
            store.read_file(path)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_is_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "circle", tmp_path / "none", tmp_path / "a\0b", "/dev/zero"):
        with pytest.raises(RecordError, match="Cannot read"):
            store.read_file(path)


def test_a_link_to_a_record_is_read(tmp_path):
    (tmp_path / "link.json").symlink_to(DEMO)
    assert store.read_file(tmp_path / "link.json") == RECORD


def test_tables_hold_every_number_of_the_records_in_order():
    records = store.read_all(config.find("demo", "convnet-noise20").runs())
    volumes, history = store.volumes_table(reversed(records)), store.history_table(records)
    rows = [
        (r["config"]["width"], 0, row["size"], row["strength"], row["subset"], m, row[m]["mean"], row[m]["std"])
        for r in records for row in r["volumes"] for m in store.VOLUME_METRICS
    ]  # fmt: skip
    expected = pd.DataFrame(rows, columns=volumes.columns)
    keys = ["metric", "subset", "size", "width", "seed"]
    pd.testing.assert_frame_equal(volumes, expected.sort_values(keys, ignore_index=True))
    keys = ["metric", "subset", "width", "seed", "epoch"]
    pd.testing.assert_frame_equal(history, history.sort_values(keys, ignore_index=True))
    per_epoch = sum(len(v) if isinstance(v, dict) else 1 for k, v in RECORD["history"][0].items() if k != "epoch")
    assert len(history) == sum(len(record["history"]) for record in records) * per_epoch
    assert store.volumes_table([]).empty and store.interpolation_threshold(store.history_table([])) is None
