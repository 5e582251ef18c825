"""One checker for each kind of argument that several parts of the package take."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from tokenkit.errors import ConfigurationError

__all__ = ["check_fields", "check_step", "check_texts", "check_words", "checked_seconds"]


def checked_seconds(name: str, value: float | timedelta | None) -> float | None:
    """Return a caller's time limit in seconds; None where it is None.

    Raises:
        ConfigurationError: It is neither, or negative.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= 0:
        raise ConfigurationError(f"{name} must be None, a timedelta or seconds, at least 0")
    return float(number) if number <= sys.float_info.max else math.inf


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
