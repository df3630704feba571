"""Files that nobody should be able to harm a machine with: params files, records, image archives, caches.

Each is a name, how to make it, and words of the one sentence that refuses it.
"""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smooth_interpolation import locations
from smooth_interpolation.config import SCHEMA
from smooth_interpolation.runs import record_format

REMOVED = object()

# Params files

PLAIN = locations.params_file("demo", "convnet-noise20").read_text()


def edited(**changes: Any) -> str:
    """The demo's params file with other values on the same lines."""
    names = [line.split(":")[0] for line in PLAIN.splitlines()]
    return "\n".join(
        f"{name}: {changes[name]}" if name in changes else line
        for name, line in zip(names, PLAIN.splitlines(), strict=True)
    )


ALIASES = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
PARAMS: list[tuple[str, str]] = [
    (edited(epochs=0), ", line 25: epochs = 0: must be at least 1."),
    (edited(epochs=2.5), ", line 25: epochs = 2.5: must be a whole number."),
    (edited(epochs=10**12), ", line 25: epochs = 1000000000000: must be at most 1,000,000."),
    (edited(path_kind="sdv"), ", line 31: path_kind = 'sdv': must be one of svd, shift; did you mean 'svd'?"),
    (edited(augment="perhaps"), ", line 26: augment = 'perhaps': must be true or false."),
    (edited(learning_rate="fast"), ", line 20: learning_rate = 'fast': must be a number."),
    (edited(widths="[1, 0]"), ", line 17: widths = [1, 0]: value 2 (0) must be at least 1."),
    (edited(widths="[1, 1000000000]"), "value 2 (1000000000) must be at most 1,024."),
    (edited(widths=3), "must be a list such as [1, 2]."),
    (edited(seeds="[0, 0]"), "must not repeat"),
    (edited(data_seed=2**40), "must be at most 2,147,483,647."),
    (edited(n_train=10**6), ", line 7: n_train and n_test can be at most 200,000 for dead_leaves."),
    (edited(n_noisy_points=300), ", line 37: n_noisy_points 300: there are 200 noisy training points"),
    (edited(n_clean_points=801), ", line 36: n_clean_points 801: there are 800 clean training points"),
    (edited(n_classes=200), ", line 6: n_classes 200: dead_leaves has 10 to 100 classes."),
    (edited(n_paths=64, strengths=list(range(1, 20))), "at most 512"),
    (edited(dataset="../../etc"), ", line 5: dataset = '../../etc': must be a name"),
    (edited(delta="1e-300"), "delta = 1e-300: must be at least 1e-06."),
    (PLAIN + "widht: 3", ", line 38: 'widht' is not known; did you mean 'widths'?"),
    (PLAIN + "epochs: 3", ", line 38: 'epochs' is there twice, first on line 25: keep one."),
    (ALIASES, ", line 1: names with & or * are not read"),
    ("a: !!python/object/apply:os.system [ls]", ", line 1: types with ! are not read"),
    ("a: " + "[" * 60_000, ", line 1: a list or mapping within another"),
    ("a: {b: 1}", "a list or mapping within another"),
    ("a: 1\n---\na: 2", ", line 2: a second document"),
    ("a: 1\nb: 2001-99-99", ", line 2: '2001-99-99' is not a value."),
    ("a: 1\nb: \x01", ", line 2: not valid YAML (a control character)"),
    ("a: " + "1" * 5000, ", line 1: a value of more than 1,000 characters."),
    ("a: 1\n" * 20_000, "it is larger than 64 KiB"),
    ("a: [1", ", line 1: not valid YAML; write one 'field: value' a line."),
    ("- 1", "write one 'field: value' a line."),
    ("", "write one 'field: value' a line."),
    ("experiment: x", "the field 'scale' is missing."),
]

# Records

DEMO = locations.repository() / "results/demo/convnet-noise20/w008-s0.json"
GOOD = DEMO.read_bytes()
ERROR = repr(json.loads(GOOD)["history"][0]["test_error"]).encode()  # a number in it
VERSION = b'"schema": %d' % SCHEMA


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The demo's record with something else at a place in it."""
    record = json.loads(GOOD)
    *way, last = place
    part = record
    for step in way:
        part = part[step]
    if value is REMOVED:
        del part[last]
    else:
        part[last] = value
    return record


def _signed(place: tuple[Any, ...], value: Any) -> bytes:
    return record_format.encode(changed(place, value))


RECORDS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "damaged or no record"),
    "half": (GOOD[: len(GOOD) // 2], "damaged or no record"),
    "a number": (b"3", "damaged or no record"),
    "a list": (b"[]", "damaged or no record"),
    "no checksum": (b"{%b}" % VERSION, "damaged or no record"),
    "not text": (b"\xff\xfe\x00", "damaged or no record"),
    "NaN": (GOOD.replace(ERROR, b"NaN"), "damaged or no record"),
    "infinity": (GOOD.replace(ERROR, b"1e999"), "damaged or no record"),
    "a digit": (GOOD.replace(ERROR, b"1" + ERROR), "checksum does not match"),
    "thousands of digits": (GOOD.replace(ERROR, b"1" * 10_000), "damaged or no record"),
    "twice the same name": (GOOD.replace(VERSION, VERSION + b", " + VERSION), "damaged or no record"),
    "deep": (b"[" * 1_000_000, "damaged or no record"),
    "deep and closed": (b'{%b, "checksum": "", "x": %b}' % (VERSION, b"[" * 900 + b"]" * 900), "checksum does not match"),
    "a million entries": (b'{"history": [' + b"{}," * 1_390_000 + b"{}]}", "damaged or no record"),
    "too large": (GOOD + b" " * (4 << 20), "larger than 4,096 KiB"),
    "another status": (_signed(("status",), "fine"), "status in it is 'fine'"),
    "an old schema": (_signed(("schema",), 1), "schema 1"),
    "no volumes": (_signed(("volumes",), None), "has no volumes"),
    "another subset": (_signed(("volumes", 3, "subset"), "odd"), "subset in row 4 of the volumes is 'odd'"),
    "half a spread": (_signed(("volumes", 3, "crossentropy"), {"mean": 1.0}), "crossentropy in row 4"),
    "a number as text": (_signed(("volumes", 3, "crossentropy", "mean"), "1.0"), "crossentropy in row 4"),
    "a list as row": (_signed(("volumes", 0), []), "row 1 of the volumes is []"),
    "half an epoch": (_signed(("history", 2, "epoch"), 2.5), "epoch in entry 3 of the history is 2.5"),
    "no test error": (_signed(("history", 2, "test_error"), None), "test_error in entry 3"),
    "a truth as number": (_signed(("history", 2, "train_error", "clean"), True), "clean of train_error in entry 3"),
    "a list as metric": (_signed(("history", 2, "note"), [1, 2]), "note in entry 3"),
    "a mapping as history": (_signed(("history",), {}), "history in it is {}"),
    "width 0": (_signed(("config", "width"), 0), "width = 0: must be at least 1"),
    "other epochs": (_signed(("config", "epochs"), 7), "digest"),
    "no batch size": (_signed(("config", "batch_size"), REMOVED), "digest"),
    "a list as configuration": (_signed(("config",), []), "config in it is []"),
    "a number as fingerprint": (_signed(("data", "fingerprint"), 5), "fingerprint in data is 5"),
    "a share of an error": (_signed(("data", "irreducible_errors"), 0.5), "irreducible_errors in data is 0.5"),
    "less than no errors": (_signed(("data", "irreducible_errors"), -1), "irreducible_errors in data is -1"),
    "no data": (_signed(("data",), REMOVED), "it has no data"),
    "no times": (_signed(("provenance", "wall_s"), REMOVED), "provenance has no wall_s"),
    "a text as time": (_signed(("provenance", "wall_s", "train"), "long"), "train of wall_s in provenance is 'long'"),
    "less than no time": (_signed(("provenance", "wall_s", "train"), -1.0), "train of wall_s in provenance is -1.0"),
    "resumed from nothing": (_signed(("provenance", "resumed"), [{}]), "entry 1 of resumed has no stopped"),
    "resumed by a number": (_signed(("provenance", "resumed"), 3), "resumed in provenance is 3"),
    "resumed without a zone": (_signed(("provenance", "resumed"), [{"stopped": "2026-01-01T00:00:00", "start": "2026-01-01T00:00:00"}]), "without its zone"),
    "no network at once": (_signed(("provenance", "at_once"), 0), "at_once in provenance is 0"),
    "another day": (_signed(("provenance", "end"), "yesterday"), "damaged"),
}  # fmt: skip

# Image archives: each starts as a good one, of two classes

Entry = tuple[str, bytes]


def png(size: tuple[int, int] = (8, 8), mode: str = "RGB", suffix: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, suffix, **options)
    return buffer.getvalue()


def _good_entries() -> list[Entry]:
    return [(f"{split}/{label}/0.png", png()) for split in ("train", "test") for label in ("cat", "dog")]


def _zip(
    *more: Entry, compression: int = zipfile.ZIP_DEFLATED, edit: Callable[[bytes], bytes] = bytes
) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there twice
            for name, content in [*_good_entries(), *more]:
                archive.writestr(zipfile.ZipInfo(name), content, compression)
        place = directory / "pets.zip"
        place.write_bytes(edit(buffer.getvalue()))
        return place

    return make


def _folder(damage: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        place = directory / "pets"
        for name, content in _good_entries():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        damage(place)
        return place

    return make


def _in_directory(offset: int, layout: str, *values: int) -> Callable[[bytes], bytes]:
    """Overwrite fields of the last entry in a zip's list of names."""

    def edit(content: bytes) -> bytes:
        at = content.rfind(b"PK\x01\x02")
        changed = bytearray(content)
        struct.pack_into(layout, changed, at + offset, *values)
        return bytes(changed)

    return edit


def _claims_many(content: bytes) -> bytes:
    at = content.rfind(b"PK\x05\x06")
    return content[: at + 10] + struct.pack("<HI", 0xFFFF, 0x7FFFFFFF) + content[at + 16 :]


def _png_header(width: int, height: int) -> bytes:
    """A PNG that says it is large, and then holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


EXTRA = "train/cat/1.png"
ANIMATED = png(suffix="PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a bomb that says so": (_zip((EXTRA, bytes(64 << 20))), "larger than 4 MiB"),
    "a bomb that lies": (_zip((EXTRA, bytes(64 << 20)), edit=_in_directory(24, "<I", 1000)), "1.png is damaged"),
    "more than deflate can": (_zip((EXTRA, b"x"), edit=_in_directory(24, "<I", 4_000_000)), "damaged or no image"),
    "a bomb by another method": (_zip((EXTRA, bytes(3 << 20)), compression=zipfile.ZIP_LZMA), "damaged or no image"),
    "a list of names without end": (_zip(edit=_claims_many), "damaged or no zip"),
    "a path upwards": (_zip(("train/../../etc/1.png", png())), "no plain path"),
    "an absolute path": (_zip(("/etc/1.png", png())), "no plain path"),
    "a path of another system": (_zip(("train\\cat\\1.png", png())), "no plain path"),
    "a name twice": (_zip(("train/cat/0.png", png())), "twice"),
    "a name with a line break": (_zip(("train/cat/a\nb.png", png())), "not printable"),
    "encrypted": (_zip((EXTRA, png()), edit=_in_directory(8, "<H", 1)), "encrypted"),
    "a zip cut short": (_zip(edit=lambda content: content[:-30]), "damaged or no zip"),
    "a zip with a hole": (_zip(edit=lambda content: content[:60] + bytes(40) + content[100:]), "damaged or no image"),
    "no zip": (_zip(edit=lambda content: b"<html>"), "damaged or no zip"),
    "empty": (_zip(edit=lambda content: b""), "damaged or no zip"),
    "30,000 x 30,000 pixels": (_zip((EXTRA, _png_header(30_000, 30_000))), "pixels: resize it first"),
    "10,000 x 10,000 pixels": (_zip((EXTRA, _png_header(10_000, 10_000))), "pixels: resize it first"),
    "600 x 600 pixels": (_zip((EXTRA, png((600, 600)))), "600 x 600 pixels: resize it first"),
    "another size": (_zip((EXTRA, png((9, 8)))), "9 x 8 pixels and train/cat/0.png is 8 x 8"),
    "half an image": (_zip((EXTRA, png((200, 200), suffix="BMP")[:5000])), "damaged or no image"),
    "text named .png": (_zip((EXTRA, b"no image")), "damaged or no image"),
    "a program named .png": (_zip((EXTRA, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")), "damaged or no image"),
    "no bytes named .png": (_zip((EXTRA, b"")), "damaged or no image"),
    "animated": (_zip((EXTRA, ANIMATED)), "animated"),
    "16 bits": (_zip((EXTRA, png(mode="I;16"))), "more than 8 bits"),
    "a class in one split": (_zip(("test/bird/0.png", png())), "'bird' is only in one"),
    "no images": (_folder(lambda place: [p.unlink() for p in place.rglob("*.png")]), "holds no images"),
    "a link to elsewhere": (_folder(lambda place: (place / EXTRA).symlink_to("/etc/passwd")), "link that leads out"),
    "a class elsewhere": (_folder(lambda place: (place / "train/all").symlink_to("/")), "link that leads out"),
    "a link in a circle": (_folder(lambda place: (place / EXTRA).symlink_to(place / EXTRA)), "pets"),
    "a pipe": (_folder(lambda place: os.mkfifo(place / EXTRA)), "damaged or no image"),
    "a sparse file": (_folder(lambda place: _sparse(place / EXTRA)), "larger than 4 MiB"),
    "a name that is no text": (_folder(lambda place: open(os.fsencode(place / "train/cat") + b"/\xff.png", "wb").close()), "not printable"),
}  # fmt: skip


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


# Sound archives that look odd


def _pixels(mode: str) -> bytes:
    return png(mode=mode)


ODD_BUT_SOUND: dict[str, Callable[[Path], Path]] = {
    "EXIF and a colour profile": _zip((EXTRA, png(suffix="PNG", exif=b"Exif\0\0" + bytes(20), icc_profile=bytes(100)))),
    "grey, palette, transparent": _zip(*((f"train/cat/{i}.png", _pixels(m)) for i, m in enumerate(("L", "P", "RGBA", "1", "LA"), 1))),
    "other files beside": _zip(("README.txt", b"hello"), ("__MACOSX/train/cat/._0.png", b"x"), ("train/cat/notes.txt", b"")),
    "a link within": _folder(lambda place: (place / EXTRA).symlink_to(place / "train/cat/0.png")),
}  # fmt: skip


def tensors_file(header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _tensor(dtype: str, shape: list[int], n: int) -> dict[str, Any]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, n]}}


TENSORS: dict[str, bytes] = {
    "empty": b"",
    "text": b"nonsense",
    "a header without end": tensors_file(b"{}", length=2**63),
    "a header of a gigabyte": tensors_file(b"{}", length=1 << 30),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "more values than bytes": tensors_file(_tensor("F32", [1 << 40], 4 << 40), bytes(16)),
    "an unknown type": tensors_file(_tensor("F33", [4], 16), bytes(16)),
    "a negative size": tensors_file(_tensor("F32", [-4], 16), bytes(16)),
    "a deep header": tensors_file(b"[" * 100_000),
    "another checksum": tensors_file({"__metadata__": {"sha256": "0" * 64}} | _tensor("F32", [4], 16), np.ones(4, "<f4").tobytes()),
}  # fmt: skip
