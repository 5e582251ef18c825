"""A clock that moves only when a test moves it, and that knows which threads wait on it.

:class:`FakeClock` owns two readings (wall and monotonic) and the list of parked threads. What a thread
does once it woke is its own affair: callers loop on their predicate.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import Counter
from dataclasses import dataclass
from typing import final

from tokenkit.clock import Clock, SystemClock

__all__ = ["FakeClock"]

_NANOSECONDS = 1_000_000_000
_MONOTONIC_START = 1_000 * _NANOSECONDS  # small, so that a float of seconds resolves a nanosecond
_POLL = 0.001  # real seconds between two looks at what nobody can notify us of


@dataclass(slots=True, eq=False)
class _Sleeper:
    """One parked thread, guarded by the clock's lock."""

    mailbox: queue.SimpleQueue[None]
    wake_at: float  # nanoseconds on the monotonic reading; infinity waits for an item


@final
class FakeClock(Clock):
    """Stand still until told to move.

    Safe from any thread. Time is kept in whole nanoseconds, so that a thousand small steps add up exactly.

    Args:
        start: What the wall clock shows at first, in seconds since the epoch. None: the system's time, in whole
            seconds, so that a token dated by that is as good here.
        patience: Real seconds that a thread stays parked at most, so that one which a test left behind can see that it
            is no longer wanted: 30 where nothing is said.

    Example:
        >>> from datetime import timedelta
        >>> from tokenkit import CallableTokenFetcher, Token, TokenManager
        >>> clock = FakeClock()
        >>> minute = timedelta(seconds=60)
        >>> source = CallableTokenFetcher(
        ...     lambda asked: Token("a-token", expires_at=asked.now() + minute)
        ... )
        >>> with TokenManager(source, clock=clock, background=False) as manager:
        ...     first = manager.get_token()
        ...     clock.advance(61)
        ...     manager.is_renewal_required()
        True
    """

    def __init__(self, start: float | None = None, *, patience: float = 30.0) -> None:
        self._changed = threading.Condition(threading.Lock())  # notified when a thread parks and when time moves
        # Guarded by _changed:
        self._now = _MONOTONIC_START
        wall = math.floor(SystemClock().time()) if start is None else start
        self._wall_ahead = round(wall * _NANOSECONDS) - _MONOTONIC_START
        self._sleepers: list[_Sleeper] = []
        # Set here, never reassigned.
        self._patience = patience

    def __repr__(self) -> str:
        return f"FakeClock(time={self.time():.3f}, parked={self.parked})"

    def time(self) -> float:
        """Return the wall clock in seconds since the epoch."""
        with self._changed:
            return (self._now + self._wall_ahead) / _NANOSECONDS

    def monotonic(self) -> float:
        """Return the seconds that :meth:`step_wall` does not move."""
        with self._changed:
            return self._now / _NANOSECONDS

    def nap(self, mailbox: queue.SimpleQueue[None], timeout: float | None) -> None:
        """Take one item out of *mailbox*, or return without one when *timeout* passed here.

        After *patience* real seconds it returns early, as a nap may.

        Args:
            mailbox: What others put None into to end the nap.
            timeout: Seconds on this clock. None waits for an item; 0 or less takes one if it is there.
        """
        sleeper = self._park(mailbox, timeout)
        with self._changed:
            # A SimpleQueue notifies nobody but its own get(), and a get() would take the item a moment
            # before this thread could say that it is awake: wait_until_parked() would count a thread
            # that has work to do. So look now and then, and take the item and wake in one step.
            for _ in range(int(self._patience / _POLL)):
                if not mailbox.empty():
                    mailbox.get_nowait()
                    break
                if sleeper not in self._sleepers:
                    break
                self._changed.wait(_POLL)
            if sleeper is not None:
                self._unpark_locked(sleeper)

    def advance(self, seconds: float) -> None:
        """Move both clocks on and wake the threads whose time has come.

        They no longer count as parked when this returns, whether or not they have run by then.

        Args:
            seconds: How far; not negative.
        """
        with self._changed:
            self._move_locked(seconds)
            self._wake_locked()

    def _wake_locked(self) -> None:
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper.wake_at > self._now]
        self._changed.notify_all()

    def suspend(self, seconds: float) -> None:
        """Move both clocks on while nothing runs, as when a laptop's lid is closed.

        The monotonic reading counts that time, as CLOCK_BOOTTIME does. The timed waits of an operating
        system do not: every parked thread still has the rest of its wait before it.

        Args:
            seconds: How long; not negative.
        """
        with self._changed:
            before = self._now
            self._move_locked(seconds)
            for sleeper in self._sleepers:
                sleeper.wake_at += self._now - before

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock on by *seconds* (back, where negative), as NTP or a person does."""
        with self._changed:
            self._wall_ahead += round(seconds * _NANOSECONDS)

    @property
    def parked(self) -> int:
        """How many threads are parked and have not been woken."""
        with self._changed:
            return self._parked_locked()

    @property
    def until_next_wake(self) -> float | None:
        """Seconds until the first parked thread is due; None where none waits for a time."""
        with self._changed:
            first = min((sleeper.wake_at for sleeper in self._sleepers), default=math.inf)
            return None if first == math.inf else (first - self._now) / _NANOSECONDS

    def wait_until_parked(self, n: int = 1, timeout: float = 5.0) -> None:
        """Return as soon as *n* threads or more are parked.

        A thread whose mailbox holds an item does not count although it may not have run yet: it has work to do.

        Args:
            n: How many threads to wait for.
            timeout: Real seconds.

        Raises:
            AssertionError: there were fewer all that time; the message says how many.
        """
        with self._changed:
            self._wait_until_parked_locked(n, timeout)

    def _wait_until_parked_locked(self, n: int, timeout: float) -> None:
        real = SystemClock()
        deadline = real.monotonic() + timeout
        while self._parked_locked() < n:
            if real.monotonic() >= deadline:
                raise AssertionError(f"{self._parked_locked()} of {n} threads were parked after {timeout:g} s")
            self._changed.wait(_POLL)

    def _park(self, mailbox: queue.SimpleQueue[None], timeout: float | None) -> _Sleeper | None:
        if timeout is not None and timeout <= 0:
            return None
        with self._changed:
            wake_at = math.inf if timeout is None else self._now + round(timeout * _NANOSECONDS)
            if wake_at <= self._now:
                # What a subtraction of floats left over. Nobody else moves this clock, so a caller who
                # loops until its deadline would spin for ever: let the moment pass here.
                self._now += 1
                return None
            sleeper = _Sleeper(mailbox, wake_at)
            self._sleepers.append(sleeper)
            self._changed.notify_all()
            return sleeper

    def _unpark_locked(self, sleeper: _Sleeper) -> None:
        if sleeper in self._sleepers:  # else advance() took it off
            self._sleepers.remove(sleeper)

    def _parked_locked(self) -> int:
        listed = Counter(sleeper.mailbox for sleeper in self._sleepers)
        return sum(_still_asleep(mailbox, count) for mailbox, count in listed.items())

    def _move_locked(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"a clock does not go back: {seconds!r}")
        self._now += round(seconds * _NANOSECONDS)


def _still_asleep(mailbox: queue.SimpleQueue[None], listed: int) -> int:
    """Count the threads on *mailbox* that nobody has given an item yet; each stays listed until it has run."""
    return max(0, listed - mailbox.qsize() - len(getattr(mailbox, "young", ())))  # what a refresh thread has begun
