"""Checks of what ``BearerAuth`` and ``AuthorizedSession`` are given: each returns it, or raises ConfigurationError."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, final

from tokenkit._checks import is_count, is_http_token, is_seconds, is_visible_ascii, seconds
from tokenkit.contracts import TokenFetcher, TokenPipeline, TokenProvider
from tokenkit.errors import ConfigurationError
from tokenkit.manager import ManagerPool, TokenManager
from tokenkit.tokens import Token

__all__ = [
    "ExtraHeaders",
    "checked_attempts",
    "checked_duration",
    "checked_header",
    "checked_limits",
    "checked_scheme",
    "checked_statuses",
    "checked_wait",
    "manager_of",
]


def manager_of(source: object) -> tuple[TokenManager, bool]:
    """Return the manager that *source* is, or one made for it, and whether it was made.

    Raises:
        ConfigurationError: It is neither a manager nor what one is made of; the error says what to write.
    """
    if isinstance(source, TokenManager):
        return source, False
    if isinstance(source, ManagerPool):
        raise ConfigurationError("a ManagerPool needs a key: write key=... with one, or with a function of the request")
    if not isinstance(source, type) and isinstance(source, (TokenProvider, TokenFetcher, TokenPipeline)):
        return TokenManager(source), True
    kind = type(source).__name__
    if isinstance(source, type):
        hint = f"not the class {source.__name__}: write {source.__name__}(...)"
    elif isinstance(source, (str, Token)):
        hint = f"not {kind}: write StaticTokenFetcher(Token(...)) for a token that never changes"
    elif callable(source):
        hint = f"not {kind}: write CallableTokenFetcher(...) around a function that returns a token"
    else:
        hint = f"not {kind}"
    raise ConfigurationError(f"manager must be a TokenManager, or what it takes as its source, {hint}")


@final
class ExtraHeaders:
    """The headers that go where a token goes: given as a mapping, or as a function of the token.

    Raises:
        ConfigurationError: They are no mapping of texts that headers can have.
    """

    def __init__(self, given: Mapping[str, str] | Callable[[Token], Mapping[str, str]] | None) -> None:
        self._given = given if callable(given) else _checked_fields(given or {})

    def of(self, token: Token) -> Mapping[str, str]:
        """Return the headers for *token*."""
        return _checked_fields(self._given(token)) if callable(self._given) else self._given


def _checked_fields(given: object) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            "extra_headers must be a mapping of texts, or a function of the token that returns one"
        )
    for name, value in given.items():
        if not isinstance(name, str) or not is_http_token(name):
            raise ConfigurationError("extra_headers has a name that no header can have")
        if not isinstance(value, str) or not _is_header_value(value):  # not quoted: it may be a key
            raise ConfigurationError(f"extra_headers: the value of {name} is not visible text")
    return dict(given)


def _is_header_value(text: str) -> bool:
    """Whether *text* is visible ASCII, with blanks and tabs inside alone: RFC 9110 section 5.5."""
    return is_visible_ascii(text.replace(" ", "x").replace("\t", "x")) and text == text.strip(" \t")


def checked_header(header: str) -> str:
    if not isinstance(header, str) or not is_http_token(header):
        raise ConfigurationError("header must be the name of a header")
    return header


def checked_scheme(scheme: str | None) -> str | None:
    if scheme is not None and (not isinstance(scheme, str) or (scheme and not is_http_token(scheme))):
        raise ConfigurationError('scheme must be a word such as "Bearer", "" for the bare token, or None')
    return scheme


def checked_statuses(codes: Iterable[int]) -> frozenset[int]:
    statuses = tuple(codes) if isinstance(codes, Iterable) else None
    if statuses is None or not all(isinstance(code, int) and 400 <= code <= 599 for code in statuses):
        raise ConfigurationError("refresh_status_codes must be a list of statuses from 400 to 599")
    return frozenset(statuses)


def checked_attempts(attempts: int) -> int:
    if not is_count(attempts):
        raise ConfigurationError("max_refresh_attempts must be a whole number, at least 0")
    return attempts


def checked_wait(timeout: float | timedelta | None, name: str = "timeout") -> float | None:
    return None if timeout is None else seconds(name, timeout, zero=True, infinite=False)


def checked_limits(timeout: Any) -> Any:
    pair = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    if len(pair) != 2 or not all(one is None or is_seconds(one, zero=False, infinite=False) for one in pair):
        raise ConfigurationError("timeout must be seconds, more than 0, a pair (connect, read) of them, or None")
    return timeout


def checked_duration(duration: float | timedelta) -> float:
    limit = seconds("max_allowed_time", duration, zero=False, infinite=False)
    return min(limit, threading.TIMEOUT_MAX)  # sockets and locks take no more, which is 49 days and up
