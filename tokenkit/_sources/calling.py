"""Asking a source for a token, and judging what it gives or raises.

A source is a user's code. Whatever it does, what leaves here is a valid token or an error whose chain holds no secret.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import final

from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenFetcher, TokenProvider
from tokenkit.errors import ConfigurationError, MalformedResponseError
from tokenkit.tokens import Token

__all__ = ["FetcherProvider", "as_token", "checked"]

logger: logging.Logger = logging.getLogger("tokenkit.fetchers")


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
        self.rotates = fetcher.rotates
        self._fetcher = fetcher
        self._clock = clock

    @property
    def cache_key(self) -> str:
        return self._fetcher.cache_key

    @property
    def grant_key(self) -> str | None:
        return self._fetcher.grant_key

    @property
    def certificate(self) -> str | None:
        return self._fetcher.certificate

    @property
    def credentials(self) -> str | None:
        return self._fetcher.credentials

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
            logger.warning("on_fetch_error of %s raised %s [hook-raised]", fetcher.name, type(hook_error).__name__)
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
