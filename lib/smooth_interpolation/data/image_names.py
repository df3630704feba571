"""The images of a folder or zip by name, in classes and splits: what is read, and what is not, which is said.

One reader for whoever takes images: `<split>/<class>/*`, or `<class>/*` without splits. Hidden names (`.ipynb_checkpoints`,
`._x.png`, `__MACOSX`) are passed over. A class is never dropped, since that would renumber those after it: a folder without
an image, or a link to nothing, is refused by name. Whatever else is left out is counted in one warning.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
import struct
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import DataError

log = logging.getLogger(__name__)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp"}
SPLITS = ("train", "test")
SPLIT_NAMES = {*SPLITS, "training", "testing", "val", "valid", "validation", "dev"}
MAX_BYTES = 4 << 20  # of one image's file
MAX_ENTRIES = 1_000_000  # of a folder or zip
MAX_DIRECTORY = 128 << 20  # bytes of a zip's list of names
DEFLATE = 1032  # times as large, at most, as what it was compressed to


class Entry(NamedTuple):
    """An image below a folder or in a zip."""

    name: str  # "train/cat/0.png"
    size: int  # bytes
    changed: int  # ns, of the file's content; 0 in a zip, whose own time says it


class _Item(NamedTuple):
    """Anything that is there."""

    name: str
    folder: bool
    size: int = 0
    changed: int = 0


@dataclass(frozen=True)
class Listing:
    """What is read of a folder or zip."""

    place: Path
    entries: tuple[Entry, ...]  # by name
    classes: dict[str, tuple[str, ...]]  # of each split, by name; "" where there are no splits


def read(place: Path, splits: tuple[str, ...] = SPLITS) -> Listing:
    """List the images of a folder or zip; `splits=()` for one that holds classes only.

    Raises:
        DataError: for anything that cannot be read safely and whole, by name.
    """
    splits = splits or ("",)
    try:
        items = list(_in_folder(place, splits) if place.is_dir() else _in_zip(place))
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}.") from None
    found, left_out = _sorted(place, items, splits)
    for name, size, _ in found:
        if not name.isprintable():
            raise DataError(f"{place}: the name {name!r:.80} is not printable: rename it.")
        if size > MAX_BYTES:
            raise DataError(f"{place}: {name} is larger than {MAX_BYTES >> 20} MiB: resize it first.")
    _check_layout(place, items, splits)
    classes = {split: _classes(place, items, found, split) for split in splits}
    if left_out:
        say(f"{place}: left out are {'; '.join(_counted(*kind) for kind in sorted(left_out.items()))}.")
    return Listing(place, tuple(sorted(found)), classes)


def _counted(kind: str, names: set[str]) -> str:
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in sorted(names))
    which = f": {', '.join(f'{n} {suffix}' for suffix, n in suffixes.most_common(3))}" if kind == FORMAT else ""
    return f"{kind} ({len(names):,}{which}, such as {min(names)!r:.80})"


@functools.cache
def say(text: str) -> None:
    """Once in a process, however often it reads a folder."""
    log.warning("%s", text)


FORMAT = "files of other formats"


def _sorted(place: Path, items: Iterable[_Item], splits: tuple[str, ...]) -> tuple[list[Entry], dict[str, set[str]]]:
    """The images, and everything else by what it is."""
    found: list[Entry] = []
    left_out: defaultdict[str, set[str]] = defaultdict(set)
    depth = 2 if splits == ("",) else 3
    for item in items:
        parts = PurePosixPath(item.name).parts
        image = PurePosixPath(item.name).suffix.lower() in SUFFIXES
        if depth == 3 and parts[0] not in splits:
            left_out["names beside train/ and test/"].add(parts[0])
        elif len(parts) > depth:
            left_out["folders within a class"].add("/".join(parts[:depth]))
        elif len(parts) < depth:
            if not item.folder:
                left_out["files in no class"].add(item.name)
        elif item.folder:
            if image:
                raise DataError(f"{place}: {item.name} is no file: remove it.")
            left_out["folders within a class"].add(item.name)
        elif image:
            found.append(Entry(item.name, item.size, item.changed))
        else:
            left_out[FORMAT].add(item.name)
    return found, left_out


def _check_layout(place: Path, items: Iterable[_Item], splits: tuple[str, ...]) -> None:
    """Refuse a dataset that lacks a split, and splits where there should be classes."""
    folders = {PurePosixPath(i.name).parts[0] for i in items if i.folder or "/" in i.name}
    shown = ", ".join(f"{repr(name)[1:-1]:.40}/" for name in sorted(folders)[:5]) + (
        ", ..." if len(folders) > 5 else ""
    )
    if splits == ("",):
        if folders and {name.lower() for name in folders} <= SPLIT_NAMES:
            raise DataError(f"{place} holds {shown}, which are splits and no classes: name one of them.")
        return
    lacking = [split for split in splits if split not in folders]
    others = sorted(name for name in folders - set(splits) if name.lower() in SPLIT_NAMES)
    if lacking:
        hint = f": rename {others[0]}/ to {lacking[0]}/ if that is what it is" if others else ""
        raise DataError(
            f"{place} holds {shown or 'no folder'}{' but' if folders else ' and'} no {'/ and no '.join(lacking)}/{hint or ': it needs train/<class>/* and test/<class>/*'}."
        )


def _classes(place: Path, items: Iterable[_Item], found: list[Entry], split: str) -> tuple[str, ...]:
    """The names of a split's classes, each of which has an image."""
    at = 1 if split else 0
    paths = [(PurePosixPath(i.name).parts, i.folder) for i in items]
    there = {p[at] for p, folder in paths if (not split or p[0] == split) and len(p) > at + (0 if folder else 1)}
    filled = {PurePosixPath(e.name).parts[at] for e in found if not split or e.name.startswith(f"{split}/")}
    under = f"{split}/" if split else ""
    if not filled:
        raise DataError(f"{place} holds no images under {under}<class>/*.")
    if empty := sorted(there - filled):
        raise DataError(
            f"{place}: {under}{repr(empty[0])[1:-1]:.80}/ holds no images that are read (of {', '.join(sorted(SUFFIXES))}, not in further "
            f"folders){f', nor do {len(empty) - 1} more' if empty[1:] else ''}: it is no class, or one that would be lost; remove or fill it."
        )
    return tuple(sorted(filled))


def hidden(name: str) -> bool:
    """Of no meaning to anyone but an editor or a file manager."""
    return name.startswith(".") or name == "__MACOSX"


def _in_folder(place: Path, splits: tuple[str, ...]) -> Iterator[_Item]:
    """Everything down to the classes' files; what is beside the splits, and within a class, is not entered."""
    root, n = place.resolve(), 0
    depth = 2 if splits == ("",) else 3
    todo = [("", place)]
    while todo:
        above, directory = todo.pop()
        with os.scandir(directory) as entries:
            found = sorted((entry for entry in entries if not hidden(entry.name)), key=lambda entry: entry.name)
        for entry in found:
            name = above + entry.name
            level = name.count("/") + 1
            outside = depth == 3 and level == 1 and entry.name not in splits
            if not outside:
                _check_link(Path(entry.path), root, place)
            if entry.is_dir():
                yield _Item(name, folder=True)
                if level < depth and not outside:
                    todo.append((f"{name}/", Path(entry.path)))
                continue
            image = PurePosixPath(name).suffix.lower() in SUFFIXES
            status = entry.stat(follow_symlinks=not outside)
            if image and level == depth and not stat.S_ISREG(status.st_mode):
                raise DataError(f"{place}: {name} is no file: remove it.")
            n += 1
            if n > MAX_ENTRIES:
                raise DataError(f"{place} holds more than {MAX_ENTRIES:,} images: use fewer.")
            yield _Item(name, False, status.st_size, status.st_mtime_ns)


def _check_link(path: Path, root: Path, place: Path) -> None:
    if not path.is_symlink():
        return
    if not path.exists():
        raise DataError(
            f"{place}: {path.relative_to(place)} is a link to nothing ({os.readlink(path)!r:.80}): remove it."
        )
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise DataError(f"{place}: {path.relative_to(place)} is a link that leads out of it: put a copy there.")


def _in_zip(place: Path) -> list[_Item]:
    with open_zip(place) as archive:
        infos = archive.infolist()
    twice = [name for name, n in Counter(info.filename for info in infos).items() if n > 1]
    if twice:
        raise DataError(f"{place}: {twice[0]!r:.80} is in it twice: make the zip again.")
    found = []
    for info in infos:
        name = info.filename
        parts = PurePosixPath(name).parts
        if ".." in parts or name.startswith("/") or "\\" in name or ":" in name.split("/")[0]:
            raise DataError(f"{place}: the path {name!r:.80} leads out of it: make the zip again, with plain paths.")
        if any(map(hidden, parts)) or not parts:
            continue
        if PurePosixPath(name).suffix.lower() in SUFFIXES and not info.is_dir():
            if info.flag_bits & 1:
                raise DataError(f"{place} is encrypted: make it again without a password.")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"{place}: {name} is compressed in an unusual way: make the zip again, by deflate.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{place}: {name} is a link: make the zip again, with what it points to.")
        found.append(_Item("/".join(parts), info.is_dir(), info.file_size))
    if sum(info.file_size for info in infos) > DEFLATE * place.stat().st_size:
        raise DataError(
            f"{place} claims to hold more than a zip of its size can: it was not made by an honest program."
        )
    return found


def open_zip(place: Path) -> zipfile.ZipFile:
    """A zip whose list of names is of a bearable size.

    Raises:
        DataError: if there is no such list, or it is too long.
    """
    try:
        n, size = _directory(place)
        if n > MAX_ENTRIES or size > MAX_DIRECTORY:
            raise DataError(f"{place} holds {n:,} files: at most {MAX_ENTRIES:,} are read.")
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, UnicodeDecodeError):
        raise DataError(f"{place} is damaged or no zip: fetch or make it again.") from None


def _directory(place: Path) -> tuple[int, int]:
    """Number and bytes of the entries that a zip says it has, read off its end (4.3.14-16 of the zip specification)."""
    with open(place, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - 65_557 - 20)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0:
            raise zipfile.BadZipFile
        n, length = struct.unpack_from("<HI", tail, at + 10)
        if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":
            file.seek(struct.unpack_from("<Q", tail, at - 12)[0])
            n, length = struct.unpack_from("<32xQQ", file.read(56))
    return n, length
