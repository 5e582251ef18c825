"""A client of an OAuth 2.0 authorization server: posts to its endpoints, authenticated. It knows no grant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import requests

from tokenkit._net.urls import checked_url, host_of
from tokenkit._secrecy.references import from_context
from tokenkit._secrecy.scrubber import Scrubber
from tokenkit.clock import SystemClock
from tokenkit.contracts import FetchContext
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError, TokenEndpointError
from tokenkit.fetchers._answers import json_object
from tokenkit.fetchers._request import TokenRequest
from tokenkit.fetchers._transport import Transport
from tokenkit.fetchers.oauth2._client_auth import ClientAuth
from tokenkit.fetchers.oauth2._discovery import Discovery
from tokenkit.tokens import Token

__all__ = ["OAuthClient"]

_clock = SystemClock()


@final
class OAuthClient:
    """Safe from any thread and after a fork.

    Args:
        auth: The client.
        transport: What to send through.
        urls: The endpoints that are known, by the names of RFC 8414, such as 'token_endpoint'; None: unknown.
        issuer: Whose metadata tell the others; None: nobody's.
        allow_insecure: Whether ``http://`` may go beyond this machine.
        headers: Further header fields of each request, or a function that returns them; None: none.
        content_type: 'form' or 'json'.

    Raises:
        ConfigurationError: A URL is wrong.
    """

    def __init__(
        self,
        auth: ClientAuth,
        transport: Transport,
        *,
        urls: Mapping[str, str | None],
        issuer: str | None,
        allow_insecure: bool,
        headers: Any = None,
        content_type: str = "form",
    ) -> None:
        self._auth = auth
        self._headers = headers
        self._content_type = content_type
        self._transport = transport
        self._urls = {name: url for name, url in urls.items() if url is not None}
        for name, url in self._urls.items():
            checked_url(url, argument=name.replace("endpoint", "url"), allow_insecure=allow_insecure)
        self._discovery = issuer and Discovery(
            issuer, transport, allow_insecure=allow_insecure, mutual_tls=auth.has_cert
        )
        self.host = host_of(self._urls.get("token_endpoint") or issuer or next(iter(self._urls.values()), "?"))

    def post(
        self,
        endpoint: str,
        build: Callable[[str], Mapping[str, Any]],
        *,
        context: FetchContext,
        step_name: str | None,
    ) -> tuple[requests.Response, Scrubber]:
        """Post what *build* makes to *endpoint* and return the answer, a success.

        Args:
            endpoint: Its name in RFC 8414.
            build: Makes the parameters of one try; called with the token endpoint's URL.
            context: For values that are functions; its timeout bounds all.
            step_name: What errors name.

        Raises:
            AuthenticationError: There is no such answer.
            ConfigurationError: The endpoint is not known.
        """
        end = None if context.timeout is None else _clock.monotonic() + context.timeout
        url = self._url(endpoint, step_name, context.timeout)
        try:
            return self._post(url, endpoint, build, context, step_name, end)
        except TokenEndpointError as error:
            if not self._discovery or endpoint in self._urls or error.status not in (404, 410):
                raise
            gone = error
        # The endpoint is gone, so it may have moved: the metadata are read again.
        self._discovery.forget()
        moved = self._url(endpoint, step_name, _left(end))
        if moved == url:
            raise gone
        return self._post(moved, endpoint, build, context, step_name, end)

    def _post(
        self,
        url: str,
        endpoint: str,
        build: Callable[[str], Mapping[str, Any]],
        context: FetchContext,
        step_name: str | None,
        end: float | None,
    ) -> tuple[requests.Response, Scrubber]:
        # What an assertion is for where no issuer is known: the token endpoint (RFC 7523 section 3), if there is one.
        audience = url if endpoint == "token_endpoint" else self._urls.get("token_endpoint", url)

        def request() -> TokenRequest:
            credentials_in_head, credentials = self._auth.apply(audience, context)
            headers = {**(from_context(self._headers, context) or {}), **credentials_in_head}
            return TokenRequest("POST", url, headers, {**build(audience), **credentials}, self._content_type)

        return self._transport.exchange(request, step_name=step_name, timeout=_left(end), now=context.now)

    def revoke(self, token: Token | str, *, context: FetchContext, step_name: str | None = None) -> None:
        """Revoke *token* (RFC 7009); of a :class:`Token`, its refresh token first, and then the access token.

        A server need not be able to revoke access tokens (RFC 7009 section 2.2.1): one whose refresh token is revoked
        is as good as revoked. Where the refresh token cannot be revoked, the access token is tried all the same.
        """
        end = None if context.timeout is None else _clock.monotonic() + context.timeout
        values = {"": token} if isinstance(token, str) else _values(token)
        failures: list[AuthenticationError] = []
        for hint, value in values.items():
            if not value:
                continue
            data = {"token": value, **({"token_type_hint": hint} if hint else {})}
            try:
                self._post_form("revocation_endpoint", data, FetchContext(context, timeout=_left(end)), step_name)
            except AuthenticationError as error:
                unsupported = isinstance(error, TokenEndpointError) and error.error == "unsupported_token_type"
                if not (unsupported and hint == "access_token" and values.get("refresh_token") and not failures):
                    failures.append(error)
        if failures:
            raise failures[0]

    def introspect(self, token: Token | str, *, context: FetchContext, step_name: str | None = None) -> dict[str, Any]:
        """Return what the server says about *token* (RFC 7662)."""
        data = {"token": token.access_token if isinstance(token, Token) else token}
        response = self._post_form("introspection_endpoint", data, context, step_name)
        answer = json_object(response, step_name)
        if not isinstance(answer.get("active"), bool):
            raise MalformedResponseError("the answer does not say whether the token is active", step_name=step_name)
        return answer

    def endpoint(self, name: str, *, context: FetchContext, step_name: str | None) -> str:
        """Return the URL of the endpoint *name*, for a browser to open."""
        return self._url(name, step_name, context.timeout)

    def metadata(self, name: str, *, context: FetchContext, step_name: str | None) -> Any:
        """Return what the issuer's metadata say of *name*; None where they say nothing, or no issuer is given."""
        if not self._discovery:
            return None
        return self._discovery.value(name, step_name=step_name, timeout=context.timeout)

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()

    def _post_form(
        self, endpoint: str, data: Mapping[str, Any], context: FetchContext, step_name: str | None
    ) -> requests.Response:
        return self.post(endpoint, lambda _url: data, context=context, step_name=step_name)[0]

    def _url(self, endpoint: str, step_name: str | None, timeout: float | None) -> str:
        if endpoint in self._urls:
            return self._urls[endpoint]
        if not self._discovery:
            raise ConfigurationError(f"{endpoint.replace('endpoint', 'url')} is not known; give it, or issuer=")
        return self._discovery.endpoint(endpoint, step_name=step_name, timeout=timeout)


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - _clock.monotonic())


def _values(token: Token) -> dict[str, str | None]:
    return {"refresh_token": token.refresh_token, "access_token": token.access_token}
