"""Asking a source, and judging what it gives or raises."""

import json
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
import requests

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    FetchContext,
    MalformedResponseError,
    StorageError,
    Token,
    TokenEndpointError,
    TokenFetcher,
)
from tokenkit._asking import FetcherProvider, as_token_error, checked
from tokenkit.testing import FakeClock

NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)


class Fetcher(TokenFetcher):
    name = "mine"

    def fetch(self, context: FetchContext | None = None) -> Token:
        return Token("fetched")

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        return Token(f"after-{current.access_token}")


def test_a_fetcher_seen_as_a_provider() -> None:
    """Its name and its key are the provider's, and a renewal is a refresh."""
    provider = FetcherProvider(Fetcher(), FakeClock())
    assert ("mine", "mine") == (provider.service_name, provider.cache_key)
    assert "fetched" == provider.fetch_token().access_token
    assert "after-fetched" == provider.refresh_token(provider.fetch_token()).access_token


@pytest.mark.parametrize("name", [None, "", 5])
def test_a_fetcher_needs_a_name(name: object) -> None:
    """Without one there is no key for a storage."""
    fetcher = Fetcher()
    fetcher.name = name
    with pytest.raises(ConfigurationError, match="name"):
        FetcherProvider(fetcher, FakeClock())


def test_a_fetcher_with_dependencies_needs_a_pipeline() -> None:
    """Alone it would never see the tokens that it depends on."""
    fetcher = Fetcher()
    fetcher.depends_on = ("app",)
    with pytest.raises(ConfigurationError, match="TokenFetchPipeline"):
        FetcherProvider(fetcher, FakeClock())


@pytest.mark.parametrize("thing", [None, "token", 7, {"access_token": "x"}, Token])
def test_only_a_token_is_a_token(thing: object) -> None:
    """The error names the type alone."""
    with pytest.raises(MalformedResponseError) as caught:
        checked(thing, "mine", NOW)
    assert (f"mine gave {type(thing).__name__} instead of a Token", "mine") == (
        str(caught.value),
        caught.value.step_name,
    )


def test_an_expired_token_is_none() -> None:
    """A token counts up to its expiry and not at it."""
    assert checked(Token("t", expires_at=NOW + timedelta(microseconds=1)), "mine", NOW)
    with pytest.raises(MalformedResponseError, match="expired"):
        checked(Token("t", expires_at=NOW), "mine", NOW)


def test_a_ttl_overrides_an_expiry() -> None:
    """What the fetcher says of the lifetime goes before what its answer says."""
    stale = Token("t", issued_at=NOW, expires_at=NOW)
    assert NOW + timedelta(hours=1) == checked(stale, "mine", NOW, timedelta(hours=1)).expires_at


def test_our_own_error_stays_as_it_is() -> None:
    """An error about the source needs no other in its place."""
    error = AuthenticationError("no", step_name="step")
    assert error is as_token_error(error)


@pytest.mark.parametrize(
    ("error", "said", "transient"),
    [
        (StorageError("disk full"), "disk full", True),
        (ValueError("x=1"), "ValueError", True),
        (ConfigurationError("no endpoint"), "no endpoint", False),
    ],
)
def test_another_error_becomes_one_about_the_source(error: Exception, said: str, transient: bool) -> None:
    """What is ours is quoted, of what is not only the type; it counts as passing, unless an argument is wrong."""
    told = as_token_error(error)
    assert (f"the token source failed: {said}", transient) == (str(told), told.transient)


@pytest.mark.parametrize(("status", "transient"), [(401, False), (429, True), (503, True)])
def test_what_raise_for_status_says_is_a_refusal(status: int, transient: bool) -> None:
    """The status is kept, so that a pipeline heals after a 401, and the answer is not."""
    response = requests.Response()
    response.status_code, response.url = status, "https://idp.example/?secret"
    with pytest.raises(requests.HTTPError) as caught:
        response.raise_for_status()
    told = as_token_error(caught.value)
    assert isinstance(told, TokenEndpointError)
    assert (status, transient, None) == (told.status, told.transient, told.__cause__)
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("secret", request=requests.Request("POST", data="secret")),
        json.JSONDecodeError("bad", "secret", 0),
        subprocess.CalledProcessError(1, ["login", "secret"], output="secret"),
        UnicodeDecodeError("utf-8", b"secret", 0, 1, "bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_keeps_a_secret_is_not_chained(error: Exception) -> None:
    """Such an error is neither the cause nor the context, nor that of an error of ours."""
    told = as_token_error(error)
    assert (None, None) == (told.__cause__, told.__context__)
    wrapped = AuthenticationError("no")
    wrapped.__cause__ = error
    told = as_token_error(wrapped)
    assert (None, None) == (told.__cause__, told.__context__)
