"""What an observer of a manager may hear. Metrics and tracing live in :mod:`tokenkit.contrib`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["TokenEvent", "TokenListener"]


@final
@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One thing that happened to a manager's token; it carries no secret.

    Args:
        service_name: The service that the token is for.
        result: How it ended; each method of :class:`TokenListener` names its words.
        seconds: The duration or lifetime that belongs to it, or None.
        background: Whether it happened on the renewal thread rather than on a caller's.
    """

    service_name: str
    result: str
    seconds: float | None = None
    background: bool = False


class TokenListener:
    """Hears what happens to a manager's token. Override what you need; every method does nothing by default.

    Methods run on whichever thread made the thing happen, with no lock held, so they may call the manager. What
    they raise is logged and ignored. A listener that leaves :meth:`cache_hit` alone costs the hot path nothing.
    """

    def token_acquire(self, event: TokenEvent) -> None:
        """Hear that the source was asked: ``success`` or ``error``; seconds that it took."""

    def token_lifetime(self, event: TokenEvent) -> None:
        """Hear that a new token is held: ``fetched`` or ``adopted`` (from the storage); seconds until it expires."""

    def token_refresh(self, event: TokenEvent) -> None:
        """Hear that an attempt ended: ``success``, ``error`` or ``superseded``; seconds, storage and lock included."""

    def cache_hit(self, event: TokenEvent) -> None:
        """Hear that a caller got the held token at once: ``fresh`` or ``due``."""

    def cache_miss(self, event: TokenEvent) -> None:
        """Hear that a caller found no usable token: ``absent`` or ``expired``, or ``renew_required``."""

    def cache_store(self, event: TokenEvent) -> None:
        """Hear that a token was written to the storage: ``success``, ``error`` or ``conflict``; seconds."""

    def cache_refresh(self, event: TokenEvent) -> None:
        """Hear of the storage: ``adopted``, ``unchanged``, ``absent``, ``error`` or ``lock_timeout``; seconds."""

    def cache_invalidate(self, event: TokenEvent) -> None:
        """Hear that the held token was given up: ``rejected`` or ``requested``."""
