"""What each path of the identity provider answers: from a request to a reply, without a socket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, final

from tokenkit.testing._idp.authority import Authority, Client, IssuedToken, TokenKind
from tokenkit.testing._idp.client_auth import CLIENT_AUTH_METHODS, authenticate_client, single_valued
from tokenkit.testing._idp.grants import GRANT_TYPES, answer_token_request, short_name, token_answer
from tokenkit.testing._idp.messages import Refusal, Reply, Request
from tokenkit.testing._idp.sign_in_pages import SignInPages
from tokenkit.testing.settings import Settings

__all__ = ["ENDPOINTS", "Endpoints"]

ENDPOINTS = frozenset(
    {"token", "revoke", "introspect", "metadata", "device", "app", "user", "api"}
    | {"authorize", "par", "device_authorization", "activate"}
)
_METADATA_PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
_NEVER_ECHOED = frozenset({"authorization", "proxy-authorization", "x-device-token", "x-app-token"})


@final
class Endpoints:
    """Route requests and answer them. Safe from any thread; what changes is the authority's.

    Args:
        authority: Whose rules hold.
        settings: How people sign in.
        issuer: The URL that the paths are below, without a slash at its end.
    """

    def __init__(self, authority: Authority, settings: Settings, issuer: str) -> None:
        self._authority = authority
        self._issuer = issuer
        self._pages = SignInPages(authority, settings, issuer)
        self._answers: dict[str, Callable[[Request], Reply]] = {
            "token": self._token,
            "revoke": self._revoke,
            "introspect": self._introspect,
            "metadata": self._metadata,
            "device": self._device,
            "app": self._app,
            "user": self._user,
            "api": self._api,
            "authorize": self._pages.authorize,
            "activate": self._pages.activate,
            "par": lambda request: self._pages.push(*self._client_and_form(request)),
            "device_authorization": lambda request: self._pages.begin_device(*self._client_and_form(request)),
        }

    def keys(self, request: Request) -> tuple[str, ...]:
        """Return the names that *request* is counted and failed by: its endpoint and, below it, grant or path."""
        if request.path.startswith("/api/"):
            return "api", f"api:{request.path[5:]}"
        if request.path == "/token":
            grants = request.form.get("grant_type", [""])
            return "token", f"token:{short_name(grants[0])}"
        if request.path in _METADATA_PATHS:
            return ("metadata",)
        name = request.path[1:]
        return (name,) if name in ENDPOINTS else ("unknown",)

    def answer(self, endpoint: str, request: Request) -> Reply:
        """Return what *endpoint* answers; a refusal is an answer, too."""
        handle = self._answers.get(endpoint)
        if handle is None:
            return Reply(404)
        try:
            return handle(request)
        except Refusal as refusal:
            return refusal.reply()

    @property
    def _audiences(self) -> tuple[str, ...]:
        return self._issuer, f"{self._issuer}/token"

    def _client_and_form(self, request: Request) -> tuple[Client, dict[str, str]]:
        client = authenticate_client(self._authority, request, self._audiences)
        return client, single_valued(request)

    def _token(self, request: Request) -> Reply:
        return Reply.json(answer_token_request(self._authority, request, self._audiences))

    def _revoke(self, request: Request) -> Reply:
        """RFC 7009: an unknown token is as revoked as one can be."""
        client = authenticate_client(self._authority, request, self._audiences)
        token = self._authority.find(_required(request, "token"))
        if token is not None and token.client_id != client.client_id:
            raise Refusal("invalid_request", "the token was issued to another client")
        if token is not None:
            self._authority.revoke(token.value)
        return Reply(200)

    def _introspect(self, request: Request) -> Reply:
        """RFC 7662 section 2.2."""
        authenticate_client(self._authority, request, self._audiences)
        token = self._authority.find(_required(request, "token"))
        if token is None:
            return Reply.json({"active": False})
        known: dict[str, Any] = {
            "active": True,
            "scope": token.scope,
            "client_id": token.client_id,
            "sub": token.subject,
            "aud": list(token.targets) or None,
            "iss": self._issuer,
            "iat": int(token.issued_at),
            "exp": None if token.lifetime is None else int(token.issued_at + token.lifetime),
            "token_type": "Bearer" if token.kind == "access" else None,
        }
        return Reply.json({name: value for name, value in known.items() if value is not None})

    def _metadata(self, request: Request) -> Reply:
        """RFC 8414 section 2."""
        return Reply.json(
            {
                "issuer": self._issuer,
                "token_endpoint": f"{self._issuer}/token",
                "revocation_endpoint": f"{self._issuer}/revoke",
                "introspection_endpoint": f"{self._issuer}/introspect",
                "grant_types_supported": list(GRANT_TYPES),
                **self._pages.metadata(),
                "token_endpoint_auth_methods_supported": list(CLIENT_AUTH_METHODS),
            }
        )

    def _device(self, request: Request) -> Reply:
        device = request.fields.get("device_id")
        if not device:
            raise Refusal("invalid_request", "the parameter device_id is missing")
        token = self._issue_step("device", str(device))
        return Reply.json({"data": {"token": token.value}} | _lifetime_in_words(token))

    def _app(self, request: Request) -> Reply:
        device = self._upstream(request, "X-Device-Token", "device")
        token = self._issue_step("app", device.subject)
        lifetime = () if token.expires_in is None else (("X-Expires-In", str(token.expires_in)),)
        return Reply(200, headers=(("Authorization", f"Bearer {token.value}"), *lifetime))

    def _user(self, request: Request) -> Reply:
        self._upstream(request, "X-Device-Token", "device")
        self._upstream(request, "X-App-Token", "app")
        fields = request.fields
        username = str(fields.get("username"))
        if not self._authority.has_user(username, str(fields.get("password"))):
            raise Refusal("invalid_grant", "username or password is wrong")
        return Reply.json(token_answer(self._authority, "user", "user", subject=username, client_id="client"))

    def _issue_step(self, step: TokenKind, subject: str) -> IssuedToken:
        return self._authority.issue(step, self._authority.lifetime_of(step), subject=subject, client_id="client")

    def _upstream(self, request: Request, header: str, kind: TokenKind) -> IssuedToken:
        value = request.headers.get(header.lower(), "")
        token = self._authority.find(value, kind)
        if token is None:
            why = self._authority.why_not(value) if value else "missing"
            raise Refusal("invalid_token", f"{header} is {why}", status=401)
        return token

    def _api(self, request: Request) -> Reply:
        """RFC 6750 section 3: no error code for a request without credentials."""
        name = request.path[5:]
        cookie = (("Set-Cookie", "seen=yes; Path=/"),) if name == "cookie" else ()
        bearer = request.bearer
        token = self._authority.find(bearer, "access") if bearer else None
        if token is None or name == "always-401":
            why = f', error="invalid_token", error_description="{self._authority.why_not(bearer)}"' if bearer else ""
            return Reply.json({"error": "unauthorized"}, 401, (_challenge(why), *cookie))
        if name == "forbidden":
            return Reply.json({"error": "forbidden"}, 403, (_challenge(', error="insufficient_scope", scope="admin"'),))
        if name == "redirect":
            fields = request.fields
            return Reply(int(fields.get("status", 302)), headers=(("Location", str(fields.get("to", "/api/"))),))
        return Reply(200, _echo(request, token), (("Content-Type", "application/json"), *cookie))


def _required(request: Request, name: str) -> str:
    value = single_valued(request).get(name)
    if not value:
        raise Refusal("invalid_request", f"the parameter {name} is missing")
    return value


def _lifetime_in_words(token: IssuedToken) -> dict[str, float]:
    return {} if token.expires_in is None else {"expires_in": token.expires_in}


def _challenge(why: str) -> tuple[str, str]:
    return "WWW-Authenticate", f'Bearer realm="api"{why}'


def _echo(request: Request, token: IssuedToken) -> bytes:
    seen = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": {name: value for name, value in request.headers.items() if name not in _NEVER_ECHOED},
        "body": request.body.decode("utf-8", "replace"),
        "body_length": len(request.body),
        "token_fingerprint": hashlib.sha256(token.value.encode()).hexdigest()[:8],
    }
    return json.dumps(seen).encode()
