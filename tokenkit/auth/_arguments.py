"""Checks of what ``BearerAuth`` and ``AuthorizedSession`` are given: each returns it, or raises ConfigurationError."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from tokenkit.errors import ConfigurationError

__all__ = ["checked_attempts", "checked_duration", "checked_limits", "checked_statuses", "checked_wait"]


def checked_statuses(codes: Iterable[int]) -> frozenset[int]:
    statuses = tuple(codes) if isinstance(codes, Iterable) else None
    if statuses is None or not all(isinstance(code, int) and 400 <= code <= 599 for code in statuses):
        raise ConfigurationError("refresh_status_codes must be a list of statuses from 400 to 599")
    return frozenset(statuses)


def checked_attempts(attempts: int) -> int:
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 0:
        raise ConfigurationError("max_refresh_attempts must be a whole number, at least 0")
    return attempts


def checked_wait(timeout: float | timedelta | None, name: str = "timeout") -> float | None:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= sys.float_info.max:
        raise ConfigurationError(f"{name} must be a finite number of seconds, at least 0, or None")
    return float(seconds)


def checked_limits(timeout: Any) -> Any:
    pair = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    if len(pair) != 2 or not all(one is None or _is_duration(one) for one in pair):
        raise ConfigurationError("timeout must be seconds, more than 0, a pair (connect, read) of them, or None")
    return timeout


def checked_duration(duration: float | timedelta) -> float:
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not _is_duration(seconds):
        raise ConfigurationError("max_allowed_time must be a number of seconds, more than 0, or None")
    return min(seconds, threading.TIMEOUT_MAX)  # sockets and locks take no more, which is 49 days and up


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= sys.float_info.max
