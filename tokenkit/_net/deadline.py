"""The moment by which all that the calling context reads and sends has to be done.

Each context has its own: a thread's deadline is nobody else's. Whoever opens sockets asks here how long he may wait.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tokenkit.clock import SystemClock

__all__ = ["deadline", "per_read", "read_limit", "shorter", "tighter", "time_left"]

_clock = SystemClock()
_deadline: ContextVar[float] = ContextVar("tokenkit_wire_deadline", default=math.inf)
_read_limit: ContextVar[float | None] = ContextVar("tokenkit_wire_read_limit")


@contextmanager
def deadline(moment: float) -> Iterator[None]:
    """Make every answer that is read inside this context, in this thread, end by *moment* on the monotonic clock."""
    before = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(before)


def time_left() -> float:
    """Return the seconds until the deadline of this context; infinity where there is none."""
    moment = _deadline.get()
    return moment if moment == math.inf else moment - _clock.monotonic()


def tighter(timeout: float | None) -> float | None:
    """Return *timeout*, None being no limit, or the seconds until the deadline where they are fewer."""
    left = time_left()
    return timeout if left == math.inf else max(0.0, left if timeout is None else min(left, timeout))


@contextmanager
def read_limit(seconds: float | None) -> Iterator[None]:
    """Say how long each read of answers that begin in this context may take once there is no deadline any more."""
    before = _read_limit.set(seconds)
    try:
        yield
    finally:
        _read_limit.reset(before)


def shorter(limit: float | None, left: float) -> float | None:
    """Return a socket's time-out: *limit*, None being no limit, or the seconds *left* where they are fewer."""
    if left == math.inf:
        return limit
    return left if limit is None else min(limit, left)


def per_read(default: float | None) -> float | None:
    """Return what :func:`read_limit` says in this context, else *default*; None: no limit."""
    return _read_limit.get(default)
