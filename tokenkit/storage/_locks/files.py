"""Locks between the processes of a user, by lock files; shared by the storages whose backend has none.

The kernel holds them (``flock``), so the death of a holder frees its lock at once. A lock file is unlinked by its
holder alone, as the last thing before it lets go; filelock looks whether what it has locked still has its name, since
it could otherwise lock a file that has none any more, beside the holder of its successor.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from tokenkit.clock import SystemClock
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.storage._directory import OwnDirectory
from tokenkit.storage._failures import guarded
from tokenkit.storage._locks.flock import Flock, has_flock
from tokenkit.storage._locks.holds import Hold
from tokenkit.storage._locks.threads import KeyLocks

__all__ = ["FileLocks"]

_POLL_INTERVAL = 0.05  # seconds
_SUFFIXES = (".lock", ".write")
_TIDYING_INTERVAL = 3600.0  # seconds
_CLOCK = SystemClock()


@final
class FileLocks:
    """Locks by name, between threads and processes; bounded, not re-entrant, not fair.

    Threads of one process queue on a thread lock first, so that one of them alone polls the file.

    Args:
        directory: Where the lock files are; made when first wanted.
        suffix: The ending of their names.
    """

    def __init__(self, directory: OwnDirectory, suffix: str = ".lock") -> None:
        self._directory = directory
        self._suffix = suffix
        self._threads = KeyLocks()

    def hold(self, name: str, timeout: float) -> Hold:
        """Return what holds the lock *name* for its ``with`` block.

        Entering it raises StorageLockTimeoutError where another thread or process held the lock all that time, and
        StorageError where the lock file cannot be used.

        Args:
            name: A name that is safe in a path.
            timeout: Seconds to wait for it; 0 tries once.
        """
        return _FileHold(self._threads.hold(name, timeout), lambda: self._file_lock(name), timeout)

    def _file_lock(self, name: str) -> Flock | _Substitute:
        directory = self._directory.made()
        if self._directory.is_to_be_tidied("locks", _TIDYING_INTERVAL):
            for path in directory.iterdir():
                if path.suffix in _SUFFIXES:
                    self._remove_unused(path)
        return self._made(directory / f"{name}{self._suffix}")

    def _made(self, path: Path) -> Flock | _Substitute:
        make = Flock if has_flock else _Substitute
        return make(path, self._directory.file_mode)

    def _remove_unused(self, path: Path) -> None:
        """Remove a lock file that was made some time ago, unless somebody holds it; who waits for it makes another."""
        with suppress(OSError):
            if _CLOCK.time() - path.stat().st_mtime < _TIDYING_INTERVAL:
                return
            lock = self._made(path)
            if lock.acquire(0.0):
                try:
                    path.unlink(missing_ok=True)
                finally:
                    lock.release()


@final
class _FileHold(Hold):
    """One thread's turn with a lock file."""

    def __init__(self, among_threads: Hold, make: Callable[[], Flock | _Substitute], timeout: float) -> None:
        self._among_threads = among_threads
        self._make = make
        self._timeout = timeout
        self._lock: Flock | _Substitute | None = None

    def take(self) -> None:
        deadline = _CLOCK.monotonic() + self._timeout
        self._among_threads.take()
        lock = self._lock = guarded("opening a lock file", self._make)
        remaining = max(0.0, deadline - _CLOCK.monotonic())
        if not guarded("locking a file", lambda: lock.acquire(remaining)):
            raise StorageLockTimeoutError("another process holds the storage's lock")

    def give_back(self) -> None:
        lock = self._lock
        try:
            if lock is not None:
                guarded("unlocking a file", lock.release)
        finally:
            self._among_threads.give_back()

    def leave_to_parent(self) -> None:
        if isinstance(self._lock, Flock):
            self._lock.leave_to_parent()


@final
class _Substitute:
    """A lock of filelock's, which knows how Windows locks files; used as a :class:`Flock` is."""

    def __init__(self, path: Path, mode: int) -> None:
        # A new object each time: filelock's are re-entrant, and two of them exclude each other even in one thread.
        self._lock = FileLock(path, mode=mode, thread_local=False, fallback_to_soft=False)

    def acquire(self, timeout: float) -> bool:
        return _acquire(self._lock, timeout)

    def release(self) -> None:
        self._lock.release(force=True)


def _acquire(lock: BaseFileLock, timeout: float) -> bool:
    for seconds in dict.fromkeys((0.0, timeout)):  # the first try shows what kind of a lock it is
        with suppress(Timeout):
            lock.acquire(timeout=seconds, poll_interval=_POLL_INTERVAL)
        _refuse_substitute(lock)
        if lock.is_locked:
            return True
    return False


def _refuse_substitute(lock: BaseFileLock) -> None:
    # A soft lock is held while a file exists: the death of a holder would not free it, and its file is unlinked.
    # filelock takes one where the platform has no flock at all and, asked not to, might still where a file system has
    # none: its versions then change the lock's class, or only set a flag in it.
    if isinstance(lock, SoftFileLock) or getattr(getattr(lock, "_context", None), "soft_fallback", False):
        lock.release()
        raise OSError(errno.ENOSYS, "the file system has no flock")
