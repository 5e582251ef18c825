"""A person's sign-in for a manager: who is asked, who waits for another's, and where the grant goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenkit._sources.signing_in import SignInMark, store_signed_in
from tokenkit.clock import Clock
from tokenkit.contracts import SignsIn, TokenProvider, TokenStorage
from tokenkit.errors import ConfigurationError
from tokenkit.tokens import Token

__all__ = ["signed_in"]


def signed_in(
    source: object,
    provider: TokenProvider,
    storage: TokenStorage | None,
    clock: Clock,
    *,
    show: Callable[[Any], object] | None,
    timeout: float,
    lock_timeout: float,
) -> Token | None:
    """Return the token of a person who has just signed in; None where somebody else's sign-in has brought one.

    Raises:
        ConfigurationError: Nobody can sign in at *source*.
        SignInRequiredError: Nobody came, or the person said no.
        AuthenticationError: The server refused, or cannot be reached.
    """
    if not isinstance(source, SignsIn):
        kind = type(source).__name__
        raise ConfigurationError(f"nobody can sign in at a {kind}; the manager's source must be a SignedInFetcher")
    if storage is None or provider.grant_key is None:
        return source.sign_in(show, timeout, clock=clock)
    deadline = clock.monotonic() + timeout
    with SignInMark(storage, provider.grant_key, clock).hold(deadline) as waited:
        if waited and storage.get(provider.grant_key) is not None:
            return None
        token = source.sign_in(show, max(deadline - clock.monotonic(), 0.001), clock=clock)
        store_signed_in(provider, storage, clock, token, lock_timeout)
        return token
