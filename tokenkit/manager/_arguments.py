"""A manager's arguments: what is wrong is refused, before anything is fetched."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from tokenkit._checks import seconds
from tokenkit.clock import Clock
from tokenkit.contracts import TokenFetcher, TokenProvider, TokenStorage
from tokenkit.errors import ConfigurationError
from tokenkit.options import FetchOptions
from tokenkit.policy import RefreshPolicy

__all__ = ["check_parts", "checked_retries", "optional", "time_limits"]

T = TypeVar("T")


def check_parts(provider: object, storage: object, policy: object, clock: object) -> None:
    """Refuse what a manager cannot be made of.

    Raises:
        ConfigurationError: A part is of the wrong type, the provider has no name, or an attempt may outlive the lock.
    """
    if not isinstance(provider, TokenProvider):
        given = f"the class {provider.__name__}" if isinstance(provider, type) else type(provider).__name__
        instead = ""
        if isinstance(provider, type) and issubclass(provider, (TokenProvider, TokenFetcher)):
            instead = "; make an object of it"
        elif callable(provider):
            instead = "; wrap a function in CallableTokenFetcher"
        raise ConfigurationError(f"source must be a TokenProvider or a TokenFetcher, not {given}{instead}")
    name = getattr(provider, "service_name", None)
    if not isinstance(name, str) or not name:
        raise ConfigurationError("a provider must have a service_name")
    for what, value, kind in (("policy", policy, RefreshPolicy), ("clock", clock, Clock)):
        if not isinstance(value, kind):
            raise ConfigurationError(f"{what} must be a {kind.__name__}, not {type(value).__name__}")
    if storage is not None and not isinstance(storage, TokenStorage):
        raise ConfigurationError(f"storage must be a TokenStorage or None, not {type(storage).__name__}")
    assert isinstance(policy, RefreshPolicy)
    attempt = policy.seconds("refresh_request_timeout")
    for lease in (provider.lock_lease, None if storage is None else storage.lock_lease):
        if lease is not None and attempt > lease:
            raise ConfigurationError(
                f"refresh_request_timeout ({attempt:g} s) is longer than the storage's lock_lease ({lease:g} s), so two"
                " could renew at once; give the storage a longer lock_lease"
            )


def optional(name: str, value: T | None, kind: type[T]) -> T | None:
    """Return the argument *name*, which is a *kind* or None.

    Raises:
        ConfigurationError: It is neither; the error does not show it, for it may be the text of a token.
    """
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be a {kind.__name__} or None, not {type(value).__name__}")
    return value


def checked_retries(value: int | None, policy: RefreshPolicy) -> int:
    """Return how often a receiver may try again: the policy's number where *value* is None."""
    asked = FetchOptions(max_retries=value).max_retries
    return policy.max_retries if asked is None else asked


def time_limits(timeout: float | timedelta | None, options: FetchOptions, policy: RefreshPolicy) -> tuple[float, float]:
    """Return how many seconds a call may wait, and how many an attempt started for it may take."""
    asked = options.renew_request_timeout  # a number: FetchOptions has seen to it
    limit = policy.seconds("refresh_request_timeout") if asked is None else float(asked)  # type: ignore[arg-type]  # so
    return limit if timeout is None else seconds("timeout", timeout, zero=True, infinite=True), limit
