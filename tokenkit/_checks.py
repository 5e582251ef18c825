"""A manager's arguments: what is wrong is refused, before anything is fetched."""

from __future__ import annotations

import math
import pickle
from datetime import timedelta

from tokenkit.clock import Clock
from tokenkit.contracts import TokenProvider, TokenStorage
from tokenkit.errors import ConfigurationError
from tokenkit.options import FetchOptions
from tokenkit.policy import RefreshPolicy

__all__ = ["check_parts", "check_picklable", "checked_seconds", "time_limits"]


def check_parts(provider: object, storage: object, policy: object, clock: object) -> None:
    """Refuse what a manager cannot be made of.

    Raises:
        ConfigurationError: A part is of the wrong type, or the provider has no name.
    """
    if not isinstance(provider, TokenProvider):
        raise ConfigurationError(f"source must be a TokenProvider or a TokenFetcher, not {type(provider).__name__}")
    name = getattr(provider, "service_name", None)
    if not isinstance(name, str) or not name:
        raise ConfigurationError("a provider must have a service_name")
    for what, value, kind in (("policy", policy, RefreshPolicy), ("clock", clock, Clock)):
        if not isinstance(value, kind):
            raise ConfigurationError(f"{what} must be a {kind.__name__}, not {type(value).__name__}")
    if storage is not None and not isinstance(storage, TokenStorage):
        raise ConfigurationError(f"storage must be a TokenStorage or None, not {type(storage).__name__}")


def check_picklable(source: object) -> None:
    """Refuse to pickle a manager whose *source* does not pickle.

    Raises:
        TypeError: It does not; the message names its type and the reason.
    """
    try:
        pickle.dumps(source)
    except Exception as error:
        # A TypeError names a type; what another kind of error says may be anything.
        why = str(error) if isinstance(error, TypeError) else type(error).__name__
        kind = type(source).__name__
        raise TypeError(f"the token manager's source, a {kind}, cannot be pickled: {why}") from None


def time_limits(timeout: float | timedelta | None, options: FetchOptions, policy: RefreshPolicy) -> tuple[float, float]:
    """Return how many seconds a call may wait, and how many an attempt started for it may take."""
    limit = checked_seconds("renew_request_timeout", options.renew_request_timeout)
    limit = policy.seconds("refresh_request_timeout") if limit is None else limit
    wait = checked_seconds("timeout", timeout)
    return limit if wait is None else wait, limit


def checked_seconds(name: str, value: float | timedelta | None) -> float | None:
    """Return a caller's time limit in seconds; None where it is None.

    Raises:
        ConfigurationError: It is neither, or negative.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or math.isnan(number) or number < 0:
        raise ConfigurationError(f"{name} must be None, a timedelta or seconds, at least 0")
    return float(number)
