"""A client of an authorization server: its arguments, and asking about a token or giving one back (RFC 7662, 7009)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

from tokenkit._checks import check_fields
from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.pickling import SecretKeeper
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers.oauth2._client import OAuthClient
from tokenkit.fetchers.oauth2._client_auth import ClientAuth
from tokenkit.fetchers.options import TransportOptions
from tokenkit.tokens import Token

__all__ = ["AuthorizationServer", "OAuth2Client"]

_Text = str | Callable[..., str]
_Texts = str | Sequence[str] | Callable[..., str | Sequence[str]]
_Fields = Mapping[str, Any] | Callable[..., Mapping[str, Any]]
_Finished = str | Token | os.PathLike[str] | Callable[..., str | Token]


@dataclass(kw_only=True, eq=False, repr=False, init=False)
class OAuth2Client(TransportOptions, SecretKeeper):
    """What a client of an authorization server is told by: where the server is, and how the client proves itself.

    Every fetcher of an OAuth 2.0 grant takes these arguments, and :class:`AuthorizationServer` does. Any that is sent
    may be a function that returns it, called at each try, with the context if it takes one.

    Args:
        token_url: The token endpoint. None: the issuer's.
        issuer: The authorization server's identifier, in place of *token_url*: its metadata (RFC 8414 or OpenID
            Connect Discovery) are read once and tell the endpoints, and again when one is gone. None: *token_url* is
            given.
        revocation_url: The revocation endpoint, for :meth:`revoke`. None: the issuer's.
        introspection_url: The introspection endpoint, for :meth:`introspect`. None: the issuer's.
        client_id: The client's identifier. None: no client is named, which only some grants allow.
        client_secret: Its password. None: it has none.
        client_auth: 'client_secret_basic' (its form-encoding is RFC 6749's; 'client_secret_basic_raw' for servers that
            do not decode it), 'client_secret_post', 'client_secret_jwt', 'private_key_jwt' (both with the extra
            ``[crypto]``), 'tls_client_auth' or 'self_signed_tls_client_auth' (with *cert*), or 'none'.
        client_assertion: A finished assertion in place of a secret (RFC 7521 section 4.2): a string, a path to read at
            each try, such as a Kubernetes projected token, or a function. None: there is none.
        client_key: The private key for 'private_key_jwt': PEM, or an object of the package cryptography. None: there
            is none.
        client_key_id: Its ``kid``. None: none is sent.
        client_key_password: What the key is encrypted with. None: it is not.
        client_algorithm: Its algorithm; None: the usual one for the key.
        client_assertion_audience: The ``aud`` of the client's assertion, or several; None: *issuer* where one is
            given, else the token endpoint.
        client_assertion_headers: Further fields of the assertion's header, such as ``x5t`` or ``x5c``. None: none.
        request_headers: Header fields of each request, such as ``User-Agent`` or a gateway's key. None: none.
        content_type: 'form', or 'json' for endpoints that take nothing else.
        timeout: Seconds (connect, read), (3.05, 30) by default; this and *verify*, *cert*, *proxies*, *session*,
            *retries* and *allow_insecure* are told at :class:`~tokenkit.fetchers.options.TransportOptions`.

    Raises:
        ConfigurationError: An argument is wrong, or arguments do not go together.
    """

    token_url: str | None = None
    issuer: str | None = None
    revocation_url: str | None = None
    introspection_url: str | None = None
    client_id: _Text | None = None
    client_secret: _Text | None = None
    client_auth: str = "client_secret_basic"
    client_assertion: _Finished | None = None
    client_key: str | bytes | Callable[..., str | bytes] | None = None
    client_key_id: _Text | None = None
    client_key_password: str | Callable[..., str] | None = None
    client_algorithm: _Text | None = None
    client_assertion_audience: _Texts | None = None
    client_assertion_headers: _Fields | None = None
    request_headers: _Fields | None = None
    content_type: str = "form"

    secret_arguments: ClassVar[tuple[str, ...]] = (
        "client_secret",
        "client_assertion",
        "client_key",
        "client_key_password",
        "request_headers",
    )
    _opened: ClassVar[tuple[str, ...]] = ("_client",)
    _anonymous: ClassVar[bool] = False  # whether the grant's own assertion may do for client authentication

    def _open(self) -> None:
        check_fields(request_headers=self.request_headers, client_assertion_headers=self.client_assertion_headers)
        if self.content_type not in ("form", "json"):
            raise ConfigurationError("content_type must be 'form' or 'json'")
        auth = ClientAuth(
            method=self.client_auth,
            client_id=self.client_id,
            client_secret=self.client_secret,
            assertion=self.client_assertion,
            key=self.client_key,
            key_id=self.client_key_id,
            key_password=self.client_key_password,
            algorithm=self.client_algorithm,
            headers=self.client_assertion_headers,
            audience=self.client_assertion_audience or self._server,
            has_cert=self.cert is not None,
            anonymous=self._anonymous,
        )
        self._client = OAuthClient(
            auth,
            self._new_transport(),
            urls=self._endpoints(),
            issuer=self._server,
            allow_insecure=self.allow_insecure,
            headers=self.request_headers,
            content_type=self.content_type,
        )

    def _endpoints(self) -> dict[str, str | None]:
        """Return the endpoints by the names of RFC 8414; None: that of the issuer."""
        return {
            "token_endpoint": self.token_url,
            "revocation_endpoint": self.revocation_url,
            "introspection_endpoint": self.introspection_url,
        }

    @property
    def _server(self) -> str | None:
        """The issuer whose metadata are read."""
        return self.issuer

    @property
    def _step_name(self) -> str | None:
        return None

    def revoke(self, token: Token | str, *, timeout: float | None = None) -> None:
        """Tell the server that *token* is no longer needed (RFC 7009); of a :class:`Token`, its refresh token first.

        Args:
            token: What the server gave, or one token as a string.
            timeout: Seconds for all of it. None: each request has its own limit; 0: none is sent.

        Raises:
            ConfigurationError: The revocation endpoint is not known.
            AuthenticationError: The server cannot be reached, or refused. An unknown token is no error to it.
        """
        context = FetchContext(timeout=timeout)
        without_frames(lambda: self._client.revoke(token, context=context, step_name=self._step_name))

    def introspect(self, token: Token | str, *, timeout: float | None = None) -> dict[str, Any]:
        """Return what the server says about *token* (RFC 7662): ``active``, and more if it likes.

        Args:
            token: Any token of that server.
            timeout: Seconds for all of it. None: each request has its own limit; 0: none is sent.

        Raises:
            ConfigurationError: The introspection endpoint is not known.
            AuthenticationError: The server cannot be reached, or refused.
        """
        context = FetchContext(timeout=timeout)
        return without_frames(lambda: self._client.introspect(token, context=context, step_name=self._step_name))

    def close(self) -> None:
        """Let go of connections. Closing twice is harmless; a later request opens them again."""
        self._client.close()


@final
@dataclass(kw_only=True, eq=False, repr=False)
class AuthorizationServer(OAuth2Client):
    """Asks a server about any of its tokens, and gives tokens back, where no fetcher of yours has got them.

    >>> from tokenkit.testing import LocalIdP
    >>> with LocalIdP() as idp:
    ...     server = AuthorizationServer(
    ...         issuer=idp.issuer, client_id="client", client_secret="secret"
    ...     )
    ...     server.introspect("unknown")
    {'active': False}

    Safe from any thread. The fetchers of the OAuth 2.0 grants have the same two methods. Args and errors are those of
    :class:`OAuth2Client`.
    """

    def __post_init__(self) -> None:
        if all(url is None for url in (*self._endpoints().values(), self.issuer)):
            raise ConfigurationError("issuer, introspection_url or revocation_url is missing")
        self._open()

    def __repr__(self) -> str:
        return f"<AuthorizationServer at {self._client.host}>"

    def __enter__(self) -> AuthorizationServer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
