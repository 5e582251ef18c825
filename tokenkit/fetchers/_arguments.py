"""Arguments that every fetcher takes: their checks, and values that may come from a function of the context."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tokenkit.contracts import FetchContext, takes_context
from tokenkit.errors import ConfigurationError

__all__ = ["check_step", "from_context"]


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


def from_context(value: Any, context: FetchContext) -> Any:
    """Return *value*, or what it returns if it is a function; that is given the context if it takes one."""
    if not callable(value):
        return value
    return value(context) if takes_context(value) else value()
