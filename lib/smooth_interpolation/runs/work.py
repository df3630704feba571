"""What a worker does with runs. Every engine calls `do`, in whatever process and on whatever machine, so that all make
records by the same code path:

    do(todo, options, report)

takes each of `todo`, runs of one experiment, through these steps: take its lock; leave it out if it has a record or is in
progress elsewhere; go on from its latest checkpoint; train; measure; write the record; remove checkpoints and status;
release the lock. What fails leaves a log and its checkpoints, and does not stop the others. `report(run, kind, content)`
hears of it, with picklable content:

    "status"                a `watching.Status`
    "complete", "diverged"  None: there is a record now
    "skipped"               why: a record is there already, or the run is in progress elsewhere
    "failed"                what went wrong, and where its log is
    "stopped"               None: by SIGTERM, SIGINT, `stop` or the limit of time; what was begun has a checkpoint

Every run is reported exactly once besides its status. The single `smooth-interpolation run`, notebooks, the engines
`serial` and `processes` (`sweep`) and Ray differ in nothing but who calls this.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import files, locations
from ..config import Run
from ..data.preparation import Prepared
from ..errors import RecordError, UserError
from ..train.loop import Acceleration
from . import checkpoints, locks, provenance, single, store
from .checkpoints import DiskKeeper
from .jobs import Host, Later
from .limits import TimeUp
from .record_format import Record
from .watching import Report, Status, StatusFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How runs are done; picklable."""

    at_once: int = 1  # networks in training side by side in the process
    device: str = "auto"
    threads: int = 1
    root: Path | None = None  # of the records; None: the usual place
    acceleration: Acceleration = Acceleration()  # noqa: RUF009 (frozen)
    checkpoint_seconds: float = checkpoints.SECONDS  # between checkpoints; 0: after every step
    checkpoint_epochs: int | None = None  # between checkpoints, if that is sooner
    checkpoints_kept: int | None = None  # None: two, or one, which is less to move, where there is a limit of time
    force: bool = False  # although there is a record
    reuse: bool | None = None  # kept weights, see `Host.reuse`
    engine: str = "processes"  # for the status files
    until: float | None = None  # by `time.monotonic` of this machine, when everything is over: see `limits`


def do(
    todo: Iterable[Run],
    options: Options = Options(),
    report: Report = lambda run, kind, content: None,
    *,
    prepared: Prepared | None = None,
    stop: Callable[[], bool] = lambda: False,
    more: Callable[[], list[Run] | None] = lambda: None,
    reraise: bool = False,
) -> None:
    """Runs of one experiment, from configuration to record: see the module.

    Args:
        todo: the runs.
        options: how.
        report: called with (run, kind, content).
        prepared: the data, if it is at hand already.
        stop: asked between steps; once it is true, checkpoints are written and KeyboardInterrupt raised.
        more: asked between epochs for further runs; None: there will be none.
        reraise: raise what went wrong with a run after it was logged, instead of reporting it.

    Raises:
        KeyboardInterrupt: when it was stopped, after everything was put in order; `limits.TimeUp` at the limit of time.
    """
    worker = _Worker(list(todo), options, report, stop, more, reraise)
    with _signals(worker):
        done = single.run_side_by_side(
            list(worker.todo),
            host=worker,
            at_once=options.at_once,
            device=options.device,
            threads=options.threads,
            acceleration=options.acceleration,
            prepared=prepared,
        )
        try:
            with contextlib.closing(done):
                for run, record in done:
                    worker.end(run, record)
        except KeyboardInterrupt:
            if worker.limit.reached and not worker.signalled:
                raise TimeUp from None
            raise
        except Exception as error:  # of all of them
            for run in list(worker.todo):
                worker.fail(run, error)
            if reraise:
                raise
        finally:
            worker.leave()


@dataclass
class _Held:
    """What a run under way holds."""

    lock: locks.Lock
    keeper: DiskKeeper
    status: StatusFile


@dataclass(eq=False)
class _Worker(Host):
    """The runs that this process does, and what each of those under way holds."""

    todo: list[Run]
    options: Options
    report: Report
    stop_asked: Callable[[], bool]
    more_asked: Callable[[], list[Run] | None]
    reraise: bool
    held: dict[Run, _Held] = field(default_factory=dict)
    observer: locks.Observer = field(default_factory=locks.Observer)
    begun: bool = False  # from then on a signal waits until checkpoints are written
    signalled: bool = False

    def __post_init__(self) -> None:
        super().__init__(self.options.until)
        self.reuse = False if self.options.force else self.options.reuse

    def stop(self) -> bool:
        return self.signalled or self.stop_asked() or self.limit.up()

    def more(self) -> list[Run] | None:
        found = self.more_asked()
        self.todo += found or []
        return found

    def begin(self, run: Run) -> DiskKeeper | None:
        """Make a run ours; None if it is not to be done here."""
        options = self.options
        path = store.lock_path(run, options.root)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = locks.acquire(path, self.observer)
        except locks.Held as held:
            self._over(run, "skipped", str(held))
            return None
        except locks.Undecided:
            raise Later from None
        except OSError as error:
            raise RecordError(f"Cannot write to {path.parent}: {files.unwritable(error)}.") from None
        try:  # another process may have finished it a moment ago
            if not options.force and store.read(run, options.root) is not None:
                lock.release()
                self._over(run, "skipped", "has a record already")
                return None
            kept = options.checkpoints_kept or (checkpoints.KEPT if options.until is None else 1)
            device = str(single.choose_device(options.device))
            every = options.checkpoint_seconds, options.checkpoint_epochs
            keeper = DiskKeeper(run, options.root, *every, lock.check, kept)
            self.held[run] = _Held(lock, keeper, StatusFile(run, options.root, options.engine, device))
        except BaseException:
            lock.release()
            raise
        self.begun = True
        return keeper

    def watch(self, run: Run, status: Status) -> None:
        self.held[run].status.tell(status)
        self.report(run, "status", status)

    def end(self, run: Run, record: Record | Exception) -> None:
        """Keep what was found, or log what went wrong."""
        try:
            if isinstance(record, Exception):
                raise record
            self._write(run, record)
        except locks.LockLost as error:
            self._over(run, "skipped", str(error))
        except Exception as error:
            self.fail(run, error)
        else:
            with contextlib.suppress(OSError):
                self.held[run].keeper.discard()
                path = store.path_of(run, self.options.root)
                for left in [*path.parent.glob(f".{path.name}.*.tmp"), log_path(run, self.options.root)]:
                    left.unlink(missing_ok=True)
            self.held[run].status.remove()
            self._over(run, record["status"])

    def fail(self, run: Run, error: Exception) -> None:
        path = write_log(run, error, self.options.root)
        if run in self.held:
            self.held[run].status.tell(Status("failed", 0, 1), path)
        text = described(error)
        self._over(run, None if self.reraise else "failed", f"{text}\nIts log: {path}" if path else text)
        if self.reraise:
            raise error

    def leave(self) -> None:
        """Let go of what was begun, and report what was not finished."""
        for run, held in list(self.held.items()):
            held.status.stop()
            self.held.pop(run).lock.release()
        for run in list(self.todo):
            self._over(run, "stopped")

    def _write(self, run: Run, record: Record) -> None:
        held, path = self.held[run], store.path_of(run, self.options.root)
        kept = "; the trained network is kept: started again, the run is measured only" if held.keeper.paths() else ""
        if not path.parent.is_dir():
            raise RecordError(f"{path.parent} vanished while {run} was measured: the record cannot be written.")
        try:
            held.lock.check()
            store.write(record, run, self.options.root)
        except OSError as error:
            raise RecordError(f"Cannot write to {path.parent} ({error.strerror or error}){kept}.") from None
        except locks.LockLost:
            raise
        except RecordError as error:
            raise RecordError(f"{str(error).removesuffix('.')}{kept}.") from None

    def _over(self, run: Run, kind: str | None, content: Any = None) -> None:
        """Let go of a run, and report what became of it, if that is to be reported."""
        if run in self.held:
            self.held.pop(run).lock.release()
        self.todo.remove(run)
        if kind:
            self.report(run, kind, content)


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


@contextlib.contextmanager
def _signals(worker: _Worker) -> Iterator[None]:
    """From the first run on, SIGTERM and SIGINT wait for checkpoints; a second SIGINT does not."""

    def handle(number: int, frame: Any) -> None:
        again, worker.signalled = worker.signalled and number == signal.SIGINT, True
        if again or not worker.begun:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
