"""What an observer of a manager may hear. Metrics and tracing live in :mod:`tokenkit.contrib`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import final

from tokenkit._dataclasses import dataclass
from tokenkit.errors import AuthenticationError, ConfigurationError, TokenEndpointError

__all__ = ["Announcer", "FailureFacts", "TokenEvent", "TokenListener", "facts_of"]

logger: logging.Logger = logging.getLogger("tokenkit")


@final
@dataclass(frozen=True, slots=True)
class FailureFacts:
    """What is known of a failure, without its text; it carries no secret.

    Args:
        kind: The class of the error, such as ``TransportError``.
        status: The HTTP status of the answer, or None.
        error: The error code of RFC 6749 section 5.2, such as ``invalid_client``, or None.
        host: The endpoint's host, and port where its URL has one, or None.
        transient: Whether the same request may succeed later.
        retry_in: Seconds until the next try, if it is needed by then; of a renewal alone, else None.

    Example:
        >>> print(FailureFacts("TokenEndpointError", 401, "invalid_client", "id.example.com"))
        TokenEndpointError, 401, invalid_client
    """

    kind: str
    status: int | None = None
    error: str | None = None
    host: str | None = None
    transient: bool = False
    retry_in: float | None = None

    def __str__(self) -> str:
        return ", ".join([self.kind, *(str(fact) for fact in (self.status, self.error) if fact is not None)])


def facts_of(error: BaseException, retry_in: float | None = None) -> FailureFacts:
    """Return the facts of *error*, whatever raised it."""
    known = error if isinstance(error, AuthenticationError) else None
    answer = error if isinstance(error, TokenEndpointError) else None
    return FailureFacts(
        kind=type(error).__name__,
        status=answer.status if answer else None,
        error=answer.error if answer else None,
        host=known.host if known else None,
        transient=known.transient if known else not isinstance(error, ConfigurationError),
        retry_in=retry_in,
    )


@final
@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One thing that happened to a manager's token; it carries no secret.

    Args:
        service_name: The service that the token is for.
        result: How it ended; each method of :class:`TokenListener` names its words.
        seconds: The duration or lifetime that belongs to it, or None.
        background: Whether it happened on the renewal thread rather than on a caller's.
        reason: Why a token was wanted: ``first``, ``due``, ``expired``, ``rejected`` (by a resource), ``requested`` (by
            the user), ``forced`` (by one who took none that was there), or ``adopted``: another process had stored one.
            None: none was, as with ``cache_hit``.
        failure: The facts of what failed, or None.
    """

    service_name: str
    result: str
    seconds: float | None = None
    background: bool = False
    reason: str | None = None
    failure: FailureFacts | None = None


class TokenListener:
    """Hears what happens to a manager's token. Override what you need; every method does nothing by default.

    A method runs on the thread that made the thing happen, with no lock held, so it may call the manager. During an
    attempt it must not wait for a token: that is a RuntimeError. What it raises is logged and ignored, except Ctrl-C
    and any other :class:`BaseException` that is no :class:`Exception`: on a caller's thread that goes on to the caller,
    once the token has landed. A listener that does not override :meth:`cache_hit` costs the hot path nothing.
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


@final
class Announcer:
    """Tells the listeners of one service what happened, and catches what they raise. Never changes.

    Raises:
        ConfigurationError: *listeners* is no list, or a listener is no :class:`TokenListener`.
    """

    def __init__(self, service_name: str, listeners: Iterable[TokenListener]) -> None:
        if not isinstance(listeners, Iterable):
            raise ConfigurationError(f"listeners must be a list, not {type(listeners).__name__}")
        self._service_name = service_name
        self.listeners: tuple[TokenListener, ...] = tuple(listeners)
        for listener in self.listeners:
            if not isinstance(listener, TokenListener):
                raise ConfigurationError(f"a listener must be a TokenListener, not {type(listener).__name__}")
        self.hears_hits: bool = any(_overrides(one.cache_hit, TokenListener.cache_hit) for one in self.listeners)

    def tell(
        self,
        name: str,
        result: str,
        seconds: float | None = None,
        *,
        background: bool = False,
        reason: str | None = None,
        failure: FailureFacts | None = None,
    ) -> None:
        """Call the method *name* of every listener with one event. To be called with no lock held.

        Raises:
            BaseException: What a listener raised on a caller's thread, if that is no :class:`Exception`.
        """
        if not self.listeners:
            return
        event = TokenEvent(self._service_name, result, seconds, background, reason, failure)
        for listener in self.listeners:
            try:
                getattr(listener, name)(event)
            except BaseException as error:  # a user's code
                if not (background or isinstance(error, Exception)):
                    raise  # Ctrl-C is the caller's; on the renewal thread there is nobody to take it
                logger.warning("listener %s raised %s [hook-raised]", type(listener).__name__, type(error).__name__)


def _overrides(method: object, inherited: object) -> bool:
    # Also where the class leaves it alone and the object has a function of its own.
    return getattr(method, "__func__", None) is not inherited
