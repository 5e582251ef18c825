"""Which event is which metric, however metrics are made; and what a copy of such a listener is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from tokenkit.events import TokenEvent, TokenListener

__all__ = ["COUNTED", "LIFETIME", "TIMED", "MetricsListener"]

TIMED = {
    "token_acquire": "Seconds that the source took for one token.",
    "token_refresh": "Seconds that one attempt to renew took, storage and lock included.",
    "cache_store": "Seconds that it took to write a token to the storage.",
    "cache_refresh": "Seconds that it took to look for a newer token in the storage.",
}
COUNTED = {
    "tokens": "Tokens that came to be held, fetched or adopted from the storage.",
    "cache_hits": "Callers that got the held token at once.",
    "cache_misses": "Callers that found no usable token.",
    "cache_invalidations": "Held tokens that were given up.",
}
LIFETIME = "Seconds that the newest token had left when it came to be held."


class MetricsListener(TokenListener, ABC):
    """Turns events into measurements. One serves any number of managers, from any thread.

    A copy is the same object, since it reports to the same place. A pickle is made anew where it arrives, which is
    possible for the process-wide default only.
    """

    def __init__(self, *, hits: bool, is_default: bool) -> None:
        self._hits = hits
        self._is_default = is_default
        if hits:
            self.cache_hit: Callable[[TokenEvent], None] = self._count_hit  # type: ignore[assignment]  # heard only where asked for: it costs

    @abstractmethod
    def _time(self, name: str, event: TokenEvent) -> None:
        """Add *event* to the distribution *name* of :data:`TIMED`."""

    @abstractmethod
    def _count(self, name: str, event: TokenEvent) -> None:
        """Add *event* to the counter *name* of :data:`COUNTED`."""

    @abstractmethod
    def _set_lifetime(self, event: TokenEvent) -> None:
        """Note the seconds of *event* as the lifetime of its service's newest token."""

    def token_acquire(self, event: TokenEvent) -> None:
        self._time("token_acquire", event)

    def token_refresh(self, event: TokenEvent) -> None:
        self._time("token_refresh", event)

    def token_lifetime(self, event: TokenEvent) -> None:
        self._count("tokens", event)
        self._set_lifetime(event)

    def cache_miss(self, event: TokenEvent) -> None:
        self._count("cache_misses", event)

    def cache_store(self, event: TokenEvent) -> None:
        self._time("cache_store", event)

    def cache_refresh(self, event: TokenEvent) -> None:
        self._time("cache_refresh", event)

    def cache_invalidate(self, event: TokenEvent) -> None:
        self._count("cache_invalidations", event)

    def _count_hit(self, event: TokenEvent) -> None:
        self._count("cache_hits", event)

    def __copy__(self) -> MetricsListener:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MetricsListener:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._is_default:
            raise TypeError(f"{type(self).__name__} can only be pickled where it reports to the process-wide default")
        return _rebuild, (type(self), self._hits)


def _rebuild(kind: Any, hits: bool) -> MetricsListener:
    listener: MetricsListener = kind(hits=hits)
    return listener
