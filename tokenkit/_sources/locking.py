"""Doing something under a storage's lock, or without it where that is not to be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageLockTimeoutError

__all__ = ["Trouble", "under_lock"]

R = TypeVar("R")
Trouble = Callable[[str, str, Exception], None]
"""Told the name of a :class:`~tokenkit.events.TokenListener` method, a result and the storage's failure."""


def under_lock(
    storage: TokenStorage,
    key: str,
    timeout: float,
    work: Callable[[Exception | None], R],
    *,
    note: Callable[[bool], None],
    trouble: Trouble,
) -> R:
    """Return what *work* returns, done under the lock of *key* if it is to be had in time, else without.

    The ``with`` is here, and not in a context manager of ours: an interrupt between two of them would leave the lock
    behind. The storage's own sees no failure of *work*, and so cannot hide it.

    Args:
        storage: Whose lock.
        key: What is locked.
        timeout: Seconds to wait.
        work: Called with None under the lock, or with why it is not held.
        note: Told True when the lock is held and False when it no longer is.
        trouble: Told of a lock that fails.
    """
    done: list[R] = []
    failed: Exception | None = None
    refused: Exception | None = None
    try:
        try:
            with storage.lock(key, timeout):
                note(True)
                try:
                    done.append(work(None))
                except Exception as error:
                    failed = error
        except Exception as error:  # the lock's own, on entry or on leaving
            refused = error
            is_late = not done and failed is None and isinstance(error, StorageLockTimeoutError)
            trouble("cache_refresh", "lock_timeout" if is_late else "error", error)
        finally:
            note(False)
        if failed is not None:
            raise failed
        return done[0] if done else work(refused)
    finally:
        del failed, refused  # their tracebacks have this frame
