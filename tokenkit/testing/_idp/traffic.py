"""What reached the identity provider: counts, how many at once, and the last requests."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import final

from tokenkit.testing._idp.messages import Request

__all__ = ["RequestRecord", "Traffic"]

_RECORDS_KEPT = 1000


@final
@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request without anything secret: names of headers and form fields, never their values."""

    method: str
    path: str
    header_names: tuple[str, ...]
    field_names: tuple[str, ...]


@final
class Traffic:
    """Count requests as they come and go. Safe from any thread."""

    def __init__(self) -> None:
        self._arrived = threading.Condition(threading.Lock())  # notified when a request arrives
        # Guarded by _arrived:
        self._counts: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._max_in_flight: Counter[str] = Counter()
        self._records: deque[RequestRecord] = deque(maxlen=_RECORDS_KEPT)
        self._last: dict[str, Request] = {}
        self._connections = 0

    def connect(self) -> None:
        """Count a connection."""
        with self._arrived:
            self._connections += 1

    def arrive(self, keys: tuple[str, ...], request: Request) -> None:
        """Count *request* under each of *keys*; :meth:`leave` must follow."""
        record = RequestRecord(request.method, request.path, tuple(request.headers), tuple(request.form))
        with self._arrived:
            self._records.append(record)
            for key in keys:
                self._counts[key] += 1
                self._in_flight[key] += 1
                self._max_in_flight[key] = max(self._max_in_flight[key], self._in_flight[key])
                self._last[key] = request
            self._arrived.notify_all()

    def leave(self, keys: tuple[str, ...]) -> None:
        """Note that a request that arrived is being answered, or will never be."""
        with self._arrived:
            self._in_flight.subtract(keys)

    def reset(self) -> None:
        """Count from zero again; requests in flight stay in flight."""
        with self._arrived:
            self._counts.clear()
            self._max_in_flight.clear()
            self._records.clear()
            self._last.clear()
            self._connections = 0

    def wait_until_arrived(self, key: str, n: int, timeout: float) -> None:
        """Return once *n* requests arrived under *key*; an AssertionError tells how many did not."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._counts[key] >= n, timeout):
                raise AssertionError(f"{self._counts[key]} of {n} requests to {key} arrived within {timeout:g} s")

    @property
    def counts(self) -> Counter[str]:
        """A copy of the counts; what never came counts 0."""
        with self._arrived:
            return self._counts.copy()

    @property
    def max_in_flight(self) -> Counter[str]:
        """A copy of the highest numbers of requests that were in flight at once."""
        with self._arrived:
            return self._max_in_flight.copy()

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        with self._arrived:
            return self._connections

    @property
    def records(self) -> list[RequestRecord]:
        """The last 1000 requests, oldest first."""
        with self._arrived:
            return list(self._records)

    def last(self, key: str) -> Request:
        """Return the last request under *key*; an AssertionError where there was none."""
        with self._arrived:
            if key not in self._last:
                raise AssertionError(f"no request to {key} arrived")
            return self._last[key]
