"""Reliability: runs that are killed or stopped, and checkpoints that are damaged."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from smooth_interpolation.runs import store, sweep, watching, work
from smooth_interpolation.runs.checkpoints import DiskKeeper

from . import torture
from .scenarios import Count, count, scenario


def moments(n: int, seconds: float) -> Iterator[float]:
    """Random moments of a run that takes so long, the same whenever this is called: one in each n-th part."""
    draw = random.Random(0)
    parts = list(range(n))
    draw.shuffle(parts)
    return ((part + draw.random()) / n * seconds for part in parts)


def _stopped_and_resumed(directory: Path, n: int, number: int, codes: set[int]) -> Iterator[bool]:
    """Each time: a run that gets a signal at a random moment, and is started again."""
    run = torture.tiny().run(2, 0)
    reference = torture.Reference(run, directory, checkpoint_seconds=0)
    for i, moment in enumerate(moments(n, reference.seconds)):
        # After every step, and so within epochs; or after every third epoch, so that much is done again.
        options = {"checkpoint_seconds": 0} if i % 2 else {"checkpoint_epochs": 3}
        root = directory / str(i)
        code = torture.killed([run], root, moment, number, prepared=reference.prepared, **options)
        said = torture.finish([run], root, prepared=reference.prepared, **options)
        kinds = {kind for kind, _ in said[run]}
        done = kinds <= {"complete", "skipped"} and reference.found(root) == reference.state
        # Where it was killed once its record was there, what it could not remove is there too.
        yield code in codes and done and (kinds == {"skipped"} or torture.nothing_left(run, root))


@scenario(
    "A run killed (SIGKILL) at a random moment and started again gives the uninterrupted run's record and weights"
)
def killed_and_resumed(directory: Path, quick: bool) -> Count:
    return count(_stopped_and_resumed(directory, 20 if quick else 60, signal.SIGKILL, {-signal.SIGKILL, 0}))


@scenario("A run stopped by SIGTERM or SIGINT at a random moment, in good order, and started again gives the same")
def stopped_and_resumed(directory: Path, quick: bool) -> Count:
    n = 3 if quick else 15
    found = [
        count(_stopped_and_resumed(directory / str(number), n, number, {130, 0, -number}))
        for number in (signal.SIGTERM, signal.SIGINT)
    ]
    return found[0] + found[1]


@scenario("SIGTERM within an epoch leaves a checkpoint of that step")
def a_signal_leaves_a_checkpoint(directory: Path, quick: bool) -> Count:
    run = torture.tiny(epochs=100_000, n_evaluations=2).run(1, 0)
    held = []
    for i in range(2 if quick else 10):
        code = torture.killed([run], directory / str(i), 2.0 + 0.1 * i, signal.SIGTERM)
        held.append(code == 130 and len(DiskKeeper(run, directory / str(i)).paths()) == 1)
    return count(held)


def _sweep_of_one(run: Any, root: Path) -> None:
    """What the process of a sweep is to its worker: the parent."""
    ours, theirs = torture.FORK.Pipe()
    for content in (run, None):  # and no more
        ours.send(content)
    options = work.Options(root=root, device="cpu")
    torture.start(sweep._work, options, theirs, os.getpid()).join()


@scenario("The process of a sweep is killed: its worker leaves a checkpoint and no lock, and ends")
def the_sweep_itself_is_killed(directory: Path, quick: bool) -> Count:
    run = torture.tiny(epochs=100_000, n_evaluations=2).run(1, 0)
    held = []
    for i in range(1 if quick else 10):
        root = directory / str(i)
        parent = torture.start(_sweep_of_one, run, root)
        lock = store.lock_path(run, root)
        torture.wait_for(lambda root=root: any(f.alive and f.stage == "train" for f in _found(run, root)))
        parent.kill()
        parent.join()
        torture.wait_for(lambda lock=lock: not lock.exists())
        held.append(len(DiskKeeper(run, root).paths()) == 1)
    return count(held)


def _found(run: Any, root: Path) -> list[watching.Found]:
    return list(watching.under_way(store.path_of(run, root).parent))


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _flip(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _zeros(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes(len(content) - place)


@scenario(
    "A checkpoint cut short, with one bit flipped or ending in zeros: the one before is taken, the record is the same"
)
def damaged_checkpoint(directory: Path, quick: bool) -> Count:
    run = torture.tiny().run(2, 0)
    reference = torture.Reference(run, directory, checkpoint_epochs=1)
    begun = directory / "begun"
    half: dict[str, bytes] = {}

    def copy(run: Any, kind: str, status: Any) -> None:
        if kind == "status" and status.stage == "train" and status.done == 6 and not half:
            half.update({p.name: p.read_bytes() for p in DiskKeeper(run, begun).paths()})
            for name, content in half.items():
                (directory / name).write_bytes(content)

    torture.finish([run], begun, hook=copy, checkpoint_epochs=1, prepared=reference.prepared)
    kept = sorted(directory.glob("*.safetensors"))
    draw = random.Random(0)
    harms: list[Callable[[bytes, random.Random], bytes]] = [_cut, _flip, _zeros]
    held = []
    for i in range(3 if quick else 30):
        root = directory / str(i)
        work = DiskKeeper(run, root).directory
        work.mkdir(parents=True)
        for path in kept:
            (work / path.name).write_bytes(path.read_bytes())
        newest = work / kept[-1].name
        newest.write_bytes(harms[i % 3](newest.read_bytes(), draw))
        epochs: list[int] = []
        pipe, sender = torture.FORK.Pipe(duplex=False)

        def first_epoch(run: Any, kind: str, status: Any, sender: Any = sender) -> None:
            if kind == "status" and status.stage == "train":
                sender.send(status.done)

        torture.finish([run], root, hook=first_epoch, prepared=reference.prepared)
        while pipe.poll():
            epochs.append(pipe.recv())
        fell_back = epochs[:1] == [_epoch_of(kept[-2]) + 1]
        held.append(len(kept) == 2 and fell_back and reference.found(root) == reference.state)
    return count(held)


def _epoch_of(path: Path) -> int:
    from smooth_interpolation.runs import checkpoints

    return int(checkpoints.read_file(path)[1]["progress"]["epoch"])
