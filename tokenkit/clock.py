"""Time: the only code in tokenkit that reads a clock or waits for one.

Two clocks are told apart. Wall time says when a token expires and may be stepped by an operator or by NTP.
Monotonic time measures durations and deadlines inside one process and never leaves it. Everything that waits
does so through a :class:`Clock`, so that a test can drive it with :class:`~tokenkit.testing.clock.FakeClock`.
"""

from __future__ import annotations

import queue
import threading
import time as _time
from abc import ABC, abstractmethod
from datetime import datetime, timezone
from functools import partial
from typing import final

__all__ = ["Clock", "SystemClock"]


class Clock(ABC):
    """What the rest of the package may ask of time. Implementations are safe from any thread."""

    @abstractmethod
    def time(self) -> float:
        """Return wall time in seconds since the epoch; it may jump either way."""

    def now(self) -> datetime:
        """Return wall time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.time(), timezone.utc)

    @abstractmethod
    def monotonic(self) -> float:
        """Return seconds that only grow, whatever happens to wall time; comparable in this process only."""

    @abstractmethod
    def nap(self, mailbox: queue.SimpleQueue[None], timeout: float | None) -> None:
        """Sleep until somebody puts an item into *mailbox* or *timeout* is over; take one item out.

        A mailbox wakes where a condition cannot: putting into a ``SimpleQueue`` is safe even in a weakref
        callback, which the collector may run in a thread that holds any lock. A nap may end early: the caller looks
        again at what it waits for.

        Args:
            mailbox: One sleeper's own.
            timeout: Seconds; None sleeps until an item comes.
        """


def _monotonic_source() -> partial[float] | None:
    # CLOCK_MONOTONIC stands still while a Linux machine is suspended; a token's lifetime does not.
    boottime = getattr(_time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return None
    try:
        _time.clock_gettime(boottime)
    except OSError:  # a kernel or a sandbox without it
        return None
    return partial(_time.clock_gettime, boottime)


_boottime = _monotonic_source()


@final
class SystemClock(Clock):
    """The machine's clocks: ``time.time`` and, where there is one, ``CLOCK_BOOTTIME``, which counts suspend.

    Example:
        >>> clock = SystemClock()
        >>> clock.now().tzinfo
        datetime.timezone.utc
    """

    # Bound to the C functions themselves: a Python frame between would double the cost of the hot path.
    time: staticmethod[[], float] = staticmethod(_time.time)
    monotonic: staticmethod[[], float] = staticmethod(_boottime or _time.monotonic)

    def nap(self, mailbox: queue.SimpleQueue[None], timeout: float | None) -> None:
        try:
            mailbox.get(timeout=None if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX)))
        except queue.Empty:
            pass
