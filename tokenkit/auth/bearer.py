"""The auth object for any session of requests: a face; what it does is in :mod:`tokenkit.auth._authoriser`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import timedelta
from typing import final

from requests import PreparedRequest
from requests.auth import AuthBase

from tokenkit.auth._arguments import (
    ExtraHeaders,
    checked_attempts,
    checked_header,
    checked_scheme,
    checked_statuses,
    checked_wait,
    manager_of,
)
from tokenkit.auth._authoriser import Authoriser, Settings
from tokenkit.auth._origins import OriginRules
from tokenkit.auth._pooled import PooledAuthoriser
from tokenkit.contracts import TokenFetcher, TokenPipeline, TokenProvider
from tokenkit.errors import ConfigurationError
from tokenkit.manager import ManagerPool, TokenManager
from tokenkit.tokens import Token

__all__ = ["BearerAuth"]


@final
class BearerAuth(AuthBase):
    """Authorises requests with a manager's token, and tries once more where it is rejected.

    ``session.auth = BearerAuth(manager)``, or ``auth=`` of one request. Safe from any thread, for any number of
    sessions: make one for the program, not one a request. A header that the request has already is replaced, as by
    every ``auth=`` of requests.

    On a refresh status the very token that was sent is reported to the manager, and the request is sent again with
    another one. The caller gets the 401 as it is where the request carried no token of this object's, the header
    ``WWW-Authenticate`` says ``insufficient_scope``, the body cannot be sent twice, or there is no other token.

    Pickles and copies with its manager, and without a token.

    Args:
        manager: Where tokens come from: a manager, or what a manager takes as its source: a fetcher, a provider or a
            pipeline. Of these it makes a manager of its own, which :meth:`close` closes. Or a pool, with *key*.
        header: The header to set.
        scheme: The word before the token. None: the one that the token says, ``Bearer`` as a rule; ``""``: none, for
            headers such as ``X-Api-Key`` that hold the bare token.
        refresh_status_codes: The statuses, from 400 to 599, that say that a token is no good.
        max_refresh_attempts: How often one request may be sent again (2). 0: never, but the rejected token is
            replaced all the same, for the next request.
        timeout: Seconds, or a timedelta, that a request waits for a token. None: as long as the manager's policy
            lets a renewal run; 0: a request never waits.
        origins: Only these get the token, as ``https://host[:port]``, or ``https://*.host`` for the hosts below
            it; requests to others are sent without. None: any https URL, and loopback.
        extra_headers: Further headers that go exactly where the token goes, such as a gateway's key: a mapping, or a
            function of the token that returns one. Those that a request has already stay.
        key: Whose manager of the pool a request is for: a key, or a function of the prepared request that returns one;
            it is asked about requests that get a token. With a pool only. None: there is no pool.
        allow_insecure: Whether ``http://`` beyond loopback, or to loopback through a proxy of the environment, may
            carry the token.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> import requests
        >>> from tokenkit import BearerAuth, Token
        >>> from tokenkit.fetchers import StaticTokenFetcher
        >>> auth = BearerAuth(StaticTokenFetcher(Token("abc")), header="X-Api-Key", scheme="")
        >>> requests.Request("GET", "https://api.example.com/", auth=auth).prepare().headers[
        ...     "X-Api-Key"
        ... ]
        'abc'
    """

    def __init__(
        self,
        manager: TokenManager | ManagerPool | TokenProvider | TokenFetcher | TokenPipeline,
        *,
        header: str = "Authorization",
        scheme: str | None = None,
        refresh_status_codes: Iterable[int] = (401,),
        max_refresh_attempts: int = 2,
        timeout: float | timedelta | None = None,
        origins: Iterable[str] | None = None,
        extra_headers: Mapping[str, str] | Callable[[Token], Mapping[str, str]] | None = None,
        key: Hashable | Callable[[PreparedRequest], Hashable] | None = None,
        allow_insecure: bool = False,
    ) -> None:
        settings = Settings(
            header=checked_header(header),
            scheme=checked_scheme(scheme),
            extra_headers=ExtraHeaders(extra_headers),
            statuses=checked_statuses(refresh_status_codes),
            attempts=checked_attempts(max_refresh_attempts),
            timeout=checked_wait(timeout),
            rules=OriginRules(origins, allow_insecure=allow_insecure),
        )
        self._own: TokenManager | None = None
        self._authoriser: Authoriser | PooledAuthoriser
        if isinstance(manager, ManagerPool) and key is not None:
            self._authoriser = PooledAuthoriser(manager, key, settings)
            return
        if key is not None:
            raise ConfigurationError("key is for a pool: write BearerAuth(ManagerPool(make), key=...), or leave it out")
        self._manager, is_own = manager_of(manager)
        self._own = self._manager if is_own else None
        self._authoriser = Authoriser(self._manager, settings)

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Authorise a request that requests is preparing.

        Raises:
            AuthenticationError: There is no token.
            RenewalTimeoutError: There was none in time; it is a ``requests.exceptions.Timeout``.
            RenewalStoppedError: The manager is stopped.
            ConfigurationError: The token would travel where others can read it; or *key* gave None.
            Exception: What *key*, or the pool's function that makes managers, raised.
        """
        return self._authoriser.authorise(r)

    @property
    def manager(self) -> TokenManager:
        """Where tokens come from. With a pool: the manager of the key.

        Raises:
            ConfigurationError: *key* is a function, so that each request has a manager of its own.
        """
        pooled = self._authoriser
        return pooled.manager if isinstance(pooled, PooledAuthoriser) else self._manager

    def close(self) -> None:
        """Close the manager if it was made here; one that was given stays open. Closing twice is harmless."""
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> BearerAuth:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<BearerAuth {self._authoriser.header}>"
