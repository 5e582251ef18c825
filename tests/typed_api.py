"""The public API as users write it, for type checkers alone: ``tox -e types`` runs mypy and pyright over it."""

from __future__ import annotations

from datetime import timedelta

import requests

from tokenkit import AuthorizedSession, BearerAuth, Token, TokenManager, TokenProvider
from tokenkit.contracts import Challenge, FetchContext, TokenFetcher
from tokenkit.fetchers import StaticTokenFetcher
from tokenkit.manager import ManagerPool, ManagerStatus


class Plain(TokenProvider):
    service_name = "plain"

    def fetch_token(self) -> Token:
        return Token("a-token")

    def refresh_token(self, current: Token) -> Token:
        return current


class WithContext(TokenProvider):
    service_name = "with-context"

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return Token("a-token")

    def refresh_token(self, current: Token, context: FetchContext | None = None) -> Token:
        return self.fetch_token(context)


class Fetcher(TokenFetcher):
    name = "fetcher"

    def fetch(self, context: FetchContext | None = None) -> Token:
        return Token("a-token")


def verbs(session: AuthorizedSession) -> list[requests.Response]:
    return [
        session.get("orders", params={"page": 1}, max_allowed_time=10),
        session.options("orders", max_allowed_time=timedelta(seconds=10)),
        session.head("orders", max_allowed_time=0.5),
        session.post("orders", b"data", max_allowed_time=10),
        session.post("orders", json={"a": 1}, max_allowed_time=10),
        session.put("orders", {"a": "b"}, max_allowed_time=10),
        session.patch("orders", data="x", max_allowed_time=10),
        session.delete("orders", max_allowed_time=None),
        session.get("orders", {"page": 1}, headers={"X-A": "b"}, timeout=(3, None), stream=True, verify="ca.pem"),
        session.post("orders", "data", params={"a": "b"}, files={"f": b"x"}, cookies={"a": "b"}, allow_redirects=False),
        session.delete("orders", json=[1], auth=("a", "b"), proxies={"http": "http://proxy"}, cert=("a", "b")),
        session.request("GET", "orders", timeout=(1, 2), max_allowed_time=10),
    ]


def wrong_verbs(session: AuthorizedSession) -> None:
    session.get("orders", timeout="10")  # type: ignore[arg-type]  # seconds
    session.post("orders", tiemout=10)  # type: ignore[call-arg]  # no such option
    session.delete("orders", max_allowed_time="10")  # type: ignore[arg-type]  # seconds


def sources() -> list[BearerAuth]:
    return [BearerAuth(one) for one in (Plain(), WithContext(), Fetcher(), StaticTokenFetcher("a-token"))]


def under_a_manager() -> str:
    with TokenManager(Plain()) as manager, AuthorizedSession(manager, base_url="https://api.example.com") as session:
        answer: requests.Response = session.get("orders", auth=BearerAuth(manager), max_allowed_time=1)
        token: Token = manager.get_token()
        text: str = manager.access_token()
        return answer.text + str(token) + text


def challenged(manager: TokenManager, rejected: Token, context: FetchContext) -> str | None:
    manager.invalidate_token(rejected, Challenge(error="insufficient_claims", claims="{}"))
    return None if context.challenge is None else context.challenge.claims


def make(tenant: str) -> TokenManager:
    return TokenManager(Plain())


def tenant_of(request: requests.PreparedRequest) -> str | None:
    return request.headers.get("X-Tenant")


def many_tenants() -> float | None:
    with ManagerPool(make, max_size=10, idle_after=timedelta(hours=1)) as pool:
        for auth in (BearerAuth(pool, key="acme"), BearerAuth(pool, key=tenant_of)):
            requests.get("https://api.example.com", auth=auth, timeout=1)
        with AuthorizedSession(pool, key=("acme", 7)) as session:
            session.get("orders")
        status: ManagerStatus = pool["acme"].status()
        found: TokenManager | None = pool.peek("umbrella")
        return None if found is None or "acme" not in pool else status.seconds_left
