"""One checker for each kind of argument that several parts of the package take."""

from __future__ import annotations

import math
import sys
from datetime import timedelta

from tokenkit.errors import ConfigurationError

__all__ = ["checked_seconds"]


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
