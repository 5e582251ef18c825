"""One lock a key between the threads of this process; every storage that locks here builds on it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from tokenkit._per_process import PerProcess
from tokenkit.errors import StorageLockTimeoutError

__all__ = ["KeyLocks"]


@final
class _Held:
    """A key's lock and how many threads hold it or wait for it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0


@final
class _Table:
    """One process's locks."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, _Held] = {}  # guarded by _guard; a key that nobody uses is not in it

    def join(self, key: str) -> threading.Lock:
        with self._guard:
            held = self._held.setdefault(key, _Held())
            held.users += 1
            return held.lock

    def leave(self, key: str) -> None:
        with self._guard:
            held = self._held[key]
            held.users -= 1
            if not held.users:
                del self._held[key]


@final
class KeyLocks:
    """Locks between threads, by key; made when wanted and dropped when nobody uses them.

    Not re-entrant, and not fair. A forked child starts with none held: it never touches an inherited lock, not even
    where it leaves a ``with`` block that its parent entered.
    """

    def __init__(self) -> None:
        self._tables = PerProcess(_Table)

    @contextmanager
    def hold(self, key: str, timeout: float) -> Iterator[None]:
        """Hold *key*'s lock for the block.

        Args:
            key: Any string.
            timeout: Seconds to wait for it; 0 tries once.

        Raises:
            StorageLockTimeoutError: Another thread held it all that time.
        """
        pid, table = os.getpid(), self._tables.get()
        lock = table.join(key)
        try:
            if not lock.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
                raise StorageLockTimeoutError("another thread holds the storage's lock")
            try:
                yield
            finally:
                if os.getpid() == pid:
                    lock.release()
        finally:
            if os.getpid() == pid:
                table.leave(key)
