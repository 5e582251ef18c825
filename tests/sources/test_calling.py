"""Asking a source, and judging what it gives or raises."""

import io
import json
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.message import Message

import pytest
import requests

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    FetchContext,
    MalformedResponseError,
    RenewalTimeoutError,
    StorageError,
    Token,
    TokenEndpointError,
    TokenFetcher,
    TokenKitError,
)
from tokenkit._secrecy.causes import as_token_error
from tokenkit._sources.calling import FetcherProvider, checked
from tokenkit.testing import FakeClock

NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)
SENT = requests.Request("POST", "https://idp.test", data="secret")


class Fetcher(TokenFetcher):
    name = "mine"

    def fetch(self, context: FetchContext | None = None) -> Token:
        return Token("fetched")

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        return Token(f"after-{current.access_token}")


class Unsettled(Exception):
    """As of httpx, which raises where no request is known."""

    @property
    def request(self) -> object:
        raise RuntimeError("no request")


def sent(error: TokenKitError) -> TokenKitError:
    """Return *error* as requests leaves it when an authentication handler raised it."""
    error.request = SENT.prepare()
    return error


def raised(fail: Callable[[], object]) -> Exception:
    """Return what *fail* raises."""
    try:
        fail()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


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
        requests.ConnectionError("secret", request=SENT),
        json.JSONDecodeError("bad", "secret", 0),
        subprocess.CalledProcessError(1, ["login", "secret"], output="secret"),
        UnicodeDecodeError("utf-8", b"secret", 0, 1, "bad"),
        urllib.error.HTTPError("https://idp.test", 400, "Bad", Message(), io.BytesIO(b"secret")),
        Unsettled("secret"),
        sent(RenewalTimeoutError("late")),
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


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_a_group_is_not_chained() -> None:
    """What its members keep cannot be told from outside."""
    group = ExceptionGroup("two", [json.JSONDecodeError("bad", "secret", 0)])  # noqa: F821  # not in 3.10
    assert as_token_error(group).__cause__ is None


def test_our_own_error_goes_on_without_the_request() -> None:
    """What another manager's authentication handler raised keeps its facts and its cause, and not what was sent."""
    error = sent(TokenEndpointError("refused", status=400))
    error.__cause__ = ValueError("why")
    told = as_token_error(error)
    assert (TokenEndpointError, "refused", 400, None) == (type(told), str(told), told.status, told.request)
    assert error.__cause__ is told.__cause__


def test_an_error_that_is_its_own_cause() -> None:
    """A chain that bites its tail has an end all the same."""
    error = KeyError("x")
    error.__cause__ = error
    assert error is as_token_error(error).__cause__
    error.__context__ = requests.ConnectionError("secret", request=SENT)
    assert as_token_error(error).__cause__ is None


@pytest.mark.parametrize("outer", [ValueError("order of Alice"), requests.HTTPError("secret", request=SENT)])
def test_what_the_caller_was_handling_is_its_own(outer: Exception) -> None:
    """Python chains it to whatever a source raises; others who wait hear of the source's failure alone."""

    def fail() -> None:
        try:
            raise outer
        except Exception:
            raised(lambda: {}["x"])  # what the source handled itself has no part in it
            raise AuthenticationError("no") from raised(lambda: {}["y"])

    error = raised(fail)
    told = as_token_error(error, outer)
    assert error is told
    assert (KeyError, None, None) == (type(told.__cause__), told.__context__, told.__cause__.__context__)
