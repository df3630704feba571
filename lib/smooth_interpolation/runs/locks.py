"""Locks of runs: two processes never do the same one, whether they share a machine or only a file system.

A lock is a small file beside the records, made whole and exclusively by a hard link, that says who holds it; its holder
touches it every few seconds. Whether the holder lives is judged without a clock: on the same machine (boot and process
namespace) by its process id and start; elsewhere by watching: a touch is life, none for `STALE` seconds here is death.
The lock of a dead holder is replaced, never removed first, and only under a second lock named after the dead one's token:
so of several that see it dead, one takes it over.

filelock's `SoftFileLease` (4.2.12) does not promise this: on NFS, which cannot exchange two names, it takes over no dead lock;
one left empty, as by a power failure, nowhere; and it takes the lock of a live machine that has this one's host name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import platform
import re
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RecordError

HEARTBEAT = 10.0  # seconds between touches
STALE = 120.0  # without a touch seen; several times what network file systems keep attributes for
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
LARGEST = 10_000  # bytes of a lock


class LockLost(RecordError):
    """Another process took over a run that this one was doing."""


class Held(Exception):
    """Another process holds the lock, and lives."""

    def __init__(self, owner: Owner):
        super().__init__(f"in progress on {owner}")
        self.owner = owner


class Undecided(Exception):
    """A process elsewhere holds the lock; whether it lives has to be watched for longer."""

    def __init__(self, owner: Owner):
        super().__init__(f"locked by {owner}")
        self.owner = owner


@dataclass(frozen=True)
class Owner:
    """Who holds a lock."""

    host: str = "unknown"
    pid: int = 0
    machine: str | None = None  # boot and process namespace: where `pid` means something
    started: str | None = None  # of the process, for process ids are used again
    token: str = ""  # of this lock; empty if it cannot be read

    def __str__(self) -> str:
        return f"{self.host} (process {self.pid})" if self.token else "an unknown machine"


def here(token: str | None = None) -> Owner:
    """This process, as the owner of a new lock."""
    return Owner(platform.node(), os.getpid(), _machine(), _started(os.getpid()), token or uuid.uuid4().hex)


class Lock:
    """A lock that this process holds, and keeps alive until `release`."""

    def __init__(self, path: Path, owner: Owner):
        self.path, self.owner = path, owner
        _heart.add(self)

    def check(self) -> None:
        """Make sure that the lock is still ours; one that somebody cleaned away is made again.

        Raises:
            LockLost: if another process took it over, while this one seemed dead.
            OSError: if that cannot be found out.
        """
        found = look(self.path)
        if found is None:
            _create(self.path, self.owner)
            found = look(self.path)
        if found is None or found[0].token != self.owner.token:
            owner = found[0] if found else "another process"
            raise LockLost(
                f"The lock {self.path} was taken over by {owner}, while this process ({self.owner}) gave no sign of life."
            )

    def beat(self) -> None:
        """Touch the lock, if it is there and ours."""
        found = look(self.path)
        if found and found[0].token == self.owner.token:
            os.utime(self.path)

    def release(self) -> None:
        _heart.remove(self)
        with contextlib.suppress(OSError):
            found = look(self.path)
            if found and found[0].token == self.owner.token:
                self.path.unlink(missing_ok=True)


class Observer:
    """Watches locks, those of other machines for as long as it takes."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[tuple[str, int], float]] = {}

    def state(self, path: Path) -> tuple[str, Owner | None]:
        """ "free", "alive", "dead" or "undecided" (ask again), and who holds the lock."""
        found = look(path)
        if found is None:
            self._seen.pop(path, None)
            return "free", None
        owner, touched = found
        alive = _runs(owner)
        if alive is not None:
            return ("alive" if alive else "dead"), owner
        sign, now = (owner.token, touched), time.monotonic()
        before, since = self._seen.setdefault(path, (sign, now))
        if before != sign:
            self._seen[path] = sign, now
            return "alive", owner
        return ("dead" if now - since >= STALE else "undecided"), owner


def acquire(path: Path, observer: Observer) -> Lock:
    """Take a lock, in a directory that exists, or take over that of a dead process.

    Raises:
        Held: if a living process has it.
        Undecided: if that is not known yet: ask again, with the same observer.
        OSError: if no lock can be made there.
    """
    owner = here()
    while not _create(path, owner):
        state, theirs = observer.state(path)
        if theirs is None:  # it is free again
            continue
        if state == "alive":
            raise Held(theirs)
        if state == "undecided":
            raise Undecided(theirs)
        takeover = acquire(path.with_name(f"{path.name}.{theirs.token or 'unreadable'}"), observer)
        try:
            found = look(path)
            if found and found[0].token == theirs.token:  # nobody else can replace it now
                temporary = _write(path, owner)
                os.replace(temporary, path)
                break
        finally:
            takeover.release()
    return Lock(path, owner)


def look(path: Path) -> tuple[Owner, int] | None:
    """Who holds a lock, and when it was touched (ns, by the file system's clock); None if there is none."""
    try:
        with open(path, "rb") as file:  # opened, so that a network file system asks its server
            touched, content = os.fstat(file.fileno()).st_mtime_ns, file.read(LARGEST)
    except FileNotFoundError:
        return None
    try:
        owner = Owner(**json.loads(content))
    except (ValueError, TypeError, RecursionError):
        owner = Owner()
    texts = (owner.host, owner.machine or "", owner.started or "")
    sound = type(owner.pid) is int and owner.pid > 0 and all(isinstance(text, str) for text in texts)
    if not sound or not isinstance(owner.token, str) or not re.fullmatch("[0-9a-f]{32}", owner.token):
        owner = Owner()
    return owner, touched


def _create(path: Path, owner: Owner) -> bool:
    """Make a lock that was not there; whether it was made."""
    temporary = _write(path, owner)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return temporary.stat().st_nlink == 2  # some servers repeat a request that had succeeded
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    finally:
        temporary.unlink(missing_ok=True)
    try:  # not whole from its first moment: until then its owner is unknown, and it is watched
        with open(path, "xb") as file:
            file.write(_text(owner))
        return True
    except FileExistsError:
        return False


def _write(path: Path, owner: Owner) -> Path:
    temporary = path.with_name(f".{path.name}.{owner.token}.tmp")
    try:
        temporary.write_bytes(_text(owner))
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _text(owner: Owner) -> bytes:
    return json.dumps(dataclasses.asdict(owner)).encode()


def _runs(owner: Owner) -> bool | None:
    """Whether a process of this machine runs; None if it is of another one, or hidden."""
    if owner.machine is None or owner.machine != _machine():
        return None
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    started = _started(owner.pid)
    if started is None or owner.started is None:
        return None
    return started == owner.started


def _machine() -> str | None:
    """Where process ids mean the same as here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None if platform.system() == "Linux" else f"{platform.node()}/{uuid.getnode()}"


def _started(pid: int) -> str | None:
    """When a process started, in whatever unit; "dead" for one that only waits to be collected; None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "dead" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError, UnicodeDecodeError):
        if platform.system() == "Linux":
            return None
    try:
        result = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None


class _Heart:
    """One thread that touches all locks of this process."""

    def __init__(self) -> None:
        self._locks: set[Any] = set()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, lock: Lock) -> None:
        with self._guard:
            self._locks.add(lock)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="locks", daemon=True)
                self._thread.start()

    def remove(self, lock: Lock) -> None:
        with self._guard:
            self._locks.discard(lock)

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT)
            with self._guard:
                locks = list(self._locks)
            for lock in locks:
                with contextlib.suppress(OSError):  # the holder finds out when it writes
                    lock.beat()


_heart = _Heart()


def _forget() -> None:
    """A forked process holds no locks."""
    global _heart
    _heart = _Heart()


os.register_at_fork(after_in_child=_forget)
