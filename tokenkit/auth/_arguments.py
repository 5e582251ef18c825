"""Checks of what ``BearerAuth`` and ``AuthorizedSession`` are given: each returns it, or raises ConfigurationError."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from tokenkit._checks import is_count, is_seconds, seconds
from tokenkit.errors import ConfigurationError

__all__ = ["checked_attempts", "checked_duration", "checked_limits", "checked_statuses", "checked_wait"]


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
