"""Locks by ``cache.add``, for Django caches on which that is atomic: Redis and memcached."""

from __future__ import annotations

import logging
import os
import queue
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

from tokenkit.clock import SystemClock
from tokenkit.errors import StorageError, StorageLockTimeoutError

__all__ = ["CacheLease", "CacheLocks"]

logger = logging.getLogger("tokenkit.storage")

_CLOCK = SystemClock()
_POLL_INTERVAL = 0.05  # seconds


@final
class CacheLease:
    """One holder's lock; it may run out.

    Args:
        seconds: How long it lasts; the cache frees it then.
    """

    def __init__(self, seconds: int) -> None:
        self.owner = secrets.token_hex(16)
        self._seconds = seconds
        self._deadline = 0.0

    def renew_deadline(self) -> None:
        """Count from now: called before the cache is asked, so that this clock never ends after the cache's."""
        self._deadline = _CLOCK.monotonic() + self._seconds

    def is_over(self) -> bool:
        """Return whether it ran out by this process's clock."""
        return _CLOCK.monotonic() >= self._deadline


@final
class CacheLocks:
    """Locks by name in a cache, between all its users.

    Args:
        call: Runs a function of a Django cache, with failures turned into StorageError.
    """

    def __init__(self, call: Callable[[Callable[[Any], Any]], Any]) -> None:
        self._call = call

    @contextmanager
    def hold(self, name: str, timeout: float, seconds: int) -> Iterator[CacheLease]:
        """Hold the lock *name* for the block, or for *seconds*.

        Args:
            name: The cache key of the lock.
            timeout: Seconds to wait for it; 0 tries once.
            seconds: How long the lease lasts.

        Raises:
            StorageLockTimeoutError: ``add`` did not succeed in all that time: another holds it, or a memcached is
                down, which looks the same from here.
        """
        pid, lease = os.getpid(), CacheLease(seconds)
        self._await(name, timeout, seconds, lease)
        try:
            yield lease
        finally:
            if os.getpid() == pid:
                self._release(name, lease)

    def is_held(self, name: str, lease: CacheLease) -> bool:
        """Return whether the cache still knows *lease*'s holder as the holder of *name*."""
        return not lease.is_over() and bool(self._call(lambda cache: cache.get(name)) == lease.owner)

    def _await(self, name: str, timeout: float, seconds: int, lease: CacheLease) -> None:
        deadline = _CLOCK.monotonic() + timeout
        alarm: queue.SimpleQueue[None] = queue.SimpleQueue()  # nobody rings it: a cache cannot call
        while True:
            lease.renew_deadline()
            if self._call(lambda cache: cache.add(name, lease.owner, seconds)):
                return
            remaining = deadline - _CLOCK.monotonic()
            if remaining <= 0:
                raise StorageLockTimeoutError("another holds the storage's lock, or the cache is down")
            _CLOCK.nap(alarm, min(_POLL_INTERVAL, remaining))

    def _release(self, name: str, lease: CacheLease) -> None:
        # Not atomic: a cache has no compare-and-delete. The check of the deadline makes the gap a very small one.
        try:
            if self.is_held(name, lease):
                self._call(lambda cache: cache.delete(name))
        except StorageError as error:  # what the block did is done; the cache frees the lock when the lease is over
            logger.warning("a lock could not be released before its lease ran out: %s", error)
