"""Single flight inside this process, used while the storage's lock cannot be taken: one fetch a step for all threads.

Nothing is kept: a token serves the threads that waited for it, and no thread that comes later.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import final

from tokenkit._guard import Guard
from tokenkit._per_process import PerProcess
from tokenkit.clock import Clock
from tokenkit.tokens import Token

__all__ = ["SingleFlight"]

_LONGEST_NAP = 1.0  # seconds: what a leader could not tell, because an interrupt ended it, is seen by then


@final
class _Turn:
    """One thread that wants a token."""

    __slots__ = ("__weakref__", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()


@final
class _Flight:
    """The flight of one key, kept while a thread uses it."""

    def __init__(self) -> None:
        # Guarded by its table's guard:
        self.leader: weakref.ref[_Turn] | None = None  # who fetches; one that is gone, by an interrupt, does not
        self.landed: Token | None = None  # the token of the last fetch that succeeded
        self.mailboxes: list[queue.SimpleQueue[None]] = []  # one for each who waits; filled when a fetch ends

    def may_be_led_by(self, turn: _Turn) -> bool:
        leader = None if self.leader is None else self.leader()
        return leader is None or leader.thread == turn.thread  # which an interrupt ended, or whose fetch calls back


@final
class _Table:
    """The flights of one process."""

    def __init__(self) -> None:
        self.guard = Guard()
        # Guarded by guard; one that nobody uses is not in it:
        self.flights: weakref.WeakValueDictionary[str, _Flight] = weakref.WeakValueDictionary()


@final
class SingleFlight:
    """Lets one thread at a time fetch under a key, and gives those who wait what it got. Safe from any thread.

    Args:
        clock: Owns the waiting.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tables = PerProcess(_Table)

    def __reduce__(self) -> tuple[type[SingleFlight], tuple[Clock]]:
        return SingleFlight, (self._clock,)

    def join(self, key: str, fetch: Callable[[], Token], is_good: Callable[[Token], bool], *, patience: float) -> Token:
        """Return the token of the flight under way, if *is_good* says so, else what *fetch* returns.

        Args:
            key: What is fetched.
            fetch: Called by one thread at a time, and with no lock held; if it raises, the next waiting thread calls
                its own.
            is_good: Judges a token that another thread fetched.
            patience: Seconds to wait for others, before fetching beside them.

        Raises:
            Exception: What *fetch* raised.
        """
        table, turn = self._tables.get(), _Turn()
        with table.guard:
            flight = table.flights.setdefault(key, _Flight())
            known = flight.landed
        token = None
        try:
            self._await_turn(table, flight, turn, self._clock.monotonic() + patience)
            landed = flight.landed
            if landed is None or landed is known or not is_good(landed):
                landed = token = fetch()
            return landed
        finally:
            if self._tables.get() is table:  # else in a forked child, where another thread may seem to hold its lock
                try:
                    _land(table, flight, turn, token)
                except BaseException:  # Ctrl-C: nobody else would do it
                    _land(table, flight, turn, token)
                    raise

    def _await_turn(self, table: _Table, flight: _Flight, turn: _Turn, deadline: float) -> None:
        """Return when *turn* leads, or the time is over."""
        mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()
        while True:
            with table.guard:
                if flight.may_be_led_by(turn):
                    flight.leader = weakref.ref(turn)
                    return
                flight.mailboxes.append(mailbox)
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                return
            self._clock.nap(mailbox, min(remaining, _LONGEST_NAP))


def _land(table: _Table, flight: _Flight, turn: _Turn, token: Token | None) -> None:
    """Leave *token* to those who wait, and the flight to the next of them. May be repeated."""
    with table.guard:
        flight.landed = token or flight.landed
        if flight.leader is not None and flight.leader() is turn:
            flight.leader = None
            for mailbox in flight.mailboxes:
                mailbox.put(None)
            flight.mailboxes.clear()
