"""From configuration to record, and records on disk."""

import json
import os
import platform

import numpy as np
import pytest
import torch

from smooth_interpolation import config, files, locations
from smooth_interpolation.data import preparation
from smooth_interpolation.errors import ConfigError, DataError, RecordError
from smooth_interpolation.measure import volumes
from smooth_interpolation.runs import jobs, record_format, resources, single, store, tables, weights, work
from smooth_interpolation.train import evaluation

TINY = {
    "n_train": 100, "n_test": 60, "epochs": 4, "n_evaluations": 3, "n_clean_points": 6, "n_noisy_points": 5,
    "strengths": [5, 20], "n_paths": 2, "n_tangents": 2,
}  # fmt: skip


def tiny(**changes):
    return config.find("demo", "convnet-noise20", {**TINY, **changes})


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    os.environ[locations.CACHE_VARIABLE] = str(tmp_path_factory.getbasetemp() / "cache")
    torch.set_num_threads(1)
    return single.run(tiny().run(3, 0))


def without_origin(record):
    return {key: value for key, value in record.items() if key != "provenance"}


def test_a_record_says_everything(record):
    run = tiny().run(3, 0)
    assert record["status"] == "complete" and record["digest"] == run.digest and record["schema"] == config.SCHEMA
    assert record["data"]["n_corrupted"] == 20 and len(record["data"]["fingerprint"]) == 64
    assert [entry["epoch"] for entry in record["history"]] == [1, 2, 4]
    assert {
        "commit",
        "dirty",
        "torch",
        "device_name",
        "precision",
        "threads",
        "wall_s",
        "images_per_s",
        "start",
        "end",
    } <= set(record["provenance"])
    assert len(record["volumes"]) == 3 * 3
    assert {row["n_points"] for row in record["volumes"]} == {6, 5, 11}
    assert len(json.dumps(record)) < 50_000


def test_the_same_configuration_gives_the_same_record_bit_by_bit(record):
    again = single.run(tiny().run(3, 0))
    assert record_format.checksum(without_origin(again)) == record_format.checksum(without_origin(record))
    other = single.run(tiny().run(3, 1))
    assert other["volumes"] != record["volumes"] and other["data"] == record["data"]


def test_history_and_volumes_agree_where_they_measure_the_same(record):
    last = record["history"][-1]
    for row in record["volumes"]:
        if row["size"] == 0:
            for metric in evaluation.AT_POINTS:
                assert row[metric]["mean"] == pytest.approx(last[metric][row["subset"]], rel=1e-4)


def test_all_points_are_weighted_back_to_the_true_share():
    values = torch.tensor([1.0, 2.0, 3.0, 10.0], dtype=torch.float64)
    corrupted = torch.tensor([False, False, False, True])
    summary = volumes.summarise(values, corrupted, noisy_share=0.2)
    assert summary["clean"]["mean"] == pytest.approx(2) and summary["noisy"] == {"mean": 10, "std": 0}
    assert summary["all"]["mean"] == pytest.approx(0.8 * 2 + 0.2 * 10)
    weights = np.array([0.8 / 3] * 3 + [0.2])
    expected = np.sqrt((weights * (values.numpy() - 3.6) ** 2).sum())
    assert summary["all"]["std"] == pytest.approx(expected)
    assert "all" not in volumes.summarise(values[:3], corrupted[:3], 0.2)
    assert volumes.summarise(values[:3], corrupted[:3], 0.0)["all"]["mean"] == pytest.approx(2)


def test_asymmetric_noise_reports_test_error_by_group():
    found = single.run(
        tiny(noise="asymmetric", n_corrupted_classes=3, noise_fraction=0.8, n_train=150, n_noisy_points=5).run(2, 0)
    )
    groups = found["history"][-1]["test_error_by_group"]
    classes = found["data"]["corrupted_classes"]
    assert len(classes) == 3 and found["data"]["n_corrupted"] == 36
    share = 0.3  # of the balanced test set
    mixed = share * groups["corrupted_classes"] + (1 - share) * groups["other_classes"]
    assert mixed == pytest.approx(found["history"][-1]["test_error"])


def test_a_diverged_run_is_recorded_and_not_drawn(tmp_path):
    run = tiny(learning_rate=1e6, warmup_epochs=0).run(3, 0)
    record = single.run(run)
    assert record["status"] == "diverged" and record["volumes"] is None
    store.write(record, run, tmp_path)
    assert store.read(run, tmp_path)["status"] == "diverged"
    assert tables.volumes_table([record]).empty and tables.history_table([record]).empty


def test_the_trained_network_can_be_measured_again_without_training(record):
    run = tiny().run(3, 0)
    network = weights.network(run)
    measured = evaluation.Evaluator(preparation.prepare(run), run, torch.device("cpu")).volumes(network)
    for ours, theirs in zip(measured, record["volumes"], strict=True):
        assert ours["jacobian_norm"]["mean"] == pytest.approx(theirs["jacobian_norm"]["mean"], rel=1e-5)
    finer = tiny(strengths=[2, 4, 6]).run(3, 0)
    assert weights.weights_path(finer) == weights.weights_path(run)
    with pytest.raises(RecordError, match="No weights"):
        weights.network(tiny().run(7, 0))


def done(todo, reraise=True, **options):
    """The records of runs, of which no files are kept; or what went wrong with them."""
    found = {}
    report = lambda run, kind, content: kind == "status" or found.update({run: content})  # noqa: E731
    work.do(todo, work.Options(keep=False, **options), report, reraise=reraise)
    return found


def test_side_by_side_gives_the_records_of_runs_alone(record):
    todo = [tiny().run(width, seed) for width, seed in ((3, 0), (2, 0), (3, 1))]
    found = done(todo, at_once=2)
    assert set(found) == set(todo)
    assert record_format.checksum(without_origin(found[todo[0]])) == record_format.checksum(without_origin(record))
    alone = single.run(todo[2])  # it took over the trainer of (3, 0)
    assert record_format.checksum(without_origin(found[todo[2]])) == record_format.checksum(without_origin(alone))
    assert found[todo[0]]["provenance"]["at_once"] == 2
    assert found[todo[0]]["provenance"]["side_by_side"] == 2
    with pytest.raises(ConfigError, match="at least 1"):
        done(todo, at_once=0)
    with pytest.raises(ConfigError, match="of one experiment"):
        done([todo[0], tiny(epochs=5).run(3, 0)])


def test_a_run_that_cannot_be_measured_does_not_take_others_along(monkeypatch):
    measure, calls = evaluation.Evaluator.volumes, []

    def fails_once(self, model, progress):
        calls.append(model)
        if len(calls) == 1:
            raise MemoryError("no room")
        return measure(self, model, progress)

    monkeypatch.setattr(evaluation.Evaluator, "volumes", fails_once)
    todo = [tiny().run(width, 7) for width in (1, 2)]
    failed, record = done(todo, reraise=False, at_once=2).values()
    assert "MemoryError: no room" in failed and "Its log" not in failed and record["status"] == "complete"
    assert all(weights.weights_path(run).exists() for run in todo)
    with pytest.raises(MemoryError):
        calls.clear()
        single.run(todo[0])


def test_freed_memory_is_kept_where_the_c_library_can_be_told(monkeypatch):
    kept = resources.keep_freed_blocks()
    assert kept or platform.libc_ver()[0] != "glibc"
    resources.keep_freed_blocks.cache_clear()
    monkeypatch.setattr(resources.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert resources.keep_freed_blocks() is False
    resources.keep_freed_blocks.cache_clear()


def test_bad_settings_end_before_training(monkeypatch):
    monkeypatch.setattr(jobs, "Trainer", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ConfigError, match="n_noisy_points 50"):
        single.run(tiny(n_noisy_points=50).run(3, 0))
    with pytest.raises(ConfigError, match="no device 'cuda:9'"):
        single.run(tiny().run(3, 0), device="cuda:9")
    with pytest.raises(DataError, match="No images of 'nowhere'"):
        single.run(tiny(dataset="nowhere").run(3, 0))


# Records on disk


def test_a_record_survives_the_disk(record, tmp_path):
    run = tiny().run(3, 0)
    assert store.read(run, tmp_path) is None
    path = store.write(record, run, tmp_path)
    assert path == tmp_path / "demo" / tiny().name / "w003-s0.json"
    assert store.read(run, tmp_path) == record == store.read_file(path)
    assert path.stat().st_mode & 0o044 == 0o044 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_tampered_truncated_and_mismatched_records_are_refused(record, tmp_path):
    run = tiny().run(3, 0)
    path = store.write(record, run, tmp_path)
    content = path.read_text()
    error = f'"test_error": {record["history"][-1]["test_error"]}'
    assert error in content
    cases = {
        content.replace(error, '"test_error": 1.0'): "changed after it was written",
        content[:-100]: "damaged",
        "": "damaged",
        "[]": "damaged",
        "{}": "damaged",
        "[" * 100_000: "damaged",
        content.replace(f'"schema": {config.SCHEMA}', '"schema": 0'): "schema 0",
    }
    for text, words in cases.items():
        path.write_text(text)
        with pytest.raises(RecordError, match=words):
            store.read(run, tmp_path)
    path.write_text(content)
    other = tiny(momentum=0.8).run(3, 0)
    store.path_of(other, tmp_path).parent.mkdir(parents=True)
    store.path_of(other, tmp_path).write_text(content)
    with pytest.raises(RecordError, match="momentum is 0.9 there and 0.8 here"):
        store.read(other, tmp_path)


def test_records_of_different_images_are_not_mixed(record, tmp_path, monkeypatch):
    experiment = tiny(widths=[3, 4])
    first, second = experiment.runs()
    store.write(record, first, tmp_path)
    odd = {
        **record,
        "config": second.model_dump(mode="json"),
        "digest": second.digest,
        "data": {**record["data"], "fingerprint": "0" * 64},
    }
    store.write(odd, second, tmp_path)
    with pytest.raises(RecordError, match="one figure needs one set of images"):
        store.read_all([first, second], tmp_path)
    with pytest.raises(RecordError, match="not on the images found here"):
        store.check_same_data(first, "1" * 64, tmp_path)
    monkeypatch.setattr("smooth_interpolation.runs.single.run", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(RecordError, match="w004-s0.json was measured on"):
        single.measure(tiny(widths=[3, 4]).run(7, 0), tmp_path)


def test_an_interrupted_write_leaves_the_old_record(record, tmp_path, monkeypatch):
    run = tiny().run(3, 0)
    path = store.write(record, run, tmp_path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RecordError, match="No space left"):
        store.write({**record, "epochs_run": 3}, run, tmp_path)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(
            path, lambda file: (file.write(b"half"), (_ for _ in ()).throw(KeyboardInterrupt))[1].__next__()
        )
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]


def test_tables_have_a_row_per_value(record):
    volumes = tables.volumes_table([record])
    assert len(volumes) == 3 * 3 * (len(record_format.VOLUME_METRICS) + 1) and not volumes.isna().any().any()
    picked = volumes[(volumes.metric == "jacobian_norm") & (volumes.subset == "noisy") & (volumes["size"] == 2)]
    expected = next(r for r in record["volumes"] if r["subset"] == "noisy" and r["size"] == 2)
    assert picked["mean"].item() == expected["jacobian_norm"]["mean"] and picked.strength.item() == 20
    history = tables.history_table([record])
    assert set(history.metric) == {
        "test_error",
        "test_crossentropy",
        "train_error",
        "train_crossentropy",
        "jacobian_norm",
        "tangent_hessian_norm",
        "tangent_hessian_rms",
        "residual_norm",
        "sensitivity",
        "exact_fit",
    }
    assert {"residual_norm", "sensitivity", "exact_fit"} <= set(volumes.metric)
    last = history[(history.metric == "train_error") & (history.subset == "noisy") & (history.epoch == 4)]
    assert last.value.item() == record["history"][-1]["train_error"]["noisy"]


@pytest.mark.parametrize(
    ("errors", "threshold"),
    [
        ({1: [5, 5], 2: [0, 0], 3: [1, 0], 4: [0, 0], 5: [0, 0]}, 4),  # zero at 2, and not for good
        ({1: [5, 5], 2: [0, 1], 3: [0, 0]}, 3),
        ({1: [0, 0], 2: [0, 0]}, 1),
        ({1: [5, 5], 2: [0, 1]}, None),
    ],
)
def test_interpolation_threshold(errors, threshold):
    import pandas as pd

    rows = [
        (width, seed, epoch, "all", "train_error", value if epoch == 9 else 50 * (epoch == 1))
        for width, values in errors.items()
        for seed, value in enumerate(values)
        for epoch in (1, 5, 9)
    ]
    history = pd.DataFrame(rows, columns=["width", "seed", "epoch", "subset", "metric", "value"])
    assert store.interpolation_threshold(history) == threshold
    assert store.interpolation_threshold(history.iloc[:0]) is None
