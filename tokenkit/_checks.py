"""One checker for each kind of argument that several parts of the package take."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from datetime import timedelta
from string import ascii_letters, digits
from typing import Any, TypeGuard

from tokenkit.errors import ConfigurationError

__all__ = [
    "check_fields",
    "check_step",
    "check_texts",
    "check_words",
    "is_count",
    "is_http_token",
    "is_seconds",
    "is_visible_ascii",
    "seconds",
]

_HTTP_TOKEN = "!#$%&'*+-.^_`|~" + ascii_letters + digits


def seconds(name: str, value: object, *, zero: bool, infinite: bool) -> float:
    """Return a duration, given as a number of seconds or a timedelta, in seconds.

    Args:
        name: What the error calls it.
        value: The duration.
        zero: Whether it may be 0.
        infinite: Whether it may be infinite, as what is too large for a float then is.

    Raises:
        ConfigurationError: It is no duration, or outside its range.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_seconds(number, zero=zero, infinite=infinite):
        kind = "seconds or a timedelta" if infinite else "a finite number of seconds or a timedelta"
        raise ConfigurationError(f"{name} must be {kind}, {'at least' if zero else 'more than'} 0")
    return float(number) if number <= sys.float_info.max else math.inf


def is_seconds(value: object, *, zero: bool, infinite: bool) -> TypeGuard[float]:
    """Whether *value* is a number of seconds in this range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (value >= 0 if zero else value > 0) and (infinite or value <= sys.float_info.max)


def is_count(value: object) -> TypeGuard[int]:
    """Whether *value* is a whole number, at least 0, of a size that a machine counts to."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= sys.maxsize


def is_http_token(text: str) -> bool:
    """Whether *text* can be the name of a header or of an authentication scheme: RFC 9110 section 5.6.2."""
    return bool(text) and not text.strip(_HTTP_TOKEN)


def is_visible_ascii(text: str) -> bool:
    """Whether *text* has characters from 0x21 to 0x7E alone, and at least one."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


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
