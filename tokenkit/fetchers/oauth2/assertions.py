"""The grants that show another token: a JWT bearer assertion (RFC 7523), and a token to exchange (RFC 8693)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, final

from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.references import SecretReference, from_context
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers._arguments import optional_text, text_of, token_text
from tokenkit.fetchers.oauth2._jwt import check_key, signed_jwt
from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher
from tokenkit.tokens import Token

__all__ = ["JwtBearerFetcher", "TokenExchangeFetcher"]

_TokenSource = str | Token | os.PathLike[str] | Callable[..., str | Token]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class JwtBearerFetcher(OAuth2Fetcher):
    """Gets a token for a signed assertion (RFC 7523 section 2.1), given or made here, with a new ``jti`` each try.

    A client need not authenticate besides: without *client_id* and secrets, no client is named. *issuer* is the
    assertion's here, so *token_url* must be given.

    Further args:
        assertion: A finished assertion: a string, a path to read at each try, or a function. None: one is made with
            *key*; only one of the two may be given.
        issuer: The ``iss`` of the assertion to be made. None: *client_id*.
        subject: Its ``sub``. None: *issuer* speaks for itself, as Google's service accounts do.
        key: The private key, PEM, that signs it; or a shared secret, with *algorithm*. None: *assertion* is given.
        key_id: Its ``kid``. None: none is sent.
        key_password: What the key is encrypted with. None: it is not.
        algorithm: Its algorithm; None: the usual one for the key.
        assertion_audience: Its ``aud``; None: *token_url*.
        assertion_claims: Further claims. None: none.
        assertion_lifetime: Seconds until it expires, more than 0; rounded up to whole ones. 300 unless given.

    Example:
        >>> source = JwtBearerFetcher(
        ...     token_url="https://idp.example.com/token",
        ...     client_id="billing",
        ...     client_auth="none",
        ...     assertion=lambda: "a.signed.jwt",
        ... )
    """

    assertion: _TokenSource | None = None
    subject: str | Callable[..., str] | None = None
    key: str | bytes | Callable[..., str | bytes] | None = None
    key_id: str | Callable[..., str] | None = None
    key_password: str | Callable[..., str] | None = None
    algorithm: str | Callable[..., str] | None = None
    assertion_audience: str | Callable[..., str] | None = None
    assertion_claims: Mapping[str, Any] | None = None
    assertion_lifetime: float = 300
    name: str = "jwt_bearer"
    grant: ClassVar[str] = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    secret_arguments: ClassVar[tuple[str, ...]] = (*OAuth2Fetcher.secret_arguments, "assertion", "key", "key_password")
    _anonymous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.token_url is None:
            raise ConfigurationError("token_url is missing; issuer is the assertion's here")
        if (self.assertion is None) == (self.key is None):
            raise ConfigurationError("give either assertion, or key with issuer")
        if self.key is not None:
            check_key("key", self.key)
            if not (self.issuer or self.client_id):
                raise ConfigurationError("key needs issuer, or client_id, to make an assertion")
        if not 0 < self.assertion_lifetime < math.inf:
            raise ConfigurationError("assertion_lifetime must be a number of seconds, more than 0")
        super().__post_init__()

    @property
    def _server(self) -> None:
        return None

    def _grant_params(self, token_url: str, context: FetchContext) -> dict[str, Any]:
        if self.assertion is not None:
            return {"assertion": token_text(self.assertion, context, step_name=self.name, argument="assertion")}
        issuer = text_of("issuer", self.issuer or self.client_id, context)
        claims = {
            **(self.assertion_claims or {}),
            "iss": issuer,
            "sub": optional_text("subject", self.subject, context) or issuer,
            "aud": optional_text("assertion_audience", self.assertion_audience, context) or token_url,
        }
        assertion = signed_jwt(
            claims,
            key=from_context(self.key, context),
            now=context.now(),
            key_id=optional_text("key_id", self.key_id, context),
            algorithm=optional_text("algorithm", self.algorithm, context),
            password=from_context(self.key_password, context),
            lifetime=self.assertion_lifetime,
        )
        return {"assertion": assertion}

    def _subject(self) -> Any:
        audience = self.assertion_audience
        return [_told(self.assertion), self.issuer, self.subject, audience, self.assertion_claims or {}]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class TokenExchangeFetcher(OAuth2Fetcher):
    """Exchanges a token for another (RFC 8693): to act as, or on behalf of, whom the first one speaks for.

    A client need not authenticate besides: without *client_id* and secrets, no client is named.

    Further args:
        subject_token: The token that speaks for the party: a string, a :class:`Token`, a path to read at each try
            (such as a Kubernetes projected token), or a function.
        subject_token_type: Its type: a URI, or one of 'access_token', 'refresh_token', 'id_token', 'jwt', 'saml1',
            'saml2'.
        actor_token: The token of the acting party, likewise. None: there is none.
        actor_token_type: Its type; with *actor_token* only. None: 'access_token'.
        requested_token_type: The type wanted, likewise; None: the server decides.

    Example:
        >>> source = TokenExchangeFetcher(
        ...     token_url="https://idp.example.com/token",
        ...     client_id="billing",
        ...     client_auth="none",
        ...     subject_token=lambda: "another-token",
        ... )
    """

    subject_token: _TokenSource
    subject_token_type: str = "access_token"
    actor_token: _TokenSource | None = None
    actor_token_type: str | None = None
    requested_token_type: str | None = None
    name: str = "token_exchange"
    grant: ClassVar[str] = "urn:ietf:params:oauth:grant-type:token-exchange"
    secret_arguments: ClassVar[tuple[str, ...]] = (*OAuth2Fetcher.secret_arguments, "subject_token", "actor_token")
    _anonymous: ClassVar[bool] = True
    _token_types: ClassVar[tuple[str, ...]] = ("bearer", "n_a")  # RFC 8693 section 2.2.1

    def __post_init__(self) -> None:
        if self.subject_token is None or self.subject_token == "":
            raise ConfigurationError("subject_token is missing")
        if self.actor_token is None and self.actor_token_type is not None:
            raise ConfigurationError("actor_token_type has no meaning without actor_token (RFC 8693 section 2.1)")
        super().__post_init__()

    def _grant_params(self, token_url: str, context: FetchContext) -> dict[str, Any]:
        params = {
            "subject_token": token_text(self.subject_token, context, step_name=self.name, argument="subject_token"),
            "subject_token_type": _type_uri(self.subject_token_type),
        }
        if self.actor_token is not None:
            params["actor_token"] = token_text(self.actor_token, context, step_name=self.name, argument="actor_token")
            params["actor_token_type"] = _type_uri(self.actor_token_type or "access_token")
        if self.requested_token_type is not None:
            params["requested_token_type"] = _type_uri(self.requested_token_type)
        return params

    def _subject(self) -> Any:
        types = [self.subject_token_type, self.actor_token_type, self.requested_token_type]
        return [_told(self.subject_token), _told(self.actor_token), *types]


def _told(source: _TokenSource | None) -> Any:
    """Return what tells one party's token from another's: of a file what it holds, as its path is the same for many."""
    if isinstance(source, os.PathLike):
        return SecretReference("file", str(Path(source).absolute()))
    return source.access_token if isinstance(source, Token) else source


def _type_uri(name: str) -> str:
    return name if ":" in name else f"urn:ietf:params:oauth:token-type:{name}"
