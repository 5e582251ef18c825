"""Arguments that several fetchers take: the sets that they mean, and the token that one names."""

from __future__ import annotations

import os
import re
from typing import Any

from tokenkit._secrecy.files import read_secret
from tokenkit._secrecy.references import from_context
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError
from tokenkit.tokens import Token

__all__ = ["check_secrets", "optional_text", "scope_words", "text_of", "token_text", "value_set"]

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,99}\Z"


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


def token_text(value: Any, context: FetchContext, *, step_name: str | None, argument: str) -> str:
    """Return the token that *value* is, is the path of, or returns.

    Raises:
        ConfigurationError: It is none; *argument* is named.
        AuthenticationError: There is none in the file; transient, as it may come yet.
    """
    found = from_context(value, context) if callable(value) and not isinstance(value, os.PathLike) else value
    if isinstance(found, Token):
        return found.access_token
    if isinstance(found, os.PathLike):
        return read_secret(found, step_name=step_name)
    return _checked(argument, found, "the function returned " if callable(value) else "it is ")


def check_secrets(**arguments: object) -> None:
    """Check that each of these arguments is a string with something in it, or a function that returns one.

    Raises:
        ConfigurationError: One is not; its value is not told.
    """
    for name, value in arguments.items():
        if not callable(value):
            _checked(name, value)


def text_of(argument: str, value: Any, context: FetchContext) -> str:
    """Return the text that *value* is or returns: what is no text is never sent.

    Args:
        argument: What an error names.
        value: A string, or a function that returns one.
        context: For the function.

    Raises:
        ConfigurationError: It is None, empty, or another kind of object; or the function looked for a key that is not
            there. Whatever else the function raises goes on as it is.
    """
    if not callable(value):
        return _checked(argument, value)
    try:
        found = from_context(value, context)
    except KeyError as error:
        key = error.args[0] if error.args else None
        problem = f"the function raised KeyError{_shown(key)}"
    else:
        return _checked(argument, found, "the function returned ")
    raise ConfigurationError(f"{argument} is missing: {problem}")


def optional_text(argument: str, value: Any, context: FetchContext) -> str | None:
    """Return the text that *value* is or returns, as :func:`text_of` does; None where it is None."""
    return None if value is None else text_of(argument, value, context)


def _shown(key: object) -> str:
    return f": {key!r}" if isinstance(key, str) and re.match(_NAME, key) else ""  # a variable's name, and no secret


def _checked(argument: str, value: object, before: str = "it is ") -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # it keeps the text
            raise ConfigurationError(f"{argument} is no text that UTF-8 can hold") from None
        if value:
            return value
    kind = "empty" if value == "" else "None" if value is None else f"{type(value).__name__}"
    if value is None or value == "":
        raise ConfigurationError(f"{argument} is missing: {before}{kind}")
    raise ConfigurationError(f"{argument} must be a string: {before}{kind}")
