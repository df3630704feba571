"""The command line and sweeps, as a user runs them."""

import io
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from smooth_interpolation import config, locations
from smooth_interpolation.cli import display
from smooth_interpolation.config import FIELDS
from smooth_interpolation.runs import cost, store, sweep

PARAMS = "params/demo/convnet-noise20.yaml"
TINY = [
    "n_train=100", "n_test=60", "epochs=3", "n_evaluations=2", "n_clean_points=4", "n_noisy_points=4", "strengths=[5,20]",
    "n_paths=1", "n_tangents=1",
]  # fmt: skip
SETTINGS = [word for text in TINY for word in ("--set", text)]


def records(root):
    return sorted(path.name for path in Path(root).rglob("*.json"))


def test_a_sweep_does_what_is_missing_and_nothing_else(command, tmp_path):
    first = command("run", PARAMS, "--width", 2, "--results", tmp_path, *SETTINGS)
    assert first.returncode == 0, first.stderr
    (path,) = tmp_path.rglob("*.json")
    before = path.read_bytes()
    swept = command(
        "sweep", PARAMS, "--results", tmp_path, "--width", 1, "--width", 2, "--seed", 0, "--seed", 1, *SETTINGS
    )
    assert swept.returncode == 0 and "3 complete" in swept.stdout, swept.stderr
    assert records(tmp_path) == ["w001-s0.json", "w001-s1.json", "w002-s0.json", "w002-s1.json"]
    assert path.read_bytes() == before
    assert (
        "All 4 runs"
        in command(
            "sweep", PARAMS, "--results", tmp_path, "--width", 1, "--width", 2, "--seed", 0, "--seed", 1, *SETTINGS
        ).stdout
    )
    again = command("run", PARAMS, "--width", 2, "--results", tmp_path, *SETTINGS)
    assert "measured already" in again.stdout and path.read_bytes() == before
    status = command("status", PARAMS, "--results", tmp_path, *SETTINGS)
    assert status.returncode == 0 and "missing: w = 4, 8, 16: seed 0" in status.stdout
    shown = command("show", path)
    assert "convnet of width 2" in shown.stdout and "Jacobian norm" in shown.stdout and "dead_leaves" in shown.stdout
    one = json.loads(path.read_text())
    alone, beside = (json.loads((path.parent / f"w002-s{s}.json").read_text()) for s in (0, 1))
    assert one == alone and alone["volumes"] != beside["volumes"]


def test_a_single_run_a_sweep_and_runs_side_by_side_give_the_same_record(command, tmp_path):
    command("run", PARAMS, "--width", 2, "--results", tmp_path / "a", *SETTINGS)
    command("sweep", PARAMS, "--width", 2, "--results", tmp_path / "b", "--without", "data_on_device", *SETTINGS)
    widths = ("--width", 1, "--width", 2, "--width", 3)
    together = command("sweep", PARAMS, *widths, "--results", tmp_path / "c", "--workers", 1, "--at-once", 2, *SETTINGS)
    assert together.returncode == 0 and "3 complete" in together.stdout, together.stderr
    found = [json.loads(next((tmp_path / name).rglob("w002*.json")).read_text()) for name in "abc"]
    assert [record["provenance"]["at_once"] for record in found] == [1, 1, 2]
    assert [record["provenance"]["acceleration"]["data_on_device"] for record in found] == [True, False, True]
    for record in found:
        del record["provenance"], record["checksum"]
    assert found[0] == found[1] == found[2]


def test_an_interrupted_sweep_redoes_only_what_was_unfinished(command, tmp_path):
    settings = [word for text in [*TINY, "epochs=40", "n_train=300"] for word in ("--set", text)]
    widths = ["--width", "1", "--width", "2", "--width", "4"]
    words = ["sweep", PARAMS, "--workers", "1", "--results", str(tmp_path), *widths, *settings]
    process = subprocess.Popen(
        [sys.executable, "-m", "smooth_interpolation.cli", *words],
        cwd=locations.repository(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells start background jobs without it
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while len(records(tmp_path)) < 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches the whole group
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "start again" in output and "Traceback" not in output, output
    done = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert 1 <= len(done) < 3 and not list(tmp_path.rglob("*.tmp"))
    again = command(*words)
    assert again.returncode == 0 and f"{3 - len(done)} complete" in again.stdout
    assert all(path.read_bytes() == content for path, content in done.items())


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_failed_run_does_not_stop_the_others(tmp_path, at_once):
    experiment = config.find("demo", "convnet-noise20", {"widths": [1, 2], **dict(_parsed(t) for t in TINY)})
    blocked = store.path_of(experiment.run(1, 0), tmp_path)
    blocked.mkdir(parents=True)  # a directory where the record should go
    outcome = sweep.sweep(experiment.runs(), workers=2, at_once=at_once, root=tmp_path)
    assert [run.width for run in outcome.complete] == [2] and [run.width for run, _ in outcome.failed] == [1]
    assert "Cannot read" in outcome.failed[0][1]  # before it is trained


def test_when_a_process_dies_what_it_had_not_finished_has_failed(tmp_path):
    experiment = config.find("demo", "convnet-noise20", {"widths": [1, 2], **dict(_parsed(t) for t in TINY)})
    together = sweep.sweep(experiment.runs(), workers=1, at_once=2, root=tmp_path, watch=_kill_at_start)
    assert len(together.failed) == 2 and "ended with code -9" in together.failed[0][1]


def _kill_at_start(run, kind, content):
    if kind == "status" and content.stage == "train":
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)


def _parsed(text):
    name, _, value = text.partition("=")
    return name, json.loads(value)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_has_bars_on_a_terminal_alone(tmp_path, terminal):
    experiment = config.find("demo", "convnet-noise20", dict(_parsed(t) for t in TINY))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    record = display.measure(experiment.run(1, 0), tmp_path, console, device="cpu")
    shown = console.file.getvalue()
    assert record["status"] == "complete" and bool(shown) == terminal
    assert not terminal or ("w = 1, seed 0" in shown and "1/1 runs" in re.sub(r"\x1b\[[\d;]*m", "", shown))


@pytest.mark.parametrize("every", [0.0, 3600.0])
def test_a_log_has_a_line_now_and_then(monkeypatch, tmp_path, every):
    monkeypatch.setattr(display, "EVERY", every)
    experiment = config.find("demo", "convnet-noise20", dict(_parsed(t) for t in TINY))
    console = Console(file=io.StringIO(), force_terminal=False, width=40)
    with display.bars("tiny", 1, 0, console) as watch:
        sweep.serial([experiment.run(1, 0)], root=tmp_path, device="cpu", watch=watch)
    told = [line for line in console.file.getvalue().splitlines() if line.startswith("demo/")]
    assert told[-1].endswith("w = 1, seed 0: complete")
    assert any(re.search(r"seed 0: \d+/3 epochs, loss \d", line) for line in told[:-1]) == (every == 0)


def test_time_left_is_predicted_from_the_runs_done():
    experiment = config.find("demo", "convnet-noise20")
    done = [
        {
            "status": "complete",
            "config": {"width": w},
            "provenance": {"device": "cpu", "threads": 1, "wall_s": {"train": 10.0 * w, "measure": 0.0}},
        }
        for w in (1, 4)
    ]
    predicted = cost.predict_seconds([experiment.run(w, 0) for w in (2, 8)], done)
    assert predicted == pytest.approx(20 + 80)
    assert cost.predict_seconds(experiment.runs(), []) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep", "params/demo/nothing.yaml"], "Cannot read"),
        (["sweep", PARAMS, "--set", "epohcs=3"], "did you mean 'epochs'"),
        (["sweep", PARAMS, "--set", "epochs"], "FIELD=VALUE"),
        (["sweep", PARAMS, "--set", "epochs=0"], "epochs = 0"),
        (["sweep", PARAMS, "--workers", "0"], "--workers"),
        (["run", PARAMS, "--width", "0"], "'--width': Input should be greater than or equal to 1"),
        (["run", PARAMS, "--width", "2", "--threads", "0"], "--threads"),
        (["run", PARAMS, "--width", "2", "--device", "tpu9"], "no device"),
        (["run", "params/laptop/convnet-noise20.yaml", "--width", "2", "--results", "{tmp}", "--yes"], "-p scale demo"),
        (["run", PARAMS, "--width", "2", "--threads", "many"], "'--threads': Input should be a valid integer"),
        (["run", PARAMS, "--width", str(10**12)], "less than or equal to 1024"),
        (["status", PARAMS, "--set", "epochs=[[1]]"], "--set epochs='[[1]]': a list"),
        (["status", PARAMS, "--set", "epochs="], "write a value"),
        (["status", PARAMS, "--set", "noise=symetric"], "did you mean 'symmetric'?"),
        (["status", PARAMS, "--results", "README.md"], "--results"),
        (["status", "params/demo/convnet-nois20.yaml"], "did you mean 'params/demo/convnet-noise20.yaml'?"),
        (["run", PARAMS, "--width", "2", "--device", "meta"], "no device 'meta'"),
        (["show", PARAMS], "is a params file: name a record"),
        (["figure", PARAMS, "fig2", "--output", "{tmp}/a.png"], "The figure comes first, then the params file"),
        (["figure", "fig7b", PARAMS, "--output", "{tmp}/a.png"], "has noise 'symmetric'"),
        (["figure", "fig2", "params/paper/convnet-cifar100.yaml", "--output", "{tmp}/a.png"], "measured yet"),
        (
            ["sweep", PARAMS, "--engine", "ray", "--gpus-per-run", "nan"],
            "--gpus-per-run is nan: it must be a share of one GPU",
        ),
        (["swep", PARAMS], "Did you mean 'sweep'?"),
        (["sweep", PARAMS, "--widht", "3"], "--width"),
        (["sweep"], "Missing argument"),
        (["show", "nothing.json"], "Cannot read"),
        (["sweep", PARAMS, "--results", "/proc/nowhere"], "Cannot write"),
    ],
)
def test_errors_are_one_sentence(words, message, command, tmp_path, monkeypatch):
    for name in ("https_proxy", "http_proxy"):  # a broken one stands for a machine without a network
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    result = command(*(word.format(tmp=tmp_path) for word in words))
    assert result.returncode == 1 and message in result.stderr, result.stderr
    assert result.stderr.strip().count("\n") == 0


def test_who_does_not_agree_starts_nothing(command, tmp_path, monkeypatch):
    terminal = io.StringIO("n\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    result = command("sweep", PARAMS, "--results", tmp_path, "--set", "epochs=9999", "--device", "cpu")
    assert "Do it? [y/N]" in result.stdout and result.stderr == "Nothing was started.\n" and result.returncode == 1
    assert records(tmp_path) == []


def test_an_error_of_the_process_is_one_sentence():
    result = process("sweep", "params/demo/nothing.yaml")
    assert result.returncode == 1 and result.stderr.startswith("Error: Cannot read") and not result.stdout
    assert result.stderr.strip().count("\n") == 0


def test_help_names_commands_and_options(command):
    said = process("--help").stdout
    assert all(name in said for name in ("run", "sweep", "status", "show", "claims", "params/demo"))
    assert "FIELD=VALUE" in command("sweep", "--help").stdout


def process(*words):
    arguments = [sys.executable, "-m", "smooth_interpolation.cli", *words]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=locations.repository(), timeout=300)


def test_every_field_can_be_set():
    values = config.find("demo", "convnet-noise20").model_dump(mode="json")
    for field in FIELDS:
        if field not in ("experiment", "scale"):
            config.load(locations.repository() / PARAMS, {field: values[field]})


def test_what_only_looks_at_files_starts_without_pytorch():
    code = f"import sys; from smooth_interpolation import cli; cli.app(['status', '{PARAMS}'], standalone_mode=False)"
    code += "; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=locations.repository(), capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
