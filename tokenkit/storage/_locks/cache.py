"""Locks by ``cache.add``, for Django caches on which that is atomic: Redis and memcached."""

from __future__ import annotations

import logging
import math
import queue
import secrets
from collections.abc import Callable
from typing import Any, final

from tokenkit.clock import SystemClock
from tokenkit.errors import StorageError, StorageLockTimeoutError
from tokenkit.storage._locks.holds import Hold

__all__ = ["CacheLocks"]

logger: logging.Logger = logging.getLogger("tokenkit.storage")

_CLOCK = SystemClock()
_POLL_INTERVAL = 0.05  # seconds


@final
class CacheLocks:
    """Locks by name in a cache, between all its users.

    Args:
        call: Runs a function of a Django cache, with failures turned into StorageError.
    """

    def __init__(self, call: Callable[[Callable[[Any], Any]], Any]) -> None:
        self._call = call

    def hold(self, name: str, timeout: float, seconds: int) -> Hold:
        """Return what holds the lock *name* for its ``with`` block, or for *seconds*.

        Entering it raises StorageLockTimeoutError where ``add`` did not succeed in all that time: another holds the
        lock, or a memcached is down, which looks the same from here.

        Args:
            name: The cache key of the lock.
            timeout: Seconds to wait for it; 0 tries once.
            seconds: How long the lease lasts.
        """
        return _CacheHold(self._call, name, timeout, seconds)


@final
class _CacheHold(Hold):
    """One turn with a lock of the cache's."""

    def __init__(self, call: Callable[[Callable[[Any], Any]], Any], name: str, timeout: float, seconds: int) -> None:
        self._call = call
        self._name = name
        self._timeout = timeout
        self._seconds = seconds
        self._owner = secrets.token_hex(16)
        self._until = -math.inf  # when the lease is over; from when the cache may have granted it

    def take(self) -> None:
        deadline = _CLOCK.monotonic() + self._timeout
        alarm: queue.SimpleQueue[None] = queue.SimpleQueue()  # nobody rings it: a cache cannot call
        while not self._is_granted():
            remaining = deadline - _CLOCK.monotonic()
            if remaining <= 0:
                raise StorageLockTimeoutError("another holds the storage's lock, or the cache is down")
            _CLOCK.nap(alarm, min(_POLL_INTERVAL, remaining))

    def _is_granted(self) -> bool:
        # Counted from before the cache is asked, so that this clock never ends after the cache's.
        self._until = _CLOCK.monotonic() + self._seconds
        try:
            granted = bool(self._call(lambda cache: cache.add(self._name, self._owner, self._seconds)))
        except Exception:
            self._until = -math.inf
            raise
        if not granted:
            self._until = -math.inf
        return granted

    def give_back(self) -> None:
        # Not atomic: a cache has no compare-and-delete. The check of the time makes the gap a very small one.
        try:
            if self._until > _CLOCK.monotonic() and self._call(lambda cache: cache.get(self._name)) == self._owner:
                self._call(lambda cache: cache.delete(self._name))
        except StorageError as error:  # what the block did is done; the cache frees the lock when the lease is over
            logger.warning("a lock could not be released before its lease ran out: %s [lock-kept]", error)
        self._until = -math.inf
