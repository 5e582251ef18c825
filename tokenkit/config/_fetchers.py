"""Fetchers as configuration makes them: two tables share a stored token only where they would get the same one.

In a program, a fetcher's name tells its token from all others. In a configuration the names are short ('api'), and
programs that know nothing of each other may share a storage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, final

from tokenkit._checks import check_step
from tokenkit._net.urls import host_of
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.identity import cache_key, own_mark
from tokenkit._secrecy.pickling import SecretKeeper
from tokenkit._secrecy.references import from_context, given
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers.body import BodyTokenFetcher
from tokenkit.fetchers.http import HeaderTokenFetcher, HttpTokenFetcher
from tokenkit.tokens import Token

__all__ = ["GivenTokenFetcher", "KeyedBodyFetcher", "KeyedHeaderFetcher", "KeyedHttpFetcher"]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class GivenTokenFetcher(SecretKeeper, TokenFetcher):
    """Returns the token it was given, or what stands in the place that it was given.

    Args:
        token: The access token, or a function that returns it, called at each fetch.
        name: The step's name.
        ttl: A lifetime, counted from each fetch; None: the token's own, where it is a JWT, else for ever.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    token: str | Callable[..., str]
    name: str = "static"
    ttl: timedelta | None = None

    secret_arguments: ClassVar[tuple[str, ...]] = ("token",)
    _opened: ClassVar[tuple[str, ...]] = ("_own",)

    def __post_init__(self) -> None:
        check_step(self.name, (), self.ttl)
        if not callable(self.token):
            self._checked(self.token)
        self._open()

    def _open(self) -> None:
        self._own = own_mark()

    def __repr__(self) -> str:
        return f"<GivenTokenFetcher {self.name!r}>"

    @property
    def cache_key(self) -> str:
        return cache_key(f"{self.name}:static", {"token": self.token}, self._own)

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Return the token.

        Raises:
            AuthenticationError: There is none in the place.
            MalformedResponseError: What stands there is no token, or an expired one.
        """
        known = given(context)
        text = from_context(self.token, known)
        return without_frames(
            lambda: Token.from_response({"access_token": text}, now=known.now(), ttl=self.ttl), step_name=self.name
        )

    def _checked(self, text: str) -> None:
        try:
            Token(text)
            return
        except ValueError as error:
            problem = str(error)
        raise ConfigurationError(problem)


class _Keyed(HttpTokenFetcher):
    """What a configured fetcher asks, and with what, is its identity."""

    _opened: ClassVar[tuple[str, ...]] = (*HttpTokenFetcher._opened, "_own")

    def _open(self) -> None:
        super()._open()
        self._own = own_mark()

    @property
    def cache_key(self) -> str:
        """A key over all that is asked, with which certificate, and where in the answer the token is."""
        asked = [self.method, self._url, self.request_headers, self.request_data, self.cert]
        place = [getattr(self, name, None) for name in ("token_field", "token_header")]
        return cache_key(f"{self.name}:{host_of(self.base_url)}", [*asked, *place], self._own)


@final
class KeyedHttpFetcher(_Keyed):
    """An :class:`HttpTokenFetcher`."""


@final
class KeyedBodyFetcher(_Keyed, BodyTokenFetcher):
    """A :class:`BodyTokenFetcher`."""


@final
class KeyedHeaderFetcher(_Keyed, HeaderTokenFetcher):
    """A :class:`HeaderTokenFetcher`."""
