"""A lock file that the kernel locks (``flock``).

filelock would do it, too, but has conditions of its own around every lock of the process: an exception out of a signal
handler leaves those locked, and every thread that locks any file hangs for ever.
"""

from __future__ import annotations

import errno
import io
import os
import queue
import weakref
from contextlib import suppress
from pathlib import Path
from typing import final

from tokenkit.clock import SystemClock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # looked at before each use

__all__ = ["Flock", "has_flock"]

_POLL_INTERVAL = 0.05  # seconds
_CLOCK = SystemClock()
_CONTENTION = frozenset({errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK})

has_flock = fcntl is not None


@final
class _LockFile(io.FileIO):
    """Closes without a ResourceWarning: one that an interrupt dropped has no other end."""

    def __del__(self) -> None:
        self.close()


@final
class Flock:
    """One use of a lock file: locked at most once, then released or dropped. Two of them exclude each other.

    Args:
        path: The file; made where it is missing.
        mode: Its permissions then, whatever the umask.
    """

    def __init__(self, path: Path, mode: int) -> None:
        self._path = path
        self._mode = mode
        self._file: _LockFile | None = None

    def acquire(self, timeout: float) -> bool:
        """Return whether it was to be had in *timeout* seconds; 0 tries once."""
        deadline = _CLOCK.monotonic() + timeout
        alarm: queue.SimpleQueue[None] = queue.SimpleQueue()  # nobody rings it: a file cannot call
        while not self._is_taken():
            remaining = deadline - _CLOCK.monotonic()
            if remaining <= 0:
                return False
            _CLOCK.nap(alarm, min(_POLL_INTERVAL, remaining))
        return True

    def release(self) -> None:
        """Unlock it, if it is locked. May be repeated."""
        file = self._file
        if file is not None and not file.closed:
            with suppress(ValueError):  # Ctrl-C and its handler were here before
                fcntl.flock(file, fcntl.LOCK_UN)  # a child may have inherited the file, and close it late or never
            file.close()

    def leave_to_parent(self) -> None:
        """Close the copy that a forked child inherited; the parent's still holds the lock."""
        if self._file is not None:
            self._file.close()

    def _is_taken(self) -> bool:
        if self._file is None or self._file.closed:
            # An object from the start: where an interrupt ends this, it is closed.
            self._file = _LockFile(self._path, "a", opener=self._opened)
            _files.add(self._file)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _CONTENTION:
                what = "the file system has no flock" if error.errno == errno.ENOSYS else error.strerror
                raise OSError(error.errno, what) from None
            return False
        if self._has_its_name():
            return True
        self.release()  # its holder unlinked it between our opening and our locking
        return False

    def _opened(self, path: str, flags: int) -> int:
        descriptor = os.open(path, flags | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), self._mode)
        with suppress(OSError):  # another's, in a directory that a group shares
            os.fchmod(descriptor, self._mode)
        return descriptor

    def _has_its_name(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False


_files: weakref.WeakSet[_LockFile] = weakref.WeakSet()  # open ones


def _after_fork_in_child() -> None:
    for file in list(_files):  # or the death of the parent would not free its locks while this process lives
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
