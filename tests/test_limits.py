"""A limit of time: what ends before it, what is left, and going on from that elsewhere."""

import os
import shlex
import shutil
import subprocess
import sys
import time

import pytest
import torch

from smooth_interpolation import config, locations
from smooth_interpolation.cli import options
from smooth_interpolation.errors import ConfigError
from smooth_interpolation.runs import resources, single, store, sweep, work
from smooth_interpolation.runs.checkpoints import DiskKeeper
from smooth_interpolation.train import models

TINY = {
    "n_train": 160, "n_test": 40, "batch_size": 64, "epochs": 30, "n_evaluations": 2, "n_clean_points": 4,
    "n_noisy_points": 4, "strengths": [5, 20], "n_paths": 1, "n_tangents": 1,
}  # fmt: skip
PARAMS = "params/demo/convnet-noise20.yaml"


def tiny(**changes):
    return config.find("demo", "convnet-noise20", {**TINY, **changes})


def without_origin(record):
    return {key: value for key, value in record.items() if key != "provenance"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("9m", 540), ("1h30m", 5400), ("600", 600), ("1.5h", 5400), ("1h 5min 10s", 3910), ("20", 20)],
)
def test_times_are_read(text, seconds):
    assert options.parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "9x", "m", "-9m", "9", "1m1h", "1e3", "nan", "400d", "9999h", "\n", "9m9m", "19.9"]
)
def test_nonsense_is_refused_in_a_sentence(text):
    with pytest.raises(ConfigError, match=r"^--time-limit .*: write a time such as 90s, 9m or 1h30m, from 20 seconds"):
        options.parse_time(text)


def test_time_is_left_for_what_took_longest(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(resources.time, "monotonic", lambda: now[0])
    limit = resources.Limit(100.0)
    limit.networks = 4
    now[0] = 3.0
    assert not limit.up() and limit.busy == 3  # an epoch of a GPU
    limit.wrote(1.0)
    limit.wrote(0.5)
    limit.began(20.0)
    stop = 100 - resources.SPARE - 3 - 2 * 4 * 1.0
    now[0] = 4.0
    while now[0] < stop - 2:
        now[0] += 2.0
        assert not limit.up() and limit.too_short_to_begin() == (now[0] + 20 >= stop)
    now[0] = stop
    assert limit.up() and limit.reached
    assert not resources.Limit().up() and not resources.Limit().too_short_to_begin()


def test_what_is_done_in_this_process_ends_in_time_too(tmp_path):
    warm = tiny(epochs=1, widths=[1, 2]).runs()  # imports and images take seconds where much else is done
    sweep.serial(warm, root=tmp_path / "warm", device="cpu", at_once=2)
    todo = tiny(epochs=1_000_000, widths=[1, 2]).runs()
    until = time.monotonic() + resources.SPARE + 5
    outcome = sweep.serial(todo, root=tmp_path, device="cpu", at_once=2, until=until, checkpoint_seconds=0.5)
    assert time.monotonic() < until and outcome.left == todo
    for run in todo:
        (kept,) = DiskKeeper(run, tmp_path).paths()  # one where there is a limit
        assert kept.stat().st_size < 100_000
    assert not list(tmp_path.rglob("*.lock"))
    with pytest.raises(resources.TimeUp):  # and is not begun for nothing
        work.do(todo, work.Options(root=tmp_path, device="cpu", until=time.monotonic()))


def test_a_process_that_cannot_stop_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "SPARE", -1e6)  # of this process alone: it waits until the last moment
    todo = tiny(epochs=1_000_000, widths=[1, 2]).runs()
    until = time.monotonic() + resources.LAST + 0.5  # while they are starting
    outcome = sweep.sweep(todo, workers=1, root=tmp_path, device="cpu", until=until)
    assert sorted(outcome.left, key=todo.index) == todo and time.monotonic() < until


def test_the_command_ends_before_its_limit_and_says_how_to_go_on(tmp_path):
    """A sweep by processes and a single run, at the same time; where much else is done, a short limit ends before training begins."""
    assert any(_ends_in_time(tmp_path / f"{limit}", limit) for limit in (30, 120))


def _ends_in_time(root, limit):
    """Whether both had begun to train, and left the checkpoint of what they had begun, one each."""
    settings = [word for name, value in {**TINY, "epochs": 900_000}.items() for word in ("--set", f"{name}={value}")]
    engines = {
        "processes": ["sweep", PARAMS, "--width", "1", "--width", "2", "--workers", "1", *settings],
        "run": ["run", PARAMS, "--width", "1", *settings],
    }
    started = {}
    for engine, words in engines.items():
        words += ["--results", str(root / engine / "my results"), "--device", "cpu", "--time-limit", f"{limit}s"]
        started[engine] = time.monotonic(), _begun(*words)
    ended = {
        engine: (process.communicate(timeout=200)[1], time.monotonic()) for engine, (_, process) in started.items()
    }
    for engine, (begun, process) in started.items():
        said, end = ended[engine]
        assert process.returncode == 75 and "Traceback" not in said, said
        assert end - begun < limit
        left = "2 of 2 runs are left" if engine == "processes" else "the run is left"
        said, again = said.split("To go on: ")
        assert left in said and shlex.split(again) == ["python", "-m", "smooth_interpolation.cli", *engines[engine]]
    kept = [len(list((root / engine).rglob("*.safetensors"))) for engine in engines]
    assert max(kept) <= 1
    if not all(kept):
        return False
    for engine in engines:
        place = root / engine / "my results"
        status = _begun("status", PARAMS, *settings, "--results", str(place), COLUMNS="200")
        assert "start again to go on" in status.communicate(timeout=200)[0]
    return True


def _begun(*words, **variables):
    return subprocess.Popen(
        [sys.executable, "-m", "smooth_interpolation.cli", *words],
        cwd=locations.repository(), env={**os.environ, **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _documented_commands(directory):
    """How the page says that the records of an experiment are moved: packed here, unpacked there."""
    text = (locations.repository() / "book/reproduce.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("tar ")]
    assert [line.split()[1] for line in lines] == ["czf", "xzf"] and lines[0].endswith("results/gpu/convnet-noise20")
    return [line.replace("results/gpu/convnet-noise20", str(directory)) for line in lines]


def _half_done(todo, root, **options):
    """A sweep stopped when one run is done and another is in the first half of its epochs, so that it is stopped in them."""
    done = set()

    def watch(run, kind, content):
        if kind == "complete":
            done.add(run)
        elif done and kind == "status" and content.stage == "train" and content.done < content.total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(todo, root=root, watch=watch, **options)


def test_a_half_done_sweep_is_moved_and_goes_on_elsewhere(tmp_path):
    """With another number of workers, to the same bits."""
    todo = tiny(widths=[1, 2, 3], epochs=90).runs()
    here, there = tmp_path / "here", tmp_path / "there"
    _half_done(todo, here / "results", devices=["cpu", "cpu"], device="cpu", at_once=1)
    done = [run for run in todo if store.read(run, here / "results")]
    begun = [run for run in todo if DiskKeeper(run, here / "results").paths()]
    assert done and begun and len(done) < len(todo)
    stale = store.lock_path(begun[0], here / "results")  # of a machine that is gone
    stale.write_text('{"host": "gone", "pid": 7, "machine": "another", "started": "1", "token": "%s"}' % ("a" * 32))
    there.mkdir()
    pack, unpack = _documented_commands(store.path_of(todo[0], here / "results").parent.relative_to(here))
    subprocess.run(["bash", "-c", pack], cwd=here, check=True)
    (archive,) = here.glob("*.tar.gz")
    shutil.move(archive, there)
    shutil.rmtree(here)
    subprocess.run(["bash", "-c", unpack], cwd=there, check=True)
    assert not list(there.rglob("*.lock"))
    begun_again = time.monotonic()
    outcome = sweep.sweep([run for run in todo if run not in done], workers=1, root=there / "results", device="cpu")
    assert len(outcome.complete) == len(todo) - len(done) and time.monotonic() - begun_again < 100
    for run in todo:
        record = store.read(run, there / "results")
        assert without_origin(record) == without_origin(single.run(run, device="cpu"))
        assert bool(record["provenance"]["resumed"]) == (run in begun)


@pytest.mark.parametrize("devices", [("cpu", "cpu"), ("cpu", "cuda", "cpu")])
def test_a_checkpoint_is_of_no_device(tmp_path, devices):
    if "cuda" in devices and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    epochs = 2 * len(devices)
    todo = tiny(widths=[2], augment=True, epochs=epochs).runs()
    for i, device in enumerate(devices):
        left = iter([False] * (1 if device == "cuda" else 4))  # epochs there, steps here: 3 an epoch
        last = i == len(devices) - 1
        stop = (lambda: False) if last else (lambda left=left: next(left, True))
        try:
            work.do(todo, work.Options(root=tmp_path, device=device), stop=stop)
            assert last
        except KeyboardInterrupt:
            assert not last
    record, alone = store.read(todo[0], tmp_path), single.run(todo[0], device="cpu")
    if "cuda" not in devices:
        assert without_origin(record) == without_origin(alone)
    for ours, theirs in zip(record["history"], alone["history"], strict=True):
        assert ours["train_crossentropy"] == pytest.approx(theirs["train_crossentropy"], rel=1e-2)
    assert len(record["provenance"]["resumed"]) == len(devices) - 1


def test_the_checkpoint_of_the_widest_network_of_the_paper_is_small(tmp_path):
    run = tiny(epochs=1).run(64, 0)
    asked = iter([False])
    with pytest.raises(KeyboardInterrupt):
        work.do([run], work.Options(root=tmp_path, device="cpu"), stop=lambda: next(asked, True))
    (path,) = DiskKeeper(run, tmp_path).paths()
    weights = 4 * sum(p.numel() for p in models.create("convnet", 64, 10, 0).parameters())
    assert path.stat().st_size < 2 * weights + 100_000  # with their momentum: 12 MiB
