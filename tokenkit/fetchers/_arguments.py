"""Arguments that every fetcher takes: their checks, the sets they mean, and values from functions of the context."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from tokenkit._secrecy.files import read_secret
from tokenkit.contracts import FetchContext, takes_context
from tokenkit.errors import AuthenticationError, ConfigurationError
from tokenkit.tokens import Token

__all__ = [
    "check_fields",
    "check_step",
    "check_texts",
    "check_words",
    "from_context",
    "given",
    "scope_words",
    "token_text",
    "value_set",
]


def check_step(name: object, depends_on: Sequence[str], ttl: timedelta | None) -> tuple[str, ...]:
    """Return *depends_on* as a tuple if these can be a step's.

    Raises:
        ConfigurationError: The name is empty, a dependency is none, or the lifetime is not positive.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError("name must be a string, and not empty")
    if isinstance(depends_on, str) or not all(isinstance(one, str) and one for one in depends_on):
        raise ConfigurationError("depends_on must be a sequence of step names")
    if ttl is not None and not (isinstance(ttl, timedelta) and ttl > timedelta(0)):
        raise ConfigurationError("ttl must be a timedelta of more than 0, or None")
    return tuple(depends_on)


def check_texts(**arguments: object) -> None:
    """Check that each of these arguments is a string, and not empty."""
    for name, value in arguments.items():
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{name} must be a string, and not empty")


def check_words(**arguments: Any) -> None:
    """Check that each of these arguments is a string, a sequence of them, a function, or None."""
    for name, value in arguments.items():
        if value is None or callable(value) or isinstance(value, str):
            continue
        if not isinstance(value, Collection) or not all(isinstance(one, str) for one in value):
            raise ConfigurationError(f"{name} must be a string, a sequence of strings, or a function that returns them")


def check_fields(**arguments: Any) -> None:
    """Check that each of these arguments is a mapping, what makes one, a function, or None."""
    for name, value in arguments.items():
        try:
            dict(() if value is None or callable(value) else value)
            continue
        except (TypeError, ValueError):
            pass
        raise ConfigurationError(f"{name} must be a mapping, or a function that returns one")  # the value is not told


def given(context: FetchContext | None) -> FetchContext:
    """Return *context*, or an empty one where there is none."""
    return FetchContext() if context is None else context  # one without tokens is false, but has a limit and a clock


def from_context(value: Any, context: FetchContext) -> Any:
    """Return *value*, or what it returns if it is a function; that is given the context if it takes one."""
    if not callable(value):
        return value
    return value(context) if takes_context(value) else value()


def scope_words(scope: Any) -> Any:
    """Return the set of *scope*'s words, whose order means nothing; a function as it is, and None for none."""
    if callable(scope) or not scope:
        return scope or None
    return frozenset((scope if isinstance(scope, str) else " ".join(scope)).split())


def value_set(value: Any) -> Any:
    """Return the set of one string or several; a function as it is, and None for none."""
    # Not split: an audience may have a space in it, and is then not the two that its words are.
    if callable(value) or not value:
        return value or None
    return frozenset([value] if isinstance(value, str) else value)


def token_text(value: Any, context: FetchContext, *, step_name: str) -> str:
    """Return the token that *value* is, is the path of, or returns.

    Raises:
        AuthenticationError: There is none. Transient where it is a file, which may come yet.
    """
    found = from_context(value, context)
    if isinstance(found, Token):
        return found.access_token
    if isinstance(found, os.PathLike):
        return read_secret(found, step_name=step_name)
    if not isinstance(found, str) or not found:
        raise AuthenticationError("the token to be sent is missing", step_name=step_name)
    return found
