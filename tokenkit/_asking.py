"""Asking a source for a token, and judging what it gives or raises.

A source is a user's code. Whatever it does, what leaves here is a valid token or an error whose chain holds no secret.
"""

from __future__ import annotations

import inspect
import logging
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import final

from requests.exceptions import HTTPError, RequestException

from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenFetcher, TokenProvider
from tokenkit.errors import (
    AuthenticationError,
    ConfigurationError,
    MalformedResponseError,
    TokenEndpointError,
    TokenKitError,
    own_copy,
)
from tokenkit.tokens import Token

__all__ = ["FetcherProvider", "as_token", "as_token_error", "checked"]

logger = logging.getLogger(__name__)

_PASSING_STATUSES = frozenset({408, 425, 429})
# Where errors of other libraries keep what was sent or received, or more errors:
_KEEPSAKES = ("doc", "exceptions", "fp", "request", "response")


@final
class FetcherProvider(TokenProvider):
    """A fetcher that stands alone, seen as a provider."""

    def __init__(self, fetcher: TokenFetcher, clock: Clock) -> None:
        name = getattr(fetcher, "name", None)
        if not isinstance(name, str) or not name:
            raise ConfigurationError("a fetcher must have a name")
        if tuple(fetcher.depends_on):
            raise ConfigurationError(f"{name} depends on other steps; put them into a TokenFetchPipeline")
        self.service_name = name
        self.spends_refresh_token = fetcher.spends_refresh_token
        self._fetcher = fetcher
        self._clock = clock

    @property
    def cache_key(self) -> str:
        return self._fetcher.cache_key

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return as_token(self._fetcher, None, context, self._clock.now())

    def refresh_token(self, current: Token, context: FetchContext | None = None) -> Token:
        return as_token(self._fetcher, current, context, self._clock.now())


def as_token(fetcher: TokenFetcher, previous: Token | None, context: FetchContext | None, now: datetime) -> Token:
    """Ask *fetcher*, give the result its ttl, and tell the fetcher of its failure."""
    try:
        token = fetcher.fetch(context) if previous is None else fetcher.refresh(previous, context)
        return checked(token, fetcher.name, now, fetcher.ttl)
    except Exception as error:
        try:
            fetcher.on_fetch_error(error, context)
        except Exception as hook_error:
            logger.warning("on_fetch_error of %s raised %s", fetcher.name, type(hook_error).__name__)
        raise


def checked(token: object, name: str, now: datetime, ttl: timedelta | None = None) -> Token:
    """Return *token* with *ttl*, if it is a token and not expired.

    Raises:
        MalformedResponseError: It is something else, or expired.
    """
    if not isinstance(token, Token):
        raise MalformedResponseError(f"{name} gave {type(token).__name__} instead of a Token", step_name=name)
    token = token.with_ttl(ttl, now)
    if token.is_expired(now):
        raise MalformedResponseError(f"{name} gave a token that is already expired", step_name=name)
    return token


def as_token_error(error: BaseException, outer: BaseException | None = None) -> AuthenticationError:
    """Return *error*, or one in its place, as one for every waiter to copy: its chain holds no credential.

    Args:
        error: What the source raised.
        outer: What the thread was handling before it asked the source. Python chains it to whatever is raised, but it
            is that caller's own affair: the chain of *error* ends before it.
    """
    for one in _chain(error):
        if outer is not None and one.__context__ is outer:
            one.__context__ = None
    if not isinstance(error, AuthenticationError):
        told = _told(error)
        told.__cause__ = error if _is_clean(error) else None
        return told
    if not (_is_clean(error.__cause__) and _is_clean(error.__context__)):
        error.__cause__ = error.__context__ = None
    return own_copy(error) if _keeps_more(error) else error


def _told(error: BaseException) -> AuthenticationError:
    said = str(error) if isinstance(error, TokenKitError) else type(error).__name__
    message = f"the token source failed: {said}"
    if isinstance(error, HTTPError) and error.response is not None:  # as of raise_for_status()
        status = error.response.status_code
        passing = status >= 500 or status in _PASSING_STATUSES
        return TokenEndpointError(f"{message} with status {status}", status=status, transient=passing)
    return AuthenticationError(message, transient=not isinstance(error, ConfigurationError))


def _is_clean(error: BaseException | None) -> bool:
    return not any(_keeps_more(one) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and all that led to it, each once: ``raise error from error`` makes a circle."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__]


def _keeps_more(error: BaseException) -> bool:
    """Return whether *error* keeps the form of a request, the body of an answer, the output of a command, or so."""
    if isinstance(error, TokenKitError):  # requests notes the request on what an authentication handler raises
        return any(getattr(error, name, None) is not None for name in ("request", "response"))
    if isinstance(error, (RequestException, UnicodeError, subprocess.SubprocessError)):
        return True
    # Statically, as a property of httpx raises, and one of another library might do anything.
    return any(inspect.getattr_static(error, name, None) is not None for name in _KEEPSAKES)
