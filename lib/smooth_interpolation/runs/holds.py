"""What a run under way holds beside its record: a lock, checkpoints, its status, and a log where it failed."""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files, locations
from ..config import Run
from ..errors import RecordError, UserError
from . import checkpoints, devices, locks, provenance, store
from .checkpoints import DiskKeeper
from .record_format import Record
from .watching import StatusFile

if TYPE_CHECKING:
    from .work import Options


class Skipped(Exception):
    """A run is not to be done here, and why: it is done, or in progress elsewhere."""


@dataclass
class Hold:
    """What a run of this process holds, as long as the lock is its own."""

    run: Run
    root: Path | None  # of the records
    lock: locks.Lock
    keeper: DiskKeeper
    status: StatusFile

    @classmethod
    def take(cls, run: Run, options: Options, observer: locks.Observer) -> Hold:
        """Make a run ours.

        Raises:
            Skipped: if it is not to be done here.
            locks.Undecided: as long as that is not known.
            RecordError: if nothing can be written there.
        """
        path = store.lock_path(run, options.root)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = locks.acquire(path, observer)
        except locks.Held as held:
            raise Skipped(str(held)) from None
        except OSError as error:
            raise RecordError(f"Cannot write to {path.parent}: {files.unwritable(error)}.") from None
        try:  # another process may have finished it a moment ago
            if not options.force and store.read(run, options.root) is not None:
                raise Skipped("has a record already")
            kept = options.checkpoints_kept or (checkpoints.KEPT if options.until is None else 1)
            every = options.checkpoint_seconds, options.checkpoint_epochs
            keeper = DiskKeeper(run, options.root, *every, lock.check, kept)
            status = StatusFile(run, options.root, options.engine, str(devices.choose(options.device)))
            return cls(run, options.root, lock, keeper, status)
        except BaseException:
            lock.release()
            raise

    def write(self, record: Record) -> None:
        """Keep the run's record, and nothing else of it.

        Raises:
            RecordError: if that cannot be; `locks.LockLost` if the run is not ours any more.
        """
        path = store.path_of(self.run, self.root)
        kept = "; the trained network is kept: started again, the run is measured only" if self.keeper.paths() else ""
        if not path.parent.is_dir():
            raise RecordError(f"{path.parent} vanished while {self.run} was measured: the record cannot be written.")
        try:
            self.lock.check()
            store.write(record, self.run, self.root)
        except OSError as error:
            raise RecordError(f"Cannot write to {path.parent} ({error.strerror or error}){kept}.") from None
        except locks.LockLost:
            raise
        except RecordError as error:
            raise RecordError(f"{str(error).removesuffix('.')}{kept}.") from None
        with contextlib.suppress(OSError):
            self.keeper.discard()
            for left in [*path.parent.glob(f".{path.name}.*.tmp"), log_path(self.run, self.root)]:
                left.unlink(missing_ok=True)
        self.status.remove()


def described(error: Exception) -> str:
    """What went wrong, for whoever asked for the run: a sentence, or where it is no user's to mend, with its stack."""
    return str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error)).rstrip()


def log_path(run: Run, root: Path | None = None) -> Path:
    """Where the log of a failed run is."""
    record = store.path_of(run, root)
    return store.work_directory(record) / f"{record.stem}.log"


def write_log(run: Run, error: Exception, root: Path | None = None) -> Path | None:
    """What went wrong with a run, beside its checkpoints or else in the cache; where it was written, if it could be."""
    text = f"{provenance.now()} {locks.here()}: {run} failed\n" + "".join(traceback.format_exception(error))
    path = log_path(run, root)
    for place in (path, locations.cache() / "logs" / f"{run.scale}-{run.name}-{path.name}"):
        try:
            if place is not path:
                place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "a", encoding="utf-8") as file:
                file.write(text)
            return place
        except OSError:
            continue
    return None
