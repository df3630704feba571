"""Checkpoints: what they hold, what is refused, and that resumed training has the same bits."""

import json
import logging
import struct

import pytest
import torch

from smooth_interpolation import config
from smooth_interpolation.data import preparation
from smooth_interpolation.errors import RecordError
from smooth_interpolation.runs import checkpoints, jobs, locks, single, store, weights, work
from smooth_interpolation.runs.checkpoints import DiskKeeper
from smooth_interpolation.train import loop, models
from smooth_interpolation.train.step import Recipe

TINY = {
    "n_train": 160, "n_test": 40, "batch_size": 64, "epochs": 5, "n_evaluations": 3, "n_clean_points": 4,
    "n_noisy_points": 4, "strengths": [5, 20], "n_paths": 1, "n_tangents": 1,
}  # fmt: skip


def tiny(**changes):
    return config.find("demo", "convnet-noise20", {**TINY, **changes})


def stopped_after(steps):
    left = iter([False] * steps)
    return lambda: next(left, True)


def stop_and_go_on(todo, root, steps, **options):
    """Do runs in this process, stopped after every so many steps, until they are done."""
    reports, stops = [], 0
    while True:
        try:
            chosen = work.Options(root=root, device="cpu", **options)
            work.do(todo, chosen, lambda *report: reports.append(report), stop=stopped_after(steps))
        except KeyboardInterrupt:
            stops += 1
            continue
        return [(run, kind, content) for run, kind, content in reports if kind not in ("status", "stopped")], stops


def without_origin(record):
    return {key: value for key, value in record.items() if key != "provenance"}


@pytest.mark.parametrize(
    "changes",
    [
        {"augment": True},
        {"model": "resnet18", "optimizer": "adam", "learning_rate": 1e-3, "precision": "bf16"},
    ],
    ids=["augmented", "adam, batch normalisation, bfloat16"],
)
def test_a_run_stopped_again_and_again_gives_the_same_record(tmp_path, changes):
    run = tiny(**changes).run(2, 0)
    uninterrupted = single.run(run, device="cpu")
    before = {name: tensor.clone() for name, tensor in weights.network(run).state_dict().items()}
    weights.weights_path(run).unlink()
    said, stops = stop_and_go_on([run], tmp_path, steps=4)  # of 3 an epoch: within epochs, and in measuring
    assert said == [(run, "complete", None)] and stops >= 3
    record = store.read(run, tmp_path)
    assert without_origin(record) == without_origin(uninterrupted)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights.network(run).state_dict().items())
    origin = record["provenance"]
    assert len(origin["resumed"]) == stops and origin["start"] <= origin["resumed"][0]["stopped"] <= origin["end"]
    assert set(origin["resumed"][0]) == {"epoch", "stopped", "start", "commit", "device_name", "threads"}
    assert origin["wall_s"]["train"] > 0 and uninterrupted["provenance"]["resumed"] == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["w002-s0.json"]


def test_runs_side_by_side_are_resumed_where_each_was(tmp_path):
    todo = [tiny().run(width, seed) for width, seed in ((1, 0), (2, 0), (1, 1))]
    said, stops = stop_and_go_on(todo, tmp_path, steps=5, at_once=2)
    assert sorted(run.width for run, kind, _ in said if kind == "complete") == [1, 1, 2] and stops >= 2
    for run in todo:
        assert without_origin(store.read(run, tmp_path)) == without_origin(single.run(run, device="cpu"))


def test_a_stop_while_one_network_is_measured_keeps_how_far_the_others_are(tmp_path):
    first, second = (tiny(epochs=epochs).run(1, seed) for epochs, seed in ((4, 0), (4, 1)))
    late = iter([None])  # the second begins when the first has trained an epoch
    told = []

    def report(run, kind, content):
        told.append((run.seed, kind, getattr(content, "stage", "")))

    def stop():
        return (0, "status", "measure") in told

    options = work.Options(root=tmp_path, device="cpu", at_once=2)
    keeper = DiskKeeper(second, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        take = jobs.Hold.take

        def later(run, *arguments):
            if run == second and next(late, True) is None:
                raise locks.Undecided(locks.here())
            return take(run, *arguments)

        patch.setattr(jobs.Hold, "take", later)
        with pytest.raises(KeyboardInterrupt):
            work.do([first, second], options, report, stop=stop)
    (path,) = keeper.paths()
    assert checkpoints.read_file(path)[1]["progress"]["epoch"] == 3
    work.do([first, second], options)
    for run in (first, second):
        assert without_origin(store.read(run, tmp_path)) == without_origin(single.run(run, device="cpu"))


def trainer_of(settings, seed=0):
    data = preparation.prepare(settings)
    there = preparation.TrainingData.of(
        data.train.images, data.train.labels, data.normalize, "fp32", torch.device("cpu")
    )
    return loop.Trainer(models.create("convnet", 2, 10, seed), there, Recipe.of(settings), seed)


def progress_of(trainer, **changes):
    values = {"epoch": trainer.epoch, "step": trainer.step, "done": trainer.done, "history": [], "seconds": {}}
    return checkpoints.State(**{**values, "cpu_seconds": 0.0, "networks": 0.0, "origin": {}, **changes})


def test_the_state_is_put_back_in_place(tmp_path):
    """A captured graph reads its tensors where they are: another network's state is copied into them."""
    settings = tiny()
    first, second = trainer_of(settings), trainer_of(settings, seed=1)
    for trainer in (first, second):
        trainer.launch()
        trainer.finish()
    state = second.optimizer.state[next(second.model.parameters())]
    places = [p.data_ptr() for p in second.model.parameters()] + [state["momentum_buffer"].data_ptr()]
    checkpoints.restore(second, checkpoints.capture(first), progress_of(first))
    assert places == [p.data_ptr() for p in second.model.parameters()] + [state["momentum_buffer"].data_ptr()]
    for trainer in (first, second):
        trainer.launch()
    assert first.finish() == second.finish()
    captured = [checkpoints.capture(trainer) for trainer in (first, second)]
    assert captured[0].keys() == captured[1].keys()
    assert all(torch.equal(captured[0][name], captured[1][name]) for name in captured[0])


@pytest.fixture
def kept(tmp_path):
    """A run with two checkpoints, of epochs 1 and 2."""
    run = tiny().run(2, 0)
    keeper = DiskKeeper(run, tmp_path)
    keeper.directory.mkdir(parents=True)
    trainer = trainer_of(tiny())
    for _ in range(3):
        trainer.launch()
        trainer.finish()
        keeper.save(checkpoints.capture(trainer), progress_of(trainer), "f" * 64)
    return keeper


def test_the_last_two_are_kept_and_the_latest_is_taken(kept):
    assert [path.name for path in kept.paths()] == [f"w002-s0.{step:012d}.safetensors" for step in (9, 6)]
    assert kept.load("f" * 64)[1].epoch == 3


def test_damaged_ones_are_passed_over_with_a_warning(kept, caplog):
    latest, before = kept.paths()
    content = latest.read_bytes()
    caplog.set_level(logging.WARNING)
    for damaged in (content[:-1], content[:20], b"", content[:-1] + bytes([content[-1] ^ 1]), b"\xff" * 100):
        caplog.clear()
        latest.write_bytes(damaged)
        assert kept.load("f" * 64)[1].epoch == 2
        assert "the one before is taken" in caplog.text and str(latest) in caplog.text
    before.write_bytes(content[: len(content) // 2])
    assert kept.load("f" * 64) is None and "training starts anew" in caplog.text


def test_new_ones_take_the_place_of_damaged_ones(kept):
    """Whatever step those claim: the latest sound one must survive the next stop."""
    for path in kept.paths():
        path.write_bytes(path.read_bytes()[:-1])
    again = DiskKeeper(kept.run, kept.root)
    assert again.load("f" * 64) is None
    trainer = trainer_of(tiny())
    for epoch in (1, 2):
        trainer.launch()
        trainer.finish()
        again.save(checkpoints.capture(trainer), progress_of(trainer), "f" * 64)
        assert DiskKeeper(kept.run, kept.root).load("f" * 64)[1].epoch == epoch
    assert len(again.paths()) == checkpoints.KEPT


def test_nothing_that_is_loaded_is_executed(kept):
    import pickle

    class Harm:
        def __reduce__(self):
            return pytest.fail, ("executed",)

    kept.paths()[0].write_bytes(pickle.dumps(Harm()))
    torch.save({"a": torch.zeros(1)}, kept.paths()[1])
    assert kept.load("f" * 64) is None


def test_a_checkpoint_of_something_else_is_refused(kept, tmp_path, monkeypatch):
    with pytest.raises(RecordError, match=r"other images \(fingerprint ffff.*remove .*safetensors to train anew"):
        kept.load("0" * 64)
    other = tiny(learning_rate=0.02).run(2, 0)
    theirs = DiskKeeper(other, tmp_path)
    theirs.directory.mkdir(parents=True)
    for path in kept.paths():
        (theirs.directory / path.name).write_bytes(path.read_bytes())
    with pytest.raises(RecordError, match=r"another configuration \(learning_rate is 0.01 there and 0.02 here\)"):
        theirs.load("f" * 64)
    said = []
    work.do([other], work.Options(root=tmp_path, device="cpu"), lambda *report: said.append(report))
    assert [kind for _, kind, _ in said] == ["failed"] and "restore the params file" in said[0][2]
    monkeypatch.setattr(checkpoints, "SCHEMA", 99)
    with pytest.raises(RecordError, match=f"has schema {config.SCHEMA} and this code resumes schema 99"):
        kept.load("f" * 64)


def test_the_checksum_covers_every_byte(kept):
    path = kept.paths()[0]
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    text = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["checkpoint"])
    assert text["schema"] == config.SCHEMA and text["config"]["width"] == 2
    for place in (3, 9, 8 + length // 2, 8 + length, len(content) // 2 + length // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ValueError):
            checkpoints.read_file(path)


def test_when_a_checkpoint_is_due(kept, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    keeper = DiskKeeper(kept.run, kept.root, seconds=100, epochs=5)
    assert not keeper.due(4) and keeper.due(5)
    now[0] = 99.0
    assert not keeper.due(1)
    now[0] = 100.0
    assert keeper.due(1)
