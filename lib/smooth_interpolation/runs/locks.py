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
import errno
import os
import platform
import threading
import time
import uuid
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt

from ..errors import RecordError

HEARTBEAT = 10.0  # seconds between touches
STALE = 120.0  # without a touch seen; several times what network file systems keep attributes for
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
LARGEST = 10_000  # bytes of a lock


class LockLost(RecordError):
    """Another process took over a run that this one was doing."""


class Held(Exception):
    """Another process holds the lock, and lives."""


class Undecided(Exception):
    """A process elsewhere holds the lock; whether it lives has to be watched for longer."""


class Owner(BaseModel, strict=True, extra="forbid"):
    """Who holds a lock."""

    host: str = "unknown"
    pid: PositiveInt = 1
    machine: str | None = None  # boot and process namespace: where `pid` means something
    started: str | None = None  # of the process, for process ids are used again
    token: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = ""  # of this lock; empty if it cannot be read

    def __str__(self) -> str:
        return f"{self.host} (process {self.pid})" if self.token else "an unknown machine"


def here() -> Owner:
    """This process, as the owner of a new lock."""
    pid = os.getpid()
    return Owner(host=platform.node(), pid=pid, machine=_machine(), started=_started(pid), token=uuid.uuid4().hex)


class Lock:
    """A lock that this process holds, and keeps alive until `release`."""

    def __init__(self, path: Path, owner: Owner):
        self.path, self.owner, self._released = path, owner, threading.Event()
        threading.Thread(target=self._keep_alive, name="locks", daemon=True).start()  # which no forked process inherits

    def check(self) -> None:
        """Make sure that the lock is still ours; one that somebody cleaned away is made again.
        Raises LockLost if another process took it over, while this one seemed dead, OSError if that cannot be found out.
        """
        found = look(self.path)
        if found is None:
            _create(self.path, self.owner)
            found = look(self.path)
        if found is None or found[0].token != self.owner.token:
            owner = found[0] if found else "another process"
            here = f"while this process ({self.owner}) gave no sign of life"
            raise LockLost(f"The lock {self.path} was taken over by {owner}, {here}.")

    def beat(self) -> None:
        """Touch the lock, if it is there and ours."""
        if self._ours():
            os.utime(self.path)

    def release(self) -> None:
        self._released.set()
        with contextlib.suppress(OSError):
            if self._ours():
                self.path.unlink(missing_ok=True)

    def _ours(self) -> bool:
        found = look(self.path)
        return found is not None and found[0].token == self.owner.token

    def _keep_alive(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with contextlib.suppress(OSError):  # the holder finds out when it writes
                self.beat()


class Observer:
    """Watches locks, those of other machines for as long as it takes."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[tuple[str, int], float]] = {}

    def state(self, path: Path) -> tuple[str, Owner | None]:
        """What a lock is, free, alive, dead or undecided (ask again), and who holds it."""
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
    """Take a lock, in a directory that exists, or take over that of a dead process. Raises Held if a living process has it,
    Undecided if that is not known yet (ask again, with the same observer), OSError if no lock can be made there.
    """
    owner = here()
    while not _create(path, owner):
        state, theirs = observer.state(path)
        if theirs is None:  # it is free again
            continue
        if state == "alive":
            raise Held(f"in progress on {theirs}")
        if state == "undecided":
            raise Undecided(f"locked by {theirs}")
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
        return Owner.model_validate_json(content), touched
    except ValueError:
        return Owner(), touched


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
            file.write(owner.model_dump_json().encode())
        return True
    except FileExistsError:
        return False


def _write(path: Path, owner: Owner) -> Path:
    temporary = path.with_name(f".{path.name}.{owner.token}.tmp")
    try:
        temporary.write_bytes(owner.model_dump_json().encode())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


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
    return None if started is None or owner.started is None else started == owner.started


def _machine() -> str | None:
    """Where process ids mean the same as here; None if that cannot be known, and locks are watched."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    return None


def _started(pid: int) -> str | None:
    """When a process started, by its machine's clock ticks; "dead" for one that only waits to be collected; None if unknown."""
    with contextlib.suppress(OSError, IndexError, UnicodeDecodeError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "dead" if fields[0] in "ZX" else fields[19]
    return None
