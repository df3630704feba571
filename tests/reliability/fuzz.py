"""`python -m tests.reliability.fuzz --seconds 60`: what is read from files, fed with whatever a coverage-guided fuzzer (atheris) invents.

A target takes bytes and puts them through one reader. That it returns, or raises an error of one sentence, is right;
anything else, ten seconds or 2 GB of memory for one input, is a find, and kept in `--output`. Each target has a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PLACE = "SMOOTH_INTERPOLATION_FUZZ"  # where a fuzzer's process puts its files, for it ends without tidying up
GUIDED = "--guided"  # this process is the fuzzer's
if GUIDED in sys.argv:  # before anything that is to be watched is imported
    import atheris

    for name in ("smooth_interpolation", "yaml", "zipfile"):
        atheris.instrument_imports(include=[name]).__enter__()

import torch  # noqa: E402

from smooth_interpolation import config, files  # noqa: E402
from smooth_interpolation.cli import display  # noqa: E402
from smooth_interpolation.data import image_folders  # noqa: E402
from smooth_interpolation.errors import UserError  # noqa: E402
from smooth_interpolation.runs import checkpoints, cost, locks, record_format, store, tables, watching  # noqa: E402

from . import hostile  # noqa: E402

Target = Callable[[bytes], bool]  # whether the input was accepted; any error is a find


@functools.cache
def place() -> Path:
    """A directory for the files that are read."""
    return Path(os.environ.get(PLACE) or tempfile.mkdtemp(prefix="fuzz"))


def accepts(read: Callable[[], Any], *kinds: type[Exception]) -> bool:
    """Whether something is read; if it is refused, then in one sentence."""
    try:
        read()
    except (UserError, *kinds) as error:
        assert str(error).strip() and "\n" not in str(error), f"not one sentence: {error!s:.200}"
        return False
    return True


def _file(name: str, content: bytes) -> Path:
    path = place() / name
    path.write_bytes(content)
    return path


def params(content: bytes) -> bool:
    return accepts(lambda: config.load(_file("x.yaml", content)).runs()[:3])


def record(content: bytes) -> bool:
    return accepts(lambda: use(store.read_file(_file("record.json", content))))


def signed_record(content: bytes) -> bool:
    """JSON that has the right checksum, whatever it says."""
    try:
        signed = record_format.encode(json.loads(content))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False
    return record(signed)


def use(record: record_format.Record) -> None:
    """What is done with a record once it is believed."""
    tables.volumes_table([record])
    store.interpolation_threshold(tables.history_table([record]))
    cost.machine_seconds([record])
    list(display.record_summary(record))


def checkpoint(content: bytes) -> bool:
    path = _file("x.safetensors", content)
    return accepts(lambda: checkpoints.read(path, _run(), "f" * 64), ValueError)


def signed_checkpoint(content: bytes) -> bool:
    """The text of a checkpoint whose checksum is right, whatever it says."""
    try:
        text = json.loads(content)
        signed = sign_checkpoint(text)
    except (ValueError, TypeError, RecursionError):
        return False
    return checkpoint(signed)


@functools.cache
def _run() -> config.Run:
    return config.find("demo", "convnet-noise20").run(1, 0)


@functools.cache
def good_checkpoint() -> bytes:
    path = place() / "good.safetensors"
    state = checkpoints.State(
        epoch=3,
        step=90,
        done=None,
        history=[],
        seconds={"train": 1.0},
        cpu_seconds=1.0,
        networks=3.0,
        origin={"device": "cpu"},
        stopped="2026-01-01T00:00:00+00:00",
    )
    checkpoints.write(path, {"sums": torch.zeros(2), "model.x": torch.ones(3, 4)}, state, _run(), "f" * 64)
    return path.read_bytes()


def checkpoint_text() -> dict[str, Any]:
    _file("text.safetensors", good_checkpoint())
    return checkpoints.read_file(place() / "text.safetensors")[1]


def sign_checkpoint(text: Any) -> bytes:
    """A checkpoint file with this text and a right checksum."""
    import hashlib

    from safetensors.torch import save

    content = save({"sums": torch.zeros(2)}, {"checkpoint": json.dumps(text), "checksum": checkpoints.UNSIGNED})
    signature = hashlib.sha256(content).hexdigest().encode()
    return content.replace(checkpoints.UNSIGNED.encode(), signature, 1)


def tensors(content: bytes) -> bool:
    path = _file("y.safetensors", content)
    return accepts(lambda: files.read_tensors(path), ValueError)


def archive(content: bytes) -> bool:
    path = _file("pets.zip", content)
    return accepts(lambda: image_folders.read(image_folders.find(path)))


def image(content: bytes) -> bool:
    _file("0.png", content)
    return accepts(lambda: image_folders.read_image(place(), None, "0.png"))


def status(content: bytes) -> bool:
    work = store.work_directory(place() / "record")
    work.mkdir(exist_ok=True)
    (work / "w001-s0.status").write_bytes(content)
    return bool([f"{found} {found.seconds_left}" for found in watching.under_way(place())])


def lock(content: bytes) -> bool:
    path = _file("w001-s0.lock", content)
    state, owner = locks.Observer().state(path)
    return bool(f"{state} {owner}") and state in ("alive", "dead")


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (params, record, signed_record, checkpoint, signed_checkpoint, tensors, archive, image, status, lock)
}


@functools.cache
def seeds(target: str) -> list[bytes]:
    """Inputs to start from: sound ones, and the hostile ones that are not large."""
    found: dict[str, list[bytes]] = {
        "params": [text.encode() for text in (hostile.PLAIN, *(text for text, _ in hostile.PARAMS))],
        "record": [hostile.GOOD, *(content for content, _ in hostile.RECORDS.values())],
        "signed_record": [json.dumps(short_record()).encode()],
        "checkpoint": [good_checkpoint()],
        "signed_checkpoint": [json.dumps(checkpoint_text()).encode()],
        "tensors": [*hostile.TENSORS.values(), good_checkpoint()],
        "image": [hostile.png(suffix=kind) for kind in image_folders.FORMATS] + [hostile.ANIMATED, hostile.png(mode="P")],
        "status": [_status_file()],
        "lock": [locks.here().model_dump_json().encode()],
        "archive": [],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        for make in (hostile._zip(), *hostile.ODD_BUT_SOUND.values()):
            path = make(Path(tempfile.mkdtemp(dir=name)))
            found["archive"] += [path.read_bytes()] if path.is_file() else []
    return [content for content in found[target] if len(content) < 100_000]


def short_record() -> record_format.Record:
    """The demo's record with two epochs and three rows of volumes."""
    whole = json.loads(hostile.GOOD)
    return whole | {"history": whole["history"][:2], "volumes": whole["volumes"][:3]}


def _status_file() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        store.work_directory(store.path_of(_run(), root)).mkdir(parents=True)
        kept = watching.StatusFile(_run(), root)
        kept.stop()
        return kept.path.read_bytes()


def fuzz(target: str, seconds: int, output: Path) -> dict[str, Any]:
    """Feed one target in a process of its own: executions, finds, and how far it got."""
    output.mkdir(parents=True, exist_ok=True)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with _corpus(target) as corpus, tempfile.TemporaryDirectory(dir=memory) as files_at:
        command = [
            sys.executable,
            "-m",
            f"{__package__}.fuzz",
            GUIDED,
            target,
            str(corpus),
            f"-max_total_time={seconds}",
        ]
        command += [
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=70000",
            "-print_final_stats=1",
            f"-artifact_prefix={output}/{target}-",
        ]
        log = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds * 4 + 300,
            env=os.environ | {PLACE: files_at},
        )
    executions = re.findall(r"number_of_executed_units: (\d+)|^#(\d+)\t", log.stderr, flags=re.M)
    covered = re.findall(r"cov: (\d+)", log.stderr)
    found = {"target": target, "seconds": seconds, "executions": max((int(a or b) for a, b in executions), default=0)}
    found |= {"finds": int(log.returncode != 0), "covered": int(covered[-1]) if covered else 0}
    if log.returncode:
        print(log.stderr[-3000:] + log.stdout[-2000:])
    return found


@contextlib.contextmanager
def _corpus(target: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        for i, content in enumerate(seeds(target)):
            (Path(name) / f"{i}").write_bytes(content)
        yield Path(name)


def _guided(target: str, arguments: list[str]) -> None:
    import logging

    logging.disable()
    atheris.Setup([sys.argv[0], *arguments], lambda content: TARGETS[target](content) and None)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--only", action="append", choices=TARGETS, help="this target alone; can be repeated")
    parser.add_argument("--output", type=Path, default=Path(tempfile.gettempdir(), "smooth-interpolation-finds"))
    arguments = parser.parse_args()
    finds = 0
    for target in arguments.only or TARGETS:
        found = fuzz(target, arguments.seconds, arguments.output)
        finds += found["finds"]
        print(*(f"{name} {value:,}" if isinstance(value, int) else value for name, value in found.items()), flush=True)
    sys.exit(f"{finds} finds, in {arguments.output}" if finds else 0)


if __name__ == "__main__":
    if GUIDED in sys.argv:
        at = sys.argv.index(GUIDED)
        _guided(sys.argv[at + 1], sys.argv[at + 2 :])
    else:
        main()
