"""The grant that a person gave elsewhere: a refresh token, its identity, and what its refusal means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.identity import grant_key
from tokenkit._secrecy.references import from_context, given
from tokenkit.contracts import FetchContext, takes_context
from tokenkit.errors import AuthenticationError, SignInRequiredError, TokenEndpointError
from tokenkit.fetchers._arguments import check_secrets, scope_words, text_of
from tokenkit.fetchers.oauth2._refresh_tokens import sign_in_again
from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher
from tokenkit.tokens import Token

__all__ = ["RefreshTokenFetcher"]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class RefreshTokenFetcher(OAuth2Fetcher):
    """Gets a token with a refresh token that came from elsewhere, such as a sign-in in a browser (RFC 6749 section 6).

    Where the server rotates refresh tokens, the given one is good for one use: keep the tokens in a storage that
    outlives the process. There the newest refresh token is found by a digest of the first one alone, whatever else of
    the program is changed, and each process spends the newest.

    Further args:
        refresh_token: The refresh token, or a function or reference that gives it. Another value is another grant.
        rotates: Whether the server may give a new refresh token for a spent one. False: it never does, so that the
            given one may be spent although the storage cannot be read.

    Example:
        >>> source = RefreshTokenFetcher(
        ...     token_url="https://idp.example.com/token",
        ...     client_id="billing",
        ...     client_auth="none",
        ...     refresh_token=lambda: "the-first",
        ... )
    """

    refresh_token: str | Callable[..., str]
    rotates: bool = True
    name: str = "refresh_token"
    spends_refresh_token = True
    grant: ClassVar[str] = "refresh_token"
    secret_arguments: ClassVar[tuple[str, ...]] = (*OAuth2Fetcher.secret_arguments, "refresh_token")

    def __post_init__(self) -> None:
        check_secrets(refresh_token=self.refresh_token)
        super().__post_init__()

    @property
    def grant_key(self) -> str | None:
        """Under which a storage keeps the newest refresh token; None where a function needs a pipeline's tokens.

        Raises:
            AuthenticationError: The refresh token cannot be read now.
            ConfigurationError: What is given for it is no text, or empty.
        """
        if callable(self.refresh_token) and takes_context(self.refresh_token):
            return None
        return grant_key(self._given(FetchContext()))

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Spend the refresh token, or what took its place.

        Raises:
            SignInRequiredError: The refresh token is no longer good, or the grant does not reach to the scope.
            TokenEndpointError: The endpoint refused, and not the refresh token.
            AuthenticationError: As for other grants.
        """
        return self._told(None, given(context))

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        """Spend the refresh token of *current*, or what took its place. Where another was given since, fetch.

        Raises:
            AuthenticationError: As for :meth:`fetch`.
        """
        return self._told(current, given(context))

    def _told(self, current: Token | None, context: FetchContext) -> Token:
        try:
            return without_frames(lambda: self._renewed(current, context))
        except TokenEndpointError as error:
            failure = sign_in_again(error, self._missing(current, context))
        raise failure

    def _renewed(self, current: Token | None, context: FetchContext) -> Token:
        first = self._given(context)  # once: what it is read from may change meanwhile
        if context.grant_key not in (None, grant_key(first)):  # its newest was not looked for, nor is it locked
            message = "another refresh token was given just now, and is spent at the next try"
            raise AuthenticationError(message, step_name=self.name, transient=True)
        known = first if current is None else current.refresh_token or first
        if self._memory.is_of_another(known, first):
            current, known = None, first  # a person has signed in again, and it may be another one
        spent = self._memory.newest(known)
        if spent is None:
            message = "the endpoint has refused this refresh token before: a person must sign in again"
            raise SignInRequiredError(message, step_name=self.name)
        token = self._spend(spent, current, context, scope=True)
        self._memory.descends(token.refresh_token or spent, first)
        return token

    def _given(self, context: FetchContext) -> str:
        return text_of("refresh_token", self.refresh_token, context)

    def _missing(self, current: Token | None, context: FetchContext) -> frozenset[str]:
        asked = scope_words(from_context(self.scope, context)) or frozenset()
        return frozenset(asked) - frozenset(((current is not None and current.scope) or "").split())

    def _subject(self) -> Any:
        try:
            return self.grant_key or self.refresh_token
        except AuthenticationError:  # it cannot be read now: shared with nobody
            return self._own
