"""Whose requests.Session sends a token request, how long it lives, and what it is told."""

import os
import queue
from collections.abc import Callable
from typing import Any

import pytest
import requests
import responses
from support.forked import Child
from support.raw_server import answer, raw_server, says

from tokenkit.contracts import TokenFetcher
from tokenkit.errors import TransportError
from tokenkit.fetchers import (
    AuthorizationServer,
    BodyTokenFetcher,
    ClientCredentialsFetcher,
    HeaderTokenFetcher,
    HttpTokenFetcher,
)
from tokenkit.fetchers._session import _Idle

GOOD = answer(b'{"access_token": "good", "active": true}', headers=("Authorization: Bearer good",))
CLIENT = {"client_id": "client", "client_secret": "secret"}

Made = Callable[..., TokenFetcher]
Spied = list[requests.Session]

KINDS: dict[str, Made] = {
    "http": lambda url, **options: HttpTokenFetcher("a", url, "", **options),
    "body": lambda url, **options: BodyTokenFetcher("a", url, "", **options),
    "header": lambda url, **options: HeaderTokenFetcher("a", url, "", **options),
    "oauth2": lambda url, **options: ClientCredentialsFetcher(token_url=url, **CLIENT, **options),
}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def spied(monkeypatch: pytest.MonkeyPatch, method: str) -> Spied:
    """Return the list of the sessions whose *method* is called from now on."""
    called: Spied = []
    real = getattr(requests.Session, method)

    def spy(self: requests.Session, *args: Any, **options: Any) -> Any:
        called.append(self)
        return real(self, *args, **options)

    monkeypatch.setattr(requests.Session, method, spy)
    return called


@pytest.fixture
def sending(monkeypatch: pytest.MonkeyPatch) -> Spied:
    return spied(monkeypatch, "send")


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Spied:
    return spied(monkeypatch, "close")


@each_kind
def test_a_fetcher_has_one_session_of_its_own(make: Made, sending: Spied) -> None:
    """For all its requests, and for no other fetcher's."""
    with raw_server(says(GOOD)) as server:
        one, other = make(server.url), make(server.url)
        for source in (one, one, other):
            source.fetch()
    assert sending[0] is sending[1] is not sending[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
@pytest.mark.parametrize("hooks", [True, False])
@each_kind
def test_a_forked_child_has_another_session(make: Made, hooks: bool, sending: Spied) -> None:
    """However it was forked; one process's sockets are not for two."""
    with raw_server(says(GOOD)) as server:
        source = make(server.url)
        source.fetch()

        def in_the_child() -> list[bool]:
            source.fetch()
            source.fetch()
            return [session is sending[0] for session in sending]

        assert [True, False, False] == Child(in_the_child, hooks=hooks).result()
        source.fetch()
    assert sending[0] is sending[1]


@each_kind
def test_closing_a_fetcher_closes_its_session(make: Made, sending: Spied, closing: Spied) -> None:
    """Once; a later fetch opens another."""
    with raw_server(says(GOOD)) as server:
        source = make(server.url)
        source.fetch()
        source.close()
        source.close()
        assert [sending[0]] == closing
        source.fetch()
    assert sending[0] is not sending[1]


@each_kind
def test_closing_a_fetcher_leaves_the_users_session_open(make: Made, sending: Spied, closing: Spied) -> None:
    """It sends the request, and may well have others to send."""
    with raw_server(says(GOOD)) as server:
        mine = requests.Session()
        source = make(server.url, session=mine)
        source.fetch()
        source.close()
    assert [mine] == sending
    assert [] == closing


def test_a_server_closes_what_it_opened(sending: Spied, closing: Spied) -> None:
    """As a context, or by close()."""
    with (
        raw_server(says(GOOD)) as server,
        AuthorizationServer(introspection_url=server.url, revocation_url=server.url, **CLIENT) as asked,
    ):
        asked.introspect("t")
        asked.revoke("t")
    assert 1 == len(closing)
    assert [closing[0]] * 2 == sending


def ask_both(url: str) -> None:
    AuthorizationServer(introspection_url=url, **CLIENT).introspect("t")
    AuthorizationServer(revocation_url=url, **CLIENT).revoke("t")


@responses.activate
@pytest.mark.parametrize(
    "ask", [*(lambda url, make=make: make(url).fetch() for make in KINDS.values()), ask_both], ids=[*KINDS, "server"]
)
def test_a_request_waits_3_seconds_for_a_connection_and_30_for_an_answer(ask: Callable[[str], object]) -> None:
    """Unless it is said otherwise; and it checks certificates, shows none, and reads the answer itself."""
    responses.post(
        "https://idp.example", json={"access_token": "good", "active": True}, headers={"Authorization": "good"}
    )
    ask("https://idp.example")
    for call in responses.calls:
        told = call.request.req_kwargs
        assert ((3.05, 30), None, True) == (told["timeout"], told["cert"], told["stream"])
        assert told["verify"]  # True, or the bundle that the environment names


def test_a_request_that_was_broken_off_drops_its_session(sending: Spied, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock inside it may be locked for ever, so the next request has another session; a failure keeps it."""
    fetcher = KINDS["body"]("https://idp.example/token", retries=0)
    outcomes: list[BaseException] = [requests.ConnectionError(), KeyboardInterrupt(), KeyboardInterrupt()]

    def broken(*_: object, **__: object) -> None:
        raise outcomes.pop(0)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", broken)
    for expected in (TransportError, KeyboardInterrupt, KeyboardInterrupt):
        with pytest.raises(expected):
            fetcher.fetch()
    first, second, third = sending
    assert first is second
    assert second is not third


def test_a_users_session_stays_the_users(monkeypatch: pytest.MonkeyPatch, sending: Spied) -> None:
    """One that was given is used on, whatever breaks a request off: it is not the fetcher's to drop."""
    session = requests.Session()
    fetcher = KINDS["body"]("https://idp.example/token", session=session)

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", broken)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fetcher.fetch()
    assert [session, session] == sending


def test_a_pool_keeps_as_many_idle_connections_as_it_may() -> None:
    """Beyond that urllib3 is told, and closes what it would have kept."""
    idle = _Idle(1)
    assert (True, 0) == (idle.empty(), idle.qsize())
    idle.put("one")
    with pytest.raises(queue.Full):
        idle.put("two")
    assert (False, "one") == (idle.empty(), idle.get())
    with pytest.raises(queue.Empty):
        idle.get()
