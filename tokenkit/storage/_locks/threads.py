"""One lock a key between the threads of this process; every storage that locks here builds on it."""

from __future__ import annotations

import queue
import threading
from typing import final
from weakref import WeakValueDictionary

from tokenkit._guard import Guard
from tokenkit._per_process import PerProcess
from tokenkit.clock import SystemClock
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.storage._locks.holds import Hold

__all__ = ["KeyLocks"]

_CLOCK = SystemClock()
_LONGEST_NAP = 1.0  # seconds: a holder that an interrupt ended tells nobody


@final
class _Table:
    """One process's locks; a key that nobody uses is not in it."""

    def __init__(self) -> None:
        self.guard = Guard()
        # Guarded by guard:
        self.holders: WeakValueDictionary[str, _KeyHold] = WeakValueDictionary()  # one that is gone holds nothing
        self.waiting: dict[str, list[queue.SimpleQueue[None]]] = {}  # filled when the key's holder leaves


@final
class _KeyHold(Hold):
    """One thread's turn with a key."""

    def __init__(self, table: _Table, key: str, timeout: float) -> None:
        self._table = table
        self._key = key
        self._timeout = timeout
        self._thread = threading.get_ident()

    def take(self) -> None:
        self._thread = threading.get_ident()
        mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            self._wait(mailbox, _CLOCK.monotonic() + self._timeout)
        finally:
            self._leave(mailbox)

    def _wait(self, mailbox: queue.SimpleQueue[None], deadline: float) -> None:
        while not self._is_taken(mailbox):
            remaining = deadline - _CLOCK.monotonic()
            if remaining <= 0:
                raise StorageLockTimeoutError("another thread holds the storage's lock")
            _CLOCK.nap(mailbox, min(remaining, _LONGEST_NAP))

    def _is_taken(self, mailbox: queue.SimpleQueue[None]) -> bool:
        """Take the lock if it is free; else have *mailbox* filled when it may be."""
        table = self._table
        with table.guard:
            holder = table.holders.get(self._key)
            if holder is None:
                table.holders[self._key] = self
                return True
            if holder._thread == self._thread:  # it would wait for itself
                raise StorageLockTimeoutError("this thread holds the storage's lock already")
            table.waiting.setdefault(self._key, []).append(mailbox)
            return False

    def _leave(self, mailbox: queue.SimpleQueue[None]) -> None:
        with self._table.guard:
            others = self._others_locked(mailbox)
            if others:
                self._table.waiting[self._key] = others
            else:
                self._table.waiting.pop(self._key, None)

    def _others_locked(self, mailbox: queue.SimpleQueue[None]) -> list[queue.SimpleQueue[None]]:
        return [one for one in self._table.waiting.get(self._key, ()) if one is not mailbox]

    def give_back(self) -> None:
        table = self._table
        with table.guard:
            if table.holders.get(self._key) is self:
                del table.holders[self._key]
            for mailbox in table.waiting.get(self._key, ()):  # before they are forgotten: this may be repeated
                mailbox.put(None)
            table.waiting.pop(self._key, None)


@final
class KeyLocks:
    """Locks between threads, by key; made when wanted and dropped when nobody uses them.

    Not re-entrant, and not fair: a thread that asks for what it holds is refused at once. A forked child starts with
    none held: it never touches an inherited lock, not even where it leaves a ``with`` block that its parent entered.
    """

    def __init__(self) -> None:
        self._tables = PerProcess(_Table)

    def hold(self, key: str, timeout: float) -> Hold:
        """Return what holds *key*'s lock for its ``with`` block.

        Entering it raises StorageLockTimeoutError where another thread held the lock all that time.

        Args:
            key: Any string.
            timeout: Seconds to wait for it; 0 tries once.
        """
        return _KeyHold(self._tables.get(), key, timeout)
