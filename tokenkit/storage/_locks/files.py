"""Locks between the processes of a user, by lock files; shared by the storages whose backend has none.

The kernel holds them (``flock``), so the death of a holder frees its lock at once. Lock files are never unlinked:
a waiter could otherwise lock a file that has no name any more, beside the holder of its successor.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from tokenkit.clock import SystemClock
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.storage._directory import make_private
from tokenkit.storage._failures import guarded
from tokenkit.storage._locks.threads import KeyLocks

__all__ = ["FileLocks"]

_POLL_INTERVAL = 0.025  # seconds
_CLOCK = SystemClock()

# A lock that a child inherited and left: its finaliser would unlock the file, which parent and child share.
_inherited: list[BaseFileLock] = []


@final
class FileLocks:
    """Locks by name, between threads and processes; bounded, not re-entrant, not fair.

    Threads of one process queue on a thread lock first, so that one of them alone polls the file.

    Args:
        directory: Where the lock files are; made when first wanted.
        suffix: The ending of their names.
    """

    def __init__(self, directory: Path, suffix: str = ".lock") -> None:
        self._directory = directory
        self._suffix = suffix
        self._threads = KeyLocks()

    @contextmanager
    def hold(self, name: str, timeout: float) -> Iterator[None]:
        """Hold the lock *name* for the block.

        Args:
            name: A name that is safe in a path.
            timeout: Seconds to wait for it; 0 tries once.

        Raises:
            StorageLockTimeoutError: Another thread or process held it all that time.
            StorageError: The lock file cannot be used.
        """
        deadline = _CLOCK.monotonic() + timeout
        with self._threads.hold(name, timeout):
            lock = guarded("opening a lock file", lambda: self._file_lock(name))
            remaining = max(0.0, deadline - _CLOCK.monotonic())
            if not guarded("locking a file", lambda: _acquire(lock, remaining)):
                raise StorageLockTimeoutError("another process holds the storage's lock")
            pid = os.getpid()
            try:
                yield
            finally:
                if os.getpid() == pid:
                    guarded("unlocking a file", lock.release)
                else:
                    _inherited.append(lock)

    def _file_lock(self, name: str) -> BaseFileLock:
        # A new object each time: filelock's are re-entrant, and two of them exclude each other even in one thread.
        path = make_private(self._directory) / f"{name}{self._suffix}"
        return FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)


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
