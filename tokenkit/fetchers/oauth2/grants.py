"""The OAuth 2.0 grants that need a secret alone: client credentials and password.

Each is a fetcher that stands alone under a manager or is a step of a pipeline. What they share, arguments included,
is :class:`~tokenkit.fetchers.oauth2.fetcher.OAuth2Fetcher`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.references import given
from tokenkit.contracts import FetchContext
from tokenkit.errors import TokenEndpointError
from tokenkit.fetchers._arguments import check_secrets, text_of
from tokenkit.fetchers.oauth2._refused_password import RefusedPassword, is_refusal
from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher
from tokenkit.tokens import Token

__all__ = ["ClientCredentialsFetcher", "PasswordFetcher"]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class ClientCredentialsFetcher(OAuth2Fetcher):
    """Gets a token for the client itself (RFC 6749 section 4.4).

    Example:
        >>> source = ClientCredentialsFetcher(
        ...     token_url="https://idp.example.com/token",
        ...     client_id="billing",
        ...     client_secret=lambda: "secret",
        ... )
    """

    name: str = "client_credentials"
    grant: ClassVar[str] = "client_credentials"


@final
@dataclass(kw_only=True, eq=False, repr=False)
class PasswordFetcher(OAuth2Fetcher):
    """Gets a token with a user's password (RFC 6749 section 4.3), for servers that still allow it.

    Servers lock accounts. So a password that was refused is sent again when it has changed, when ``force_refresh()``
    asks for it, or after a pause: the policy's ``max_retry_timeout`` (60 s), doubled each time, up to 30 min. Until
    then :meth:`fetch` raises the refusal again without asking.

    Further args:
        username: The user.
        password: The user's password.

    Example:
        >>> source = PasswordFetcher(
        ...     token_url="https://idp.example.com/token",
        ...     client_id="billing",
        ...     client_auth="none",
        ...     username="alice",
        ...     password=lambda: "secret",
        ... )
    """

    username: str | Callable[..., str]
    password: str | Callable[..., str]
    name: str = "password"
    grant: ClassVar[str] = "password"
    secret_arguments: ClassVar[tuple[str, ...]] = (*OAuth2Fetcher.secret_arguments, "password")
    _opened: ClassVar[tuple[str, ...]] = (*OAuth2Fetcher._opened, "_refused")

    def __post_init__(self) -> None:
        check_secrets(username=self.username, password=self.password)
        super().__post_init__()

    def _open(self) -> None:
        super()._open()
        self._refused = RefusedPassword()

    def fetch(self, context: FetchContext | None = None) -> Token:
        known = given(context)
        sent: str | None = None  # no password: a traceback keeps this frame

        def shown(url: str) -> dict[str, Any]:
            nonlocal sent
            sent, params = None, self._grant_params(url, known)
            sent = self._refused.check(params["username"], params["password"], known)
            return params

        try:
            token = self._granted(shown, known)
        except TokenEndpointError as error:
            if sent is not None and is_refusal(error, has_upstream=bool(self.depends_on)):
                self._refused.note(sent, error, known)
            raise
        self._refused.forget()
        return token

    def _grant_params(self, token_url: str, context: FetchContext) -> dict[str, Any]:
        return {
            "username": text_of("username", self.username, context),
            "password": text_of("password", self.password, context),
        }

    def _subject(self) -> Any:
        return self.username
