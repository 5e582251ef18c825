"""Arguments that several fetchers take: the sets that they mean, and the token that one names."""

from __future__ import annotations

import os
from typing import Any

from tokenkit._secrecy.files import read_secret
from tokenkit._secrecy.references import from_context
from tokenkit.contracts import FetchContext
from tokenkit.errors import AuthenticationError
from tokenkit.tokens import Token

__all__ = ["scope_words", "token_text", "value_set"]


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
