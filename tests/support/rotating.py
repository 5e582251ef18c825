"""A source whose refresh tokens rotate, and that notices one that is shown twice; and a clock that tells who waits."""

import queue
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from tokenkit.clock import Clock, SystemClock
from tokenkit.contracts import FetchContext, TokenProvider
from tokenkit.errors import TokenEndpointError
from tokenkit.tokens import Token

LIFE = timedelta(hours=1)


class RotatingSource(TokenProvider):
    """Gives token 1, 2, 3, ...; :attr:`reused` counts refresh tokens that were spent before.

    Args:
        during: Called in each fetch, before the token is made.
    """

    service_name = "rotating"
    spends_refresh_token = True

    def __init__(self, during: Callable[[], object] = int) -> None:
        self.during = during
        self.given = 0
        self.reused = 0

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        self.during()
        return self._next()

    def refresh_token(self, current: Token, context: FetchContext | None = None) -> Token:
        self.during()
        if current.refresh_token != f"refresh-{self.given}":
            self.reused += 1
            raise TokenEndpointError("spent already", status=400, error="invalid_grant")
        return self._next()

    def _next(self) -> Token:
        # In one step for whoever interrupts: given means returned.
        now = datetime.now(timezone.utc)
        number = self.given + 1
        token = Token(f"t{number}", issued_at=now, expires_at=now + LIFE, refresh_token=f"refresh-{number}")
        self.given = number
        return token


class TellingClock(Clock):
    """The system's clock, which tells when a thread waits on it."""

    def __init__(self) -> None:
        self.waiting: dict[threading.Thread, threading.Event] = {}
        self._real = SystemClock()

    def expect(self, thread: threading.Thread) -> threading.Event:
        """Return what is set when *thread* waits."""
        return self.waiting.setdefault(thread, threading.Event())

    def time(self) -> float:
        return self._real.time()

    def monotonic(self) -> float:
        return self._real.monotonic()

    def nap(self, mailbox: queue.SimpleQueue[None], timeout: float | None) -> None:
        event = self.waiting.get(threading.current_thread())
        if event is not None:
            event.set()
        self._real.nap(mailbox, timeout)
