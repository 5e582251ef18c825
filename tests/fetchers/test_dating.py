"""Tokens are dated by the clock of who asks, which judges them later: the context has it."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import responses

from tokenkit import ClientCredentialsFetcher, Token
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.fetchers import (
    BodyTokenFetcher,
    CallableTokenFetcher,
    CommandTokenFetcher,
    EnvTokenFetcher,
    FileTokenFetcher,
    HeaderTokenFetcher,
    StaticTokenFetcher,
    StoredTokenFetcher,
)
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock

CLOCK = FakeClock(4_000_000_000.0)  # in the year 2096
THEN = FetchContext(clock=CLOCK)
HOUR = timedelta(hours=1)
URL = "https://idp.example.com"


def stored() -> TokenFetcher:
    storage = InMemoryTokenStorage()
    storage.set("key", Token("token", issued_at=CLOCK.now(), expires_at=CLOCK.now() + HOUR))
    return StoredTokenFetcher(storage, "key")


def in_a_file() -> TokenFetcher:
    Path("token").write_text("token")
    return FileTokenFetcher("token", ttl=HOUR)


FETCHERS: dict[str, Callable[[], TokenFetcher]] = {
    "client credentials": lambda: ClientCredentialsFetcher(token_url=URL, client_id="client", client_secret="s3cret"),
    "body": lambda: BodyTokenFetcher("body", URL, ""),
    "header": lambda: HeaderTokenFetcher("header", URL, "", ttl=HOUR),
    "command": lambda: CommandTokenFetcher([sys.executable, "-c", "print('token')"], ttl=HOUR),
    "function": lambda: CallableTokenFetcher(lambda context: Token("token", issued_at=context.now()), ttl=HOUR),
    "undated": lambda: CallableTokenFetcher(lambda: Token("token"), ttl=HOUR),
    "static": lambda: StaticTokenFetcher("token", ttl=HOUR),
    "variable": lambda: EnvTokenFetcher("TOKEN", ttl=HOUR),
    "file": in_a_file,
    "storage": stored,
}


@pytest.mark.parametrize("name", FETCHERS)
@responses.activate
def test_a_token_is_dated_by_the_clock_of_who_asks(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its lifetime begins now by that clock, whatever the system's time is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "token")
    answer = {"access_token": "token", "expires_in": 3600}
    responses.post(URL, json=answer, headers={"Authorization": "Bearer token"})
    token = FETCHERS[name]().fetch(THEN)
    assert (CLOCK.now(), CLOCK.now() + HOUR) == (token.issued_at, token.expires_at)


@responses.activate
def test_a_refresh_token_lasts_by_the_clock_of_who_asks() -> None:
    """It is spent until it has run out by that clock; what is left of it counts from then."""
    fetcher = FETCHERS["client credentials"]()
    responses.post(URL, json={"access_token": "other", "expires_in": 60})
    current = Token("token", issued_at=CLOCK.now() - HOUR, refresh_token="r", extra={"refresh_expires_in": 5400})
    kept = fetcher.refresh(current, THEN)
    assert ("r", 1800) == (kept.refresh_token, kept.extra["refresh_expires_in"])
    fetcher.refresh(replace(current, issued_at=CLOCK.now() - 2 * HOUR), THEN)
    assert ["refresh_token", "client_credentials"] == [_grant(call) for call in responses.calls]


def _grant(call: responses.Call) -> str:
    return dict(pair.split("=") for pair in call.request.body.split("&"))["grant_type"]
