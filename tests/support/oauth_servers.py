"""Authorization servers that nobody here wrote, each in a process of its own on a free port of 127.0.0.1.

Each has the users of :data:`USERS` and these clients, whose secrets :func:`secret_of` tells: ``service``
(client credentials) and ``app`` (password, refresh token) with tokens of 3 seconds. Behind
:attr:`OAuthServer.lasting` there are two more whose tokens live for a minute.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests
from support import glewlwyd_server, needs
from support.programs import own_program

from tokenkit.fetchers import ClientCredentialsFetcher, PasswordFetcher

HERE = Path(__file__).resolve().parent.parent / "servers"
USERS = {"alice": "wonderland-7f3a", "bob": "builder-91c2"}
SHORT, LASTING = 3, 60
RENEWED_AFTER = 0.8 * SHORT  # seconds, at the earliest: the safe fraction, less all of the jitter
_LIFETIMES = {"service": SHORT, "app": SHORT, "lasting-service": LASTING, "lasting-app": LASTING}


def secret_of(client_id: str) -> str:
    return f"{client_id}-secret-2b9d"


@dataclass(frozen=True)
class OAuthServer:
    """A server that runs, and where on it things are.

    Args:
        name: What it is.
        port: Where it listens.
        issuer: Its identifier; None where it publishes no metadata.
        token: The path of the token endpoint, and so the following.
        revocation: Revokes.
        introspection: Introspects.
        resource: Wants a token.
        scope: What to ask for.
        prefix: What the names of the clients begin with.
        lasting_changes: How the same server with tokens of a minute differs from this.
    """

    name: str
    port: int
    issuer: str | None
    token: str
    revocation: str
    introspection: str
    resource: str
    scope: str | None = None
    prefix: str = ""
    lasting_changes: Mapping[str, str] = field(default_factory=lambda: {"prefix": "lasting-"})

    @property
    def lasting(self) -> "OAuthServer":
        """The same server, for tokens that live for a minute."""
        return replace(self, **self.lasting_changes)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def resource_url(self) -> str:
        return self.url + self.resource

    def endpoints(self, base: str | None = None) -> dict[str, str]:
        """Return the endpoints as a fetcher takes them, the token endpoint below *base* in place of the server."""
        return {
            "token_url": (base or self.url) + self.token,
            "revocation_url": self.url + self.revocation,
            "introspection_url": self.url + self.introspection,
        }

    def service(self, base: str | None = None, **options: Any) -> ClientCredentialsFetcher:
        """Return the fetcher of the client ``service``, with *options* on top; *base* as of :meth:`endpoints`."""
        return ClientCredentialsFetcher(**self.client("service", base) | options)

    def app(self, base: str | None = None, **options: Any) -> PasswordFetcher:
        """Return the fetcher of alice at the client ``app``."""
        user = {"username": "alice", "password": USERS["alice"]}
        return PasswordFetcher(**self.client("app", base) | user | options)

    def client(self, client_id: str, base: str | None = None) -> dict[str, Any]:
        """Return the arguments of a fetcher that are not its grant's."""
        client_id = self.prefix + client_id
        names = {"client_id": client_id, "client_secret": secret_of(client_id), "scope": self.scope}
        return self.endpoints(base) | names

    def visit(self, token: str | None, path: str | None = None) -> requests.Response:
        """Ask the resource with *token*, or without any."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.get(self.url + (path or self.resource), headers=headers, timeout=10)


@contextmanager
def oidc_provider(directory: Path, clients: list[dict[str, Any]]) -> Iterator[OAuthServer]:
    """Run node-oidc-provider with *clients* besides the usual ones."""
    node = needs.program("node")
    home = HERE / "oidc_provider"
    needs.directory(home / "node_modules" / "oidc-provider", f"npm ci in tests/servers/{home.name}")
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    grants = {"service": ["client_credentials"], "app": ["password", "refresh_token", exchange]}
    scopes = {"service": "api:read", "app": "openid offline_access api:read"}
    usual = [
        {
            "client_id": name,
            "client_secret": secret_of(name),
            "grant_types": grants[name.removeprefix("lasting-")],
            "scope": scopes[name.removeprefix("lasting-")],
            "lifetime": lifetime,
        }
        for name, lifetime in _LIFETIMES.items()
    ]
    config = {"clients": [*usual, *clients], "users": USERS}
    with own_program([node, str(home / "server.mjs")], directory, config) as port:
        url = f"http://127.0.0.1:{port}"
        paths = ("/token", "/token/revocation", "/token/introspection", "/resource")
        yield OAuthServer("oidc-provider", port, url, *paths)


@contextmanager
def django_oauth_toolkit(directory: Path) -> Iterator[OAuthServer]:
    needs.module("oauth2_provider")
    clients = [
        {
            "client_id": name,
            "client_secret": secret_of(name),
            "grant": "password" if name.endswith("app") else "client-credentials",
            "lifetime": lifetime,
        }
        for name, lifetime in _LIFETIMES.items()
    ]
    config = {"clients": clients, "users": USERS, "database": str(directory / "db.sqlite3")}
    with own_program([sys.executable, str(HERE / "django_oauth_toolkit_server.py")], directory, config) as port:
        paths = ("/o/token/", "/o/revoke_token/", "/o/introspect/", "/polite")
        yield OAuthServer("django-oauth-toolkit", port, f"http://127.0.0.1:{port}/o", *paths, "read")


@contextmanager
def authlib(directory: Path, clients: list[dict[str, Any]]) -> Iterator[OAuthServer]:
    """Run Authlib's Flask server with *clients* besides the usual ones."""
    for package in ("authlib", "flask"):
        needs.module(package)
    usual = [
        {
            "client_id": name,
            "client_secret": secret_of(name),
            "methods": ["client_secret_basic", "client_secret_post"],
            "grants": ["password", "refresh_token"] if name.endswith("app") else ["client_credentials"],
            "lifetime": lifetime,
        }
        for name, lifetime in _LIFETIMES.items()
    ]
    config = {"clients": [*usual, *clients], "users": USERS}
    with own_program([sys.executable, str(HERE / "authlib_server.py")], directory, config) as port:
        yield OAuthServer("Authlib", port, None, "/token", "/revoke", "/introspect", "/resource")


@contextmanager
def glewlwyd(directory: Path) -> Iterator[OAuthServer]:
    """Run glewlwyd: two issuers on one port, and a resource for people only, the page about themselves."""
    clients = {
        "service": (secret_of("service"), ["client_credentials"]),
        "app": (secret_of("app"), ["password", "refresh_token"]),
    }
    lifetimes = {"short": SHORT, "lasting": LASTING}
    with glewlwyd_server.running(directory, lifetimes=lifetimes, clients=clients, users=USERS) as port:
        lasting, short = (
            {
                "issuer": f"http://127.0.0.1:{port}/api/{name}",
                "token": f"/api/{name}/token",
                "revocation": f"/api/{name}/revoke",
                "introspection": f"/api/{name}/introspect",
                "resource": f"/api/{name}/userinfo",
            }
            for name in ("lasting", "short")
        )
        yield OAuthServer("glewlwyd", port, scope="api openid", lasting_changes=lasting, **short)
