"""Reliability: disks that are full or cannot be written, and directories that vanish."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

from smooth_interpolation.runs import checkpoints, store, weights
from smooth_interpolation.runs.checkpoints import DiskKeeper

from . import torture
from .scenarios import Count, count, scenario


def fill_disk(room: int) -> None:
    """From now on, files of this process end at so many bytes: writing more fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def _whole(directory: Path) -> bool:
    """Nothing half-written is left."""
    return not list(directory.rglob("*.tmp"))


@scenario(
    "The disk is full when the record is written: a clear error, and with room the network is measured, not trained"
)
def full_disk_at_the_record(directory: Path, quick: bool) -> Count:
    run = torture.tiny().run(2, 0)
    reference = torture.Reference(run, directory)
    held = []
    for i in range(2 if quick else 10):
        root = directory / str(i)

        def fills(run: Any, kind: str, status: Any, room: int = 100 * i) -> None:
            if kind == "status" and status.stage == "measure":
                fill_disk(room)

        (kind, text), *more = torture.finish([run], root, hook=fills, prepared=reference.prepared)[run]
        clear = kind == "failed" and "Cannot write" in text and "measured only" in text and not more
        nothing = store.read(run, root) is None and _whole(root)
        weights.weights_path(run).rename(directory / "weights")  # training would make them again
        again = torture.finish([run], root, prepared=reference.prepared)[run]
        untrained = not weights.weights_path(run).exists()
        (directory / "weights").rename(weights.weights_path(run))
        done = again == [("complete", None)] and untrained and reference.found(root) == reference.state
        held.append(clear and nothing and done and torture.nothing_left(run, root))
    return count(held)


@scenario(
    "The disk is full when a checkpoint is written: training goes on, the one before is intact, the record the same"
)
def full_disk_at_a_checkpoint(directory: Path, quick: bool) -> Count:
    run = torture.tiny().run(2, 0)
    reference = torture.Reference(run, directory, checkpoint_epochs=1)
    held = []
    for i in range(1, 3 if quick else 8):
        root = directory / str(i)
        pipe, sender = torture.FORK.Pipe(duplex=False)

        def fills(run: Any, kind: str, status: Any, sender: Any = sender, at: int = i, root: Path = root) -> None:
            if kind == "status" and status.stage == "train" and status.done == at + 1:  # not kept yet
                fill_disk(1000)
            elif kind == "status" and status.stage == "measure":
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                sender.send([checkpoints.read_file(p)[1]["progress"]["epoch"] for p in DiskKeeper(run, root).paths()])

        options = {"checkpoint_epochs": 1, "prepared": reference.prepared}
        said = torture.finish([run], root, hook=fills, **options)
        intact = pipe.poll() and pipe.recv() == list(range(i, max(0, i - 2), -1))
        record = store.read(run, root)
        same = record is not None and {k: v for k, v in record.items() if k != "provenance"} == reference.state[0]
        held.append(said[run] == [("complete", None)] and intact and same and _whole(root))
    return count(held)


@scenario("The disk is full when the cache is written: the record is made all the same")
def full_disk_at_the_cache(directory: Path, quick: bool) -> Count:
    run = torture.tiny().run(2, 0)
    reference = torture.Reference(run, directory)
    held = []
    for i in range(1 if quick else 3):
        root, cache = directory / str(i), directory / f"cache{i}"
        said = torture.finish([run], root, hook=_lift_at_measure, room=1000, cache=cache)
        record = store.read(run, root)
        same = record is not None and {k: v for k, v in record.items() if k != "provenance"} == reference.state[0]
        held.append(said[run] == [("complete", None)] and same and not [p for p in cache.rglob("*") if p.is_file()])
    return count(held)


def _lift_at_measure(run: Any, kind: str, status: Any) -> None:
    if kind == "status" and status.stage == "measure" and status.done == status.total:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@scenario("The results' directory vanishes in training: a clear error at the end, nothing is put in its place")
def results_vanish(directory: Path, quick: bool) -> Count:
    run = torture.tiny().run(2, 0)
    reference = torture.Reference(run, directory)
    held = []
    for i in range(1, 2 if quick else 6):
        root = directory / str(i)

        def vanish(run: Any, kind: str, status: Any, at: int = i, root: Path = root) -> None:
            if kind == "status" and status.stage == "train" and status.done == at:
                shutil.rmtree(root)

        options = {"checkpoint_epochs": 1, "prepared": reference.prepared}
        [(kind, text)] = torture.finish([run], root, hook=vanish, **options)[run]
        gone = not root.exists() and weights.weights_path(run).exists()
        again = torture.finish([run], root, prepared=reference.prepared)[run]
        done = again == [("complete", None)] and reference.found(root) == reference.state
        held.append(kind == "failed" and "vanished" in text and "Traceback" not in text and gone and done)
    return count(held)


@scenario(
    "The results cannot be written (a file is in the way, or the disk is read-only): a clear error before training"
)
def results_cannot_be_written(directory: Path, quick: bool) -> Count:
    run = torture.tiny().run(2, 0)
    held = []
    for i, parents in enumerate((1, 2)):
        root = directory / str(i)
        blocked = root / Path(*run.path.parts[:parents])
        blocked.parent.mkdir(parents=True)
        blocked.write_text("in the way")
        held.append(_refused(torture.finish([run], root)[run]))
    root = directory / "read-only"
    root.mkdir()
    with _read_only(root) as mounted:
        if mounted:
            held.append(_refused(torture.finish([run], root)[run]))
    return count(held)


def _refused(said: list[tuple[str, Any]]) -> bool:
    [(kind, text)] = said
    return kind == "failed" and "Cannot write" in text and "Traceback" not in text


@contextlib.contextmanager
def _read_only(directory: Path) -> Any:
    """Mount an empty read-only file system there, where that is permitted."""
    import subprocess

    try:
        mounted = not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(directory)], capture_output=True
        ).returncode
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(directory)], check=True)
