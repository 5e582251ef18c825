"""Log lines about tokens, on the standard library's logging."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

from tokenkit.events import FailureFacts, TokenEvent, TokenListener

__all__ = ["LoggingListener"]

logger: logging.Logger = logging.getLogger("tokenkit.contrib")

_FAILURES = frozenset({"error", "lock_timeout", "superseded"})


@final
class LoggingListener(TokenListener):
    """Logs one line an event, with its facts as attributes of the record. One serves any number of managers.

    The attributes, for a formatter that writes JSON, are ``token_event`` (the method of
    :class:`~tokenkit.events.TokenListener`), ``service_name``, ``result``, ``seconds``, ``background``, ``reason`` and
    ``failure`` (a :class:`~tokenkit.events.FailureFacts`, or None).

    Args:
        to: The logger. None: ``tokenkit.contrib``.
        level: The level of what goes well; ``logging.DEBUG``, which is 10, where nothing is said.
        failure_level: The level of what does not: ``error``, ``lock_timeout`` and ``superseded``;
            ``logging.WARNING``, which is 30, where nothing is said.
        hits: Log ``cache_hit`` too, once for each call of ``get_token``.

    Example:
        >>> import sys
        >>> from tokenkit import CallableTokenFetcher, Token, TokenManager
        >>> log = logging.getLogger("billing")
        >>> log.addHandler(logging.StreamHandler(sys.stdout))
        >>> source = CallableTokenFetcher(lambda: Token("not-shown"), name="billing")
        >>> listener = LoggingListener(log, level=logging.WARNING)
        >>> with TokenManager(source, listeners=[listener], background=False) as manager:
        ...     token = manager.get_token()
        billing: cache_miss absent
        billing: token_acquire success, ... s
        billing: token_refresh success, ... s
        billing: token_lifetime fetched
    """

    def __init__(
        self,
        to: logging.Logger | None = None,
        *,
        level: int = logging.DEBUG,
        failure_level: int = logging.WARNING,
        hits: bool = False,
    ) -> None:
        self._logger = logger if to is None else to
        self._level = level
        self._failure_level = failure_level
        if hits:
            self.cache_hit: Callable[[TokenEvent], None] = self._log_hit  # type: ignore[assignment]  # heard only where asked for: it costs

    def token_acquire(self, event: TokenEvent) -> None:
        self._log("token_acquire", event)

    def token_lifetime(self, event: TokenEvent) -> None:
        self._log("token_lifetime", event)

    def token_refresh(self, event: TokenEvent) -> None:
        self._log("token_refresh", event)

    def cache_miss(self, event: TokenEvent) -> None:
        self._log("cache_miss", event)

    def cache_store(self, event: TokenEvent) -> None:
        self._log("cache_store", event)

    def cache_refresh(self, event: TokenEvent) -> None:
        self._log("cache_refresh", event)

    def cache_invalidate(self, event: TokenEvent) -> None:
        self._log("cache_invalidate", event)

    def _log_hit(self, event: TokenEvent) -> None:
        self._log("cache_hit", event)

    def _log(self, name: str, event: TokenEvent) -> None:
        level = self._failure_level if event.result in _FAILURES else self._level
        if not self._logger.isEnabledFor(level):
            return
        facts = {
            "token_event": name,
            "service_name": event.service_name,
            "result": event.result,
            "seconds": event.seconds,
            "background": event.background,
            "reason": event.reason,
            "failure": event.failure,
        }
        seconds = "" if event.seconds is None else f", {event.seconds:.3f} s"
        where = " in the background" if event.background else ""
        why = "" if event.failure is None else _told(event.failure)
        self._logger.log(
            level, "%s: %s %s%s%s%s", event.service_name, name, event.result, seconds, where, why, extra=facts
        )


def _told(failure: FailureFacts) -> str:
    host = "" if failure.host is None else f" at {failure.host}"
    retry = "" if failure.retry_in is None else f"; the next try is in {failure.retry_in:.3g} s"
    return f": {failure}{host}{retry}"
