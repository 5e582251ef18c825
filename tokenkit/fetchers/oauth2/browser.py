"""Signing in in the browser of this machine: an authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, 8252)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any, ClassVar, final
from urllib.parse import urlencode

from tokenkit._checks import check_fields
from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.references import from_context
from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError, MalformedResponseError
from tokenkit.fetchers._answers import json_object
from tokenkit.fetchers.oauth2._loopback import Loopback
from tokenkit.fetchers.oauth2.sign_in import Show, SignInFlow, SignInPrompt
from tokenkit.tokens import Token

__all__ = ["BrowserSignIn"]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class BrowserSignIn(SignInFlow):
    """A person signs in in the browser of this machine, which comes back with a code (RFC 8252).

    PKCE with S256 (RFC 7636), ``state``, the issuer's ``iss`` (RFC 9207) and, where the metadata offer it, a pushed
    request (RFC 9126) are used without being asked for. Arguments not listed are those of :class:`OAuth2Fetcher`.
    Safe from any thread; two that sign in at once need two ports.

    Args:
        authorization_url: The authorization endpoint. None: the issuer's.
        authorization_params: Further parameters of the authorization request alone, such as ``prompt``,
            ``login_hint``, or Google's ``access_type``. None: none.
        redirect_port: The port of ``http://127.0.0.1:PORT/`` that the browser comes back to. 0: any that is free, which
            servers allow for native applications (RFC 8252 section 7.3).

    Raises:
        ConfigurationError: An argument is wrong, or arguments do not go together.

    Example:
        >>> from tokenkit import TokenManager
        >>> from tokenkit.fetchers.oauth2 import SignedInFetcher
        >>> from tokenkit.storage import InMemoryTokenStorage
        >>> from tokenkit.testing import LocalIdP
        >>> with LocalIdP() as idp:
        ...     idp.add_client("shop-cli")
        ...     flow = BrowserSignIn(issuer=idp.issuer, client_id="shop-cli", scope="orders")
        ...     manager = TokenManager(SignedInFetcher(flow), InMemoryTokenStorage())
        ...     manager.sign_in(show=lambda prompt: idp.approve(prompt.url)).scope
        'orders'
    """

    authorization_url: str | None = None
    authorization_params: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = None
    redirect_port: int = 0

    grant: ClassVar[str] = "authorization_code"

    def __post_init__(self) -> None:
        check_fields(authorization_params=self.authorization_params)
        port = self.redirect_port
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 65536:
            raise ConfigurationError("redirect_port must be a whole number from 0 to 65535")
        super().__post_init__()

    def _endpoints(self) -> dict[str, str | None]:
        return {**super()._endpoints(), "authorization_endpoint": self.authorization_url}

    def _signed_in(self, show: Show, clock: Clock, deadline: float) -> Token:
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        context = FetchContext(timeout=deadline - clock.monotonic(), clock=clock)
        with closing(Loopback(state, self.redirect_port)) as loopback:
            url = self._page(self._request(context, state, verifier, loopback.redirect_uri), context)
            show(SignInPrompt(url, None, None, clock.now() + timedelta(seconds=deadline - clock.monotonic())))
            answer = loopback.wait(clock, deadline)
            if answer is None:
                raise self._nobody_came()
            code = self._code(answer, context)
            left = FetchContext(timeout=deadline - clock.monotonic(), clock=clock)
            redeeming = {"grant_type": self.grant, "code": code, "code_verifier": verifier}
            return self._ask(lambda _url: {**redeeming, "redirect_uri": loopback.redirect_uri}, left, scope=False)

    def _request(self, context: FetchContext, state: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        digest = hashlib.sha256(verifier.encode()).digest()
        return {
            **dict(from_context(self.authorization_params, context) or {}),
            **self._common_params(context, scope=True),
            "response_type": "code",
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }

    def _page(self, request: Mapping[str, Any], context: FetchContext) -> str:
        """Return the URL to open; with a pushed request it holds nothing of the request but its name."""
        page = self._client.endpoint("authorization_endpoint", context=context, step_name=self.name)
        pushed = self._client.metadata("pushed_authorization_request_endpoint", context=context, step_name=self.name)
        if pushed:
            response, _scrubber = self._client.post(
                "pushed_authorization_request_endpoint", lambda _url: request, context=context, step_name=self.name
            )
            name = json_object(response, self.name).get("request_uri")
            if not isinstance(name, str) or not name:
                raise MalformedResponseError("the answer to the pushed request has no request_uri", step_name=self.name)
            request = {"request_uri": name}
        query = urlencode({"client_id": from_context(self.client_id, context), **request}, doseq=True)
        return f"{page}{'&' if '?' in page else '?'}{query}"

    def _code(self, answer: Mapping[str, str], context: FetchContext) -> str:
        """Return the code in the browser's *answer*, whose state is right.

        Raises:
            SignInRequiredError: The person, or the server, refused.
            MalformedResponseError: The answer is another server's (RFC 9207), or has no code.
        """
        issuer = answer.get("iss")
        says_so = self._client.metadata(
            "authorization_response_iss_parameter_supported", context=context, step_name=self.name
        )
        if self._server is not None and ((issuer is None and says_so) or issuer not in (None, self._server)):
            raise MalformedResponseError("the answer to the sign-in is not this issuer's", step_name=self.name)
        if "error" in answer:
            raise self._refused(answer["error"])
        if not answer.get("code"):
            raise MalformedResponseError("the answer to the sign-in has no code", step_name=self.name)
        return answer["code"]
