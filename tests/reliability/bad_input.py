"""Bad input, counted for the table of `scenarios`: what is refused, and that nothing but a sentence comes of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from smooth_interpolation import config, files
from smooth_interpolation.data import image_folders
from smooth_interpolation.errors import UserError
from smooth_interpolation.runs import store

from . import fuzz, hostile
from .scenarios import Count, count, scenario


@scenario("A damaged or hostile params file, record, image archive or cache is read: refused in one sentence, at once")
def hostile_files_are_refused(directory: Path, quick: bool) -> Count:
    return count(_refused(*case) for case in _hostile(directory))


def _hostile(directory: Path) -> Iterator[tuple[Callable[[], object], str]]:
    """How to read each of the files, and words of the sentence that refuses it."""
    for i, (text, words) in enumerate(hostile.PARAMS):
        path = directory / f"{i}.yaml"
        path.write_text(text)
        yield partial(config.load, path), words
    for i, (content, words) in enumerate(hostile.RECORDS.values()):
        path = directory / f"{i}.json"
        path.write_bytes(content)
        yield partial(store.read_file, path), words
    for i, (make, words) in enumerate(hostile.ARCHIVES.values()):
        place = directory / f"archive{i}"
        place.mkdir()
        yield partial(lambda made: image_folders.read(image_folders.find(made)), make(place)), words
    for i, content in enumerate(hostile.TENSORS.values()):
        path = directory / f"{i}.safetensors"
        path.write_bytes(content)
        yield partial(files.read_tensors, path), ""


def _refused(read: Callable[[], object], words: str) -> bool:
    began = time.perf_counter()
    try:
        read()
    except (UserError, ValueError) as error:
        return words in str(error) and "\n" not in str(error) and time.perf_counter() - began < 10
    return False


@scenario("A sound file with random bytes changed, removed or repeated is read: accepted, or refused in one sentence")
def mutated_files_end_in_a_sentence(directory: Path, quick: bool) -> Count:
    generator = random.Random(0)
    return count(
        _survives(fuzz.TARGETS[target], _mutated(generator.choice(fuzz.seeds(target)), generator))
        for target in fuzz.TARGETS
        for _ in range(20 if quick else 2000)
    )


def _mutated(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        at, length = generator.randrange(len(changed) + 1), generator.choice((1, 1, 2, 8, 100))
        changed[at : at + length] = generator.choice((b"", generator.randbytes(length), changed[at : at + length] * 2))
    return bytes(changed)


def _survives(target: fuzz.Target, content: bytes) -> bool:
    try:
        target(content)
    except Exception:
        return False
    return True


@scenario(
    "A coverage-guided fuzzer's inputs are read, for half a minute a reader: accepted, or refused in one sentence"
)
def fuzzed_inputs_end_in_a_sentence(directory: Path, quick: bool) -> Count:
    found = [fuzz.fuzz(target, 1 if quick else 30, directory) for target in fuzz.TARGETS]
    tried = sum(row["executions"] for row in found)
    return Count(tried, tried - sum(row["finds"] for row in found))
