"""The OAuth 2.0 grants that need a secret alone: client credentials and password.

Each is a fetcher that stands alone under a manager or is a step of a pipeline. What they share, arguments included,
is :class:`~tokenkit.fetchers.oauth2.fetcher.OAuth2Fetcher`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

from tokenkit.contracts import FetchContext
from tokenkit.fetchers._arguments import check_secrets, text_of
from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher

__all__ = ["ClientCredentialsFetcher", "PasswordFetcher"]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class ClientCredentialsFetcher(OAuth2Fetcher):
    """Gets a token for the client itself (RFC 6749 section 4.4).

    Example:
        >>> source = ClientCredentialsFetcher(
        ...     token_url="https://idp.example.com/token", client_id="billing",
        ...     client_secret=lambda: "secret",
        ... )
    """

    name: str = "client_credentials"
    grant: ClassVar[str] = "client_credentials"


@final
@dataclass(kw_only=True, eq=False, repr=False)
class PasswordFetcher(OAuth2Fetcher):
    """Gets a token with a user's password (RFC 6749 section 4.3), for servers that still allow it.

    Further args:
        username: The user.
        password: The user's password.

    Example:
        >>> source = PasswordFetcher(
        ...     token_url="https://idp.example.com/token", client_id="billing",
        ...     client_auth="none", username="alice", password=lambda: "secret",
        ... )
    """

    username: str | Callable[..., str]
    password: str | Callable[..., str]
    name: str = "password"
    grant: ClassVar[str] = "password"
    secret_arguments: ClassVar[tuple[str, ...]] = (*OAuth2Fetcher.secret_arguments, "password")

    def __post_init__(self) -> None:
        check_secrets(username=self.username, password=self.password)
        super().__post_init__()

    def _grant_params(self, token_url: str, context: FetchContext) -> dict[str, Any]:
        return {
            "username": text_of("username", self.username, context),
            "password": text_of("password", self.password, context),
        }

    def _subject(self) -> Any:
        return self.username
