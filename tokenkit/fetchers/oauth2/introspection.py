"""Asking about a token, and giving it back, where no fetcher of yours has got it: RFC 7662 and RFC 7009.

The OAuth 2.0 fetchers have methods of the same names for their own tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import requests
from urllib3.util import Retry

from tokenkit.contracts import FetchContext
from tokenkit.fetchers._transport import Timeout, Transport
from tokenkit.fetchers.oauth2._client import OAuthClient
from tokenkit.fetchers.oauth2._client_auth import ClientAuth
from tokenkit.tokens import Token

__all__ = ["introspect", "revoke"]


def introspect(
    token: Token | str,
    *,
    client_id: str,
    client_secret: str | None = None,
    introspection_url: str | None = None,
    issuer: str | None = None,
    client_auth: str = "client_secret_basic",
    client_key: str | bytes | Callable[..., str | bytes] | None = None,
    client_key_id: str | None = None,
    timeout: Timeout = (3.05, 30),
    verify: bool | str = True,
    cert: str | tuple[str, str] | None = None,
    proxies: Mapping[str, str] | None = None,
    session: requests.Session | None = None,
    retries: int | Retry | None = None,
    allow_insecure: bool = False,
) -> dict[str, Any]:
    """Return what the authorization server says about *token* (RFC 7662 section 2.2). Safe from any thread.

    Args:
        token: Any token of that server.
        client_id: The client that asks.
        client_secret: Its password. None: it has none.
        introspection_url: Where to ask. None: the issuer's metadata tell.
        issuer: The authorization server's identifier, in place of *introspection_url*. None: that one is given.
        client_auth: How the client authenticates, as for the OAuth 2.0 fetchers; so all that follow.
        client_key: Its private key. None: it has none.
        client_key_id: The key's ``kid``. None: none is sent.
        timeout: Seconds (connect, read), more than 0; one try takes at most their sum.
        verify: Whether to check certificates, or a path of trusted ones.
        cert: A client certificate. None: none.
        proxies: Proxies by scheme. None: those of the environment.
        session: A session of yours to use; it is not closed. None: one for this call.
        retries: Further tries after what may pass, or a policy. None: two; 0: none.
        allow_insecure: Whether ``http://`` may go beyond this machine.

    Returns:
        The answer: ``active``, and more if the server likes. True only at this moment.

    Raises:
        ConfigurationError: An argument is wrong.
        AuthenticationError: The server cannot be reached, refused, or answered something else.
    """
    auth = _auth(client_auth, client_id, client_secret, client_key, client_key_id, cert)
    transport = Transport(timeout=timeout, verify=verify, cert=cert, proxies=proxies, session=session, retries=retries)
    urls = {"introspection_endpoint": introspection_url}
    client = OAuthClient(auth, transport, urls=urls, issuer=issuer, allow_insecure=allow_insecure)
    try:
        return client.introspect(token, context=FetchContext())
    finally:
        client.close()


def revoke(
    token: Token | str,
    *,
    client_id: str,
    client_secret: str | None = None,
    revocation_url: str | None = None,
    issuer: str | None = None,
    client_auth: str = "client_secret_basic",
    client_key: str | bytes | Callable[..., str | bytes] | None = None,
    client_key_id: str | None = None,
    timeout: Timeout = (3.05, 30),
    verify: bool | str = True,
    cert: str | tuple[str, str] | None = None,
    proxies: Mapping[str, str] | None = None,
    session: requests.Session | None = None,
    retries: int | Retry | None = None,
    allow_insecure: bool = False,
) -> None:
    """Tell the authorization server that *token* is no longer needed (RFC 7009). Safe from any thread.

    Args:
        token: One token as a string, or a :class:`Token`, whose refresh token goes first.
        client_id: The client that the token was issued to.
        client_secret: Its password. None: it has none.
        revocation_url: Where to say so. None: the issuer's metadata tell.
        issuer: The authorization server's identifier, in place of *revocation_url*. None: that one is given.
        client_auth: How the client authenticates, as for the OAuth 2.0 fetchers; so all that follow.
        client_key: Its private key. None: it has none.
        client_key_id: The key's ``kid``. None: none is sent.
        timeout: Seconds (connect, read), more than 0; one try takes at most their sum.
        verify: Whether to check certificates, or a path of trusted ones.
        cert: A client certificate. None: none.
        proxies: Proxies by scheme. None: those of the environment.
        session: A session of yours to use; it is not closed. None: one for this call.
        retries: Further tries after what may pass, or a policy. None: two; 0: none.
        allow_insecure: Whether ``http://`` may go beyond this machine.

    Raises:
        ConfigurationError: An argument is wrong.
        AuthenticationError: The server cannot be reached, or refused. An unknown token is no error to it.
    """
    auth = _auth(client_auth, client_id, client_secret, client_key, client_key_id, cert)
    transport = Transport(timeout=timeout, verify=verify, cert=cert, proxies=proxies, session=session, retries=retries)
    urls = {"revocation_endpoint": revocation_url}
    client = OAuthClient(auth, transport, urls=urls, issuer=issuer, allow_insecure=allow_insecure)
    try:
        client.revoke(token, context=FetchContext())
    finally:
        client.close()


def _auth(method: str, client_id: str, secret: str | None, key: Any, key_id: str | None, cert: Any) -> ClientAuth:
    return ClientAuth(
        method=method,
        client_id=client_id,
        client_secret=secret,
        key=key,
        key_id=key_id,
        algorithm=None,
        audience=None,
        has_cert=cert is not None,
        anonymous=False,
    )
