"""Doing something under a storage's lock, or without it where that is not to be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageLockTimeoutError

__all__ = ["Trouble", "under_lock"]

R = TypeVar("R")
Trouble = Callable[[str, str, Exception], None]
"""Told the name of a :class:`~tokenkit.events.TokenListener` method, a result and the storage's failure."""

_FIRST_WAIT: Final = 0.05  # seconds before the first look
_LONGEST_WAIT: Final = 0.25
_GROWTH: Final = 1.2  # from one wait to the next: what the holder stores is found when it is a fifth older at most


def under_lock(
    storage: TokenStorage,
    key: str,
    timeout: float,
    work: Callable[[Exception | None], R],
    *,
    look: Callable[[], R | None],
    now: Callable[[], float],
    note: Callable[[bool], None],
    trouble: Trouble,
) -> R:
    """Return what *work* returns, done under the lock of *key* if it is to be had in time, else without.

    What another's work has left is of use before it is one's turn: so, while it is not, *look* is asked now and then.

    The ``with`` is here, and not in a context manager of ours: an interrupt between two of them would leave the lock
    behind. The storage's own sees no failure of *work*, and so cannot hide it.

    Args:
        storage: Whose lock.
        key: What is locked.
        timeout: Seconds to wait.
        work: Called with None under the lock, or with why it is not held; at most once.
        look: Called while another holds the lock: what it returns, unless that is None, is returned in work's place.
        now: The monotonic clock that *timeout* is measured by.
        note: Told True when the lock is held and False when it no longer is.
        trouble: Told of a lock that fails.
    """
    done: list[R] = []
    failed: BaseException | None = None
    refused: Exception | None = None
    is_late = False
    try:
        for wait in _waits(timeout, now):
            if is_late and (found := look()) is not None:
                return found
            refused = None
            try:
                with storage.lock(key, wait):
                    note(True)
                    try:
                        done.append(work(None))
                    except BaseException as error:
                        failed = error
            except Exception as error:  # the lock's own, on entry or on leaving
                refused = error
            finally:
                note(False)
            is_late = not done and failed is None and isinstance(refused, StorageLockTimeoutError)
            if not is_late:
                break
        if refused is not None:
            trouble("cache_refresh", "lock_timeout" if is_late else "error", refused)
        if failed is not None:
            raise failed
        return done[0] if done else work(refused)
    finally:
        del failed, refused  # their tracebacks have this frame


def _waits(timeout: float, now: Callable[[], float]) -> Iterator[float]:
    """Give how long to wait each time, until *timeout* seconds are over."""
    wait = min(timeout, _FIRST_WAIT)
    yield wait  # taken at its word: who finds the lock free reads no clock
    began, left = now(), timeout - wait
    deadline, wait = began + left, _GROWTH * wait
    while left > 0:
        wait = min(wait, left)
        yield wait
        ended = now()
        if ended - began < wait / 2:  # it knew its answer at once, or waits by another clock: at its word, too
            left, wait = left - wait, 2 * wait
        else:
            left, wait = deadline - ended, min(_GROWTH * wait, _LONGEST_WAIT)
        began = ended
