"""What a pipeline falls back on without its storage's lock: one flight a step among the threads of this process.

Nothing is kept: a token that landed serves those who waited for it, and nobody who came later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import final

from tokenkit._per_process import PerProcess
from tokenkit.clock import Clock
from tokenkit.tokens import Token

__all__ = ["SingleFlight"]


@final
class _Flight:
    """One key's, as long as somebody uses it; guarded by its table's condition."""

    __slots__ = ("is_under_way", "landed", "users")

    def __init__(self) -> None:
        self.is_under_way = False
        self.landed: Token | None = None  # the last one that did
        self.users = 0


@final
class _Table:
    """One process's flights."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.Lock())  # notified when a flight ends
        self.flights: dict[str, _Flight] = {}  # guarded by changed; one that nobody uses is not in it


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
            fetch: Called by one thread at a time, and with no lock held; whoever it fails for leaves the next its turn.
            is_good: Judges a token that another thread fetched.
            patience: Seconds to wait for others, before fetching beside them.

        Raises:
            Exception: What *fetch* raised.
        """
        table = self._tables.get()
        with table.changed:
            flight = table.flights.setdefault(key, _Flight())
            flight.users += 1
            known = flight.landed
            leads = self._wait_locked(table, flight, self._clock.monotonic() + patience)
            landed = flight.landed
        token = None
        try:
            if landed is None or landed is known or not is_good(landed):
                landed = token = fetch()
            return landed
        finally:
            if self._tables.get() is table:  # else in a forked child, where another thread may seem to hold its lock
                with table.changed:
                    self._land_locked(table, key, leads, token)

    def _wait_locked(self, table: _Table, flight: _Flight, deadline: float) -> bool:
        """Return whether the flight is the caller's now, rather than the time over."""
        while flight.is_under_way:
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                return False
            self._clock.wait(table.changed, remaining)
        flight.is_under_way = True
        return True

    def _land_locked(self, table: _Table, key: str, leads: bool, token: Token | None) -> None:
        flight = table.flights[key]
        flight.landed = token or flight.landed
        flight.users -= 1
        if not flight.users:
            del table.flights[key]
        if leads:
            flight.is_under_way = False
            table.changed.notify_all()
