"""Locks: who has them, who is dead, and who takes over."""

import contextlib
import errno
import json
import os
import threading
import time

import pytest

from smooth_interpolation.runs import locks


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w001-s0.lock"


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_one_holds_it_until_it_is_released(path):
    lock = locks.acquire(path, locks.Observer())
    with pytest.raises(locks.Held, match=rf"in progress on .* \(process {os.getpid()}\)"):
        locks.acquire(path, locks.Observer())
    lock.check()
    lock.release()
    assert list(path.parent.iterdir()) == []
    locks.acquire(path, locks.Observer()).release()


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 1}, {"started": "1"}], ids=["gone", "its number is used again"])
def test_the_lock_of_a_dead_process_is_taken_over(path, changes):
    old = locks.acquire(path, locks.Observer())
    rewrite(path, **changes)
    new = locks.acquire(path, locks.Observer())
    with pytest.raises(locks.LockLost, match="was taken over by"):
        old.check()
    old.release()  # not its own any more
    new.check()
    new.release()
    assert list(path.parent.iterdir()) == []


def test_elsewhere_a_touch_is_life_and_stillness_is_death(path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(locks.time, "monotonic", lambda: now[0])
    locks.acquire(path, locks.Observer())
    rewrite(path, machine="another", pid=1)
    observer = locks.Observer()

    def state():
        return observer.state(path)[0]

    assert state() == "undecided"
    now[0] = locks.STALE - 1
    assert state() == "undecided"
    with pytest.raises(locks.Undecided):
        locks.acquire(path, observer)
    for touched in (1e9, 5e9, 2e9):  # a clock set forward and back is a touch like any other
        now[0] += 1
        os.utime(path, (touched, touched))
        assert state() == "alive" and state() == "undecided"
    now[0] += locks.STALE - 0.1
    assert state() == "undecided"
    now[0] += 0.2
    assert state() == "dead"
    lock = locks.acquire(path, observer)
    lock.check()
    lock.release()
    assert state() == "free"


def test_a_process_that_cannot_be_seen_is_watched(path, monkeypatch):
    locks.acquire(path, locks.Observer())
    monkeypatch.setattr(locks, "_started", lambda pid: None)
    assert locks.Observer().state(path)[0] == "undecided"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"pid": -1}', b'{"token": "../../x"}', b"\xff" * 99, b"[" * 9999]
)
def test_a_lock_that_cannot_be_read_is_watched_and_taken_over(path, content, monkeypatch):
    path.write_bytes(content)
    observer = locks.Observer()
    with pytest.raises(locks.Undecided, match="unknown machine"):
        locks.acquire(path, observer)
    monkeypatch.setattr(locks, "STALE", 0.0)
    lock = locks.acquire(path, observer)
    lock.check()
    lock.release()
    assert list(path.parent.iterdir()) == []


def test_a_takeover_that_was_cut_off_is_itself_taken_over(path):
    dead = locks.acquire(path, locks.Observer())
    rewrite(path, started="1")
    second = path.with_name(f"{path.name}.{dead.owner.token}")
    locks.acquire(second, locks.Observer())
    rewrite(second, started="2")
    lock = locks.acquire(path, locks.Observer())
    lock.check()
    lock.release()
    assert list(path.parent.iterdir()) == []


def test_a_lock_that_was_cleaned_away_is_made_again(path):
    lock = locks.acquire(path, locks.Observer())
    path.unlink()
    lock.beat()
    assert not path.exists()  # its holder finds out first
    lock.check()
    assert path.exists()
    lock.release()


def test_locks_work_without_hard_links(path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(locks.os, "link", no_links)
    lock = locks.acquire(path, locks.Observer())
    with pytest.raises(locks.Held):
        locks.acquire(path, locks.Observer())
    lock.release()


def test_locks_are_touched_while_they_are_held(path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT", 0.02)
    lock = locks.acquire(path, locks.Observer())
    os.utime(path, (1, 1))
    deadline = time.monotonic() + 10
    while path.stat().st_mtime == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.stat().st_mtime != 1
    lock.release()
    assert any(thread.name == "locks" for thread in threading.enumerate())


def test_of_many_threads_one_gets_it(path):
    got, barrier = [], threading.Barrier(8)

    def take():
        barrier.wait()
        with contextlib.suppress(locks.Held):
            got.append(locks.acquire(path, locks.Observer()))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()
