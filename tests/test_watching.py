"""Runs in progress as others see them, what a sweep would do, and what is left of a run that failed."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from reliability import torture
from typer.testing import CliRunner

from smooth_interpolation import cli, config, locations
from smooth_interpolation.cli import display
from smooth_interpolation.errors import RecordError
from smooth_interpolation.runs import cost, jobs, locks, single, store, sweep, watching, work
from smooth_interpolation.runs.watching import Status, StatusFile
from smooth_interpolation.train import evaluation, loop

TINY = {
    "n_train": 160, "n_test": 40, "batch_size": 64, "epochs": 4, "n_evaluations": 2, "n_clean_points": 4,
    "n_noisy_points": 4, "strengths": [5, 20], "n_paths": 1, "n_tangents": 1,
}  # fmt: skip
PARAMS = str(locations.repository() / "params/demo/convnet-noise20.yaml")
SETTINGS = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


def tiny(**changes):
    return config.find("demo", "convnet-noise20", {**TINY, "widths": [1, 2], **changes})


def command(*words):
    result = CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The status file of a run that this process does."""
    run = tiny().run(2, 0)
    path = store.lock_path(run, tmp_path)
    path.parent.mkdir(parents=True)
    lock = locks.acquire(path, locks.Observer())
    now = [100.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    yield run, StatusFile(run, tmp_path), now, tmp_path, lock
    lock.release()


def found_in(root):
    return list(watching.under_way(store.path_of(tiny().run(1, 0), root).parent))


def test_a_status_file_tells_epoch_error_speed_and_time_left(begun):
    _, status, now, root, _ = begun
    status.tell(Status("train", 1, 400, 2.3, 88.0))
    now[0] += 10
    status.tell(Status("train", 21, 400, 1.5, 44.0))
    (found,) = found_in(root)
    assert (found.width, found.seed, found.pid, found.alive) == (2, 0, os.getpid(), True)
    assert (found.done, found.total, found.loss, found.error) == (21, 400, 1.5, 44.0)
    assert found.per_second == 2 and found.seconds_left == pytest.approx(379 / 2)
    assert str(found) == "epoch 21 of 400" and found.updated >= found.started
    now[0] += 0.9 * watching.INTERVAL
    status.tell(Status("train", 22, 400, 1.4, 43.0))
    assert found_in(root)[0].done == 21  # not every epoch
    status.tell(Status("measure", 1, 50))
    (found,) = found_in(root)  # another stage at once
    assert (found.stage, found.loss, found.per_second) == ("measure", None, None)


def test_the_command_shows_runs_in_progress_and_stopped_ones(begun):
    run, status, now, root, lock = begun
    status.tell(Status("train", 1, 4, 2.3, 88.0))
    now[0] += 10
    status.tell(Status("train", 2, 4, 2.2, 77.0))
    shown = command("status", PARAMS, "--results", root, *SETTINGS).stdout
    assert all(
        text in shown for text in ("in progress", "w2-s0", "epoch 2 of 4", "77.0%", "0.1 epochs/s", "20 s", "proc")
    )
    lock.release()
    status.stop()
    shown = command("status", PARAMS, "--results", root, *SETTINGS).stdout
    assert "w2-s0: stopped at epoch 2 of 4: start again to go on" in shown and "in progress" not in shown
    store.path_of(run, root).write_text("{}")
    assert list(display.in_progress([store.path_of(run, root).parent])) == []  # it has a record


def test_one_that_gives_no_sign_of_life_is_marked(begun, monkeypatch):
    _, status, _, root, lock = begun
    status.tell(Status("train", 1, 4, 2.3, 88.0))
    monkeypatch.setattr(locks, "_machine", lambda: "another")
    assert found_in(root)[0].alive is True  # touched a moment ago
    ago = time.time() - 2 * locks.STALE
    os.utime(lock.path, (ago, ago))
    assert str(found_in(root)[0]) == "epoch 1 of 4, but no sign of life"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"width": 1}', "[" * 9999])
def test_damaged_status_files_are_passed_over(begun, content):
    _, status, _, root, _ = begun
    status.path.write_text(content)
    assert found_in(root) == []


def test_status_files_survive_a_full_disk(begun, monkeypatch):
    _, status, now, _, _ = begun

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watching.files, "write_atomically", full)
    now[0] += 60
    status.tell(Status("train", 2, 4, math.nan, 1.0))


def test_a_dry_run_says_what_would_run_and_what_it_costs(tmp_path):
    words = ["sweep", PARAMS, "--dry-run", "--workers", "2", "--device", "cpu", "--results", tmp_path, *SETTINGS]
    unknown = command(*words, "--width", 1, "--width", 2)
    assert unknown.exit_code == 0 and "2 runs would be done, in about" in unknown.stdout  # as other records tell
    experiment = tiny()
    torture.finish([experiment.run(1, 0)], tmp_path)
    torture.killed([experiment.run(2, 0)], tmp_path, 0.0)
    half = tiny(widths=[2]).run(2, 0)

    def stop():
        return bool(list(store.work_directory(store.path_of(half, tmp_path)).glob("w002-s0.*2.safetensors")))

    with pytest.raises(KeyboardInterrupt):
        work.do([half], work.Options(root=tmp_path, device="cpu", checkpoint_seconds=0), stop=stop)
    known = command(*words, "--width", 1, "--width", 2, "--width", 3)
    assert "goes on in epoch 1 of 4" in known.stdout and "anew" in known.stdout and "w = 1" not in known.stdout
    assert "2 runs would be done, in about" in known.stdout and "on 2 CPU threads" in known.stdout
    assert not store.path_of(experiment.run(3, 0), tmp_path).exists()
    lock = locks.acquire(store.lock_path(experiment.run(3, 0), tmp_path), locks.Observer())
    assert "in progress on" in command(*words, "--width", 3).stdout
    lock.release()


def test_a_failed_run_keeps_its_log_and_the_next_attempt_removes_it(tmp_path, monkeypatch):
    run, other = tiny().runs()
    with monkeypatch.context() as broken:
        broken.setattr(evaluation.Evaluator, "volumes", lambda *_: 1 / 0)
        outcome = sweep.serial([run], root=tmp_path, device="cpu")
    ((failed, text),) = outcome.failed
    log = jobs.log_path(run, tmp_path)
    assert failed == run and "ZeroDivisionError" in text and f"Its log: {log}" in text
    assert "ZeroDivisionError" in log.read_text() and str(run) in log.read_text()
    (found,) = found_in(tmp_path)
    assert str(found) == f"failed, see {log}" and found.alive is False
    outcome = sweep.serial([run, other], root=tmp_path, device="cpu")
    assert outcome.complete == [run, other] and not log.exists() and found_in(tmp_path) == []
    assert sweep.serial([run], root=tmp_path, device="cpu").skipped == [(run, "has a record already")]


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("where", ["train_on", "epoch"])
def test_a_run_that_fails_in_training_stops_no_other(tmp_path, monkeypatch, at_once, where):
    todo = tiny(widths=[1, 2, 3]).runs()

    def broken(method):
        def fails(self, *arguments):
            model = self.model if where == "train_on" else arguments[0]
            if model.convolutions[0].out_channels == 2:
                raise RuntimeError("weights[index] are [/gone]")
            return method(self, *arguments)

        return fails

    place = loop.Trainer if where == "train_on" else evaluation.Evaluator
    monkeypatch.setattr(place, where, broken(getattr(place, where)))
    outcome = sweep.serial(todo, root=tmp_path, device="cpu", at_once=at_once)
    assert sorted(outcome.complete, key=str) == [todo[0], todo[2]]
    ((failed, text),) = outcome.failed
    assert failed == todo[1] and "weights[index] are [/gone]" in text
    monkeypatch.undo()


def test_what_went_wrong_is_printed_to_the_letter(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sweep, "serial", lambda todo, **_: watching.Outcome(failed=[(todo[0], "weights[index] are [/gone]")])
    )
    words = ["sweep", PARAMS, "--engine", "serial", "--device", "cpu", "--width", 1, "--results", tmp_path, *SETTINGS]
    result = command(*words)
    assert result.exit_code == 1 and "weights[index] are [/gone]" in result.stderr


def test_a_log_that_cannot_be_kept_there_is_kept_in_the_cache(tmp_path):
    run = tiny().run(1, 0)
    store.path_of(run, tmp_path).parent.parent.mkdir(parents=True)
    store.path_of(run, tmp_path).parent.write_text("in the way")
    ((_, text),) = sweep.serial([run], root=tmp_path, device="cpu").failed
    assert "Cannot write" in text and f"Its log: {locations.cache() / 'logs'}" in text


def test_a_run_that_another_process_took_over_is_left_to_it(tmp_path):
    """As after hours of sleep: the lock has another owner by now."""
    run, other = tiny().runs()
    said = []

    def report(run, kind, content):
        if kind == "status" and content.done == 2 and run.width == 1:
            path = store.lock_path(run, tmp_path)
            path.write_text(json.dumps(json.loads(path.read_text()) | {"token": "0" * 32, "host": "elsewhere"}))
        if kind != "status":
            said.append((run, kind, content))

    work.do([run, other], work.Options(root=tmp_path, device="cpu", checkpoint_epochs=1, at_once=2), report)
    assert [(run, kind) for run, kind, _ in said] == [(run, "skipped"), (other, "complete")]
    assert "was taken over by elsewhere" in said[0][2] and store.read(run, tmp_path) is None
    assert store.lock_path(run, tmp_path).exists()  # theirs


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_lock_of_a_machine_that_died_is_watched_while_others_are_done(tmp_path, monkeypatch, at_once):
    run, other = tiny().runs()
    path = store.lock_path(run, tmp_path)
    path.parent.mkdir(parents=True)
    locks.acquire(path, locks.Observer())
    theirs = {"machine": "another", "token": "0" * 32}  # not ours, so that nothing here keeps it alive
    path.write_text(json.dumps(json.loads(path.read_text()) | theirs))
    monkeypatch.setattr(locks, "STALE", 1.0)
    outcome = sweep.serial([run, other], root=tmp_path, device="cpu", at_once=at_once)
    assert set(outcome.complete) == {run, other} and not outcome.skipped and not path.exists()


def test_a_sweep_leaves_out_what_another_does_and_the_exit_code_tells(tmp_path):
    lock = store.lock_path(tiny().run(1, 0), tmp_path)
    lock.parent.mkdir(parents=True)
    held = locks.acquire(lock, locks.Observer())
    words = ["sweep", PARAMS, "--width", 1, "--results", tmp_path, "--workers", 1, "--device", "cpu", *SETTINGS]
    skipped = command(*words)
    assert skipped.exit_code == 0 and "w = 1, seed 0: in progress on" in skipped.stdout
    alone = subprocess.run(
        [sys.executable, "-m", "smooth_interpolation.cli", "run", PARAMS, "--width", "1", "--results", str(tmp_path), *SETTINGS],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert alone.returncode == 1 and "seed 0: in progress on" in alone.stderr and "Traceback" not in alone.stderr
    held.release()


def test_why_a_single_run_was_not_done_is_one_sentence(tmp_path, monkeypatch):
    why = "The lock x was taken over by y."
    monkeypatch.setattr(work, "do", lambda todo, options, report, **_: report(todo[0], "skipped", why))
    with pytest.raises(RecordError) as caught:
        single.measure(tiny().run(1, 0), tmp_path)
    run = tiny().run(1, 0)
    assert str(caught.value) == f"{run}: {why[:-1]}; wait for it, or look at smooth-interpolation status."


def test_a_run_stopped_by_the_batch_system_says_so_and_goes_on(tmp_path):
    words = ["run", PARAMS, "--width", "1", "--results", str(tmp_path), *SETTINGS, "--set", "epochs=100000", "--yes"]
    process = subprocess.Popen(
        [sys.executable, "-m", "smooth_interpolation.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while not list(tmp_path.rglob("*.status")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "start again to go on" in output and "Traceback" not in output, output
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1 and not list(tmp_path.rglob("*.lock"))


def test_time_that_a_stopped_run_lay_still_costs_nothing():
    origin = {
        "device": "cuda",
        "start": "2026-01-01T00:00:00+00:00",
        "resumed": [{"stopped": "2026-01-01T01:00:00+00:00", "start": "2026-01-05T00:00:00+00:00"}],
        "end": "2026-01-05T00:30:00+00:00",
    }
    assert cost.machine_seconds([{"provenance": origin}]) == 5400
    assert cost.machine_seconds([json.loads(json.dumps({"provenance": origin | {"resumed": []}}))]) == 4 * 86400 + 1800


def test_a_gpus_runs_are_predicted_from_a_gpus_records():
    experiment = config.find("gpu", "convnet-noise20")
    *_, last = display.plan([experiment.run(5, 0)], experiment.runs(), 1, "cuda", locations.repository() / "results")
    assert "1 run would be done, in about" in last
