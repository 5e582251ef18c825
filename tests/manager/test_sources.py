"""Sources and listeners that misbehave: what a manager makes of them."""

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
import requests
from support.scripted import EVENTS, PATIENCE, STEADY, EventLog, Harness, ask, down, managed, outcomes

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    FetchContext,
    MalformedResponseError,
    RefreshPolicy,
    Token,
    TokenEndpointError,
    TokenFetcher,
    TokenListener,
    TokenManager,
    TokenProvider,
)
from tokenkit.events import TokenEvent
from tokenkit.fetchers import CallableTokenFetcher
from tokenkit.testing import FakeClock

CANARY = "canary-0123456789"


@pytest.mark.parametrize(
    "answer", [lambda *_: None, lambda *_: "token", lambda *_: {"access_token": "x"}, lambda *_: 5]
)
def test_what_is_no_token_is_refused(harness: Harness, answer: Callable[..., object]) -> None:
    """A source that returns something else gives an error that names the type and not the value."""
    harness.source.then(answer)
    with pytest.raises(MalformedResponseError, match=r"scripted gave \w+ instead of a Token"):
        harness.manager.get_token()
    assert "token-2" == harness.manager.get_token(options={"token_renew_synchronous": "1"}).access_token


def test_an_expired_token_is_refused(harness: Harness) -> None:
    """It is never held, and a valid one that is held stays."""
    stale = harness.source.token(99, lifetime=1)
    harness.manager.get_token()
    harness.advance(2)
    harness.source.then(stale)
    with pytest.raises(MalformedResponseError, match="expired"):
        harness.manager.force_refresh()
    assert "token-1" == harness.manager.get_token().access_token


def test_a_source_that_calls_back_is_told_so(harness: Harness) -> None:
    """A fetch that asks its own manager for a token gets a clear RuntimeError at once, and no deadlock."""
    harness.source.then(lambda *_: harness.manager.get_token())
    with pytest.raises(AuthenticationError) as caught:
        harness.manager.get_token()
    assert "called back into the manager" in str(caught.value.__cause__)
    assert RuntimeError is type(caught.value.__cause__)


def test_a_led_source_that_calls_back_is_told_so(make_harness: Callable[..., Harness]) -> None:
    """On a caller's own thread too."""
    harness = make_harness(background=False)
    harness.source.then(lambda *_: harness.manager.force_refresh())
    with pytest.raises(AuthenticationError) as caught:
        harness.manager.get_token()
    assert RuntimeError is type(caught.value.__cause__)


def test_a_source_may_look_at_its_manager(harness: Harness) -> None:
    """What neither waits nor renews works from within a fetch: looking, invalidating, stopping, closing."""

    def meddle(previous: Token | None, context: object) -> Token:
        harness.manager.invalidate_token()
        harness.manager.request_renewal()
        harness.manager.stop()
        harness.manager.close()
        assert harness.manager.current is None
        return harness.source.token(1)

    harness.source.then(meddle)
    outcomes(harness.ask())  # who waited is told at once that the manager is stopped
    harness.landed(1)
    assert "token-1" == harness.manager.current.access_token


def test_two_managers_may_share_a_source_that_nests(harness: Harness) -> None:
    """A source may well ask another manager."""
    with managed(clock=harness.clock) as outer:
        outer.source.then(lambda *_: Token(f"for-{harness.manager.get_token().access_token}"))
        assert "for-token-1" == outer.manager.get_token().access_token


def test_a_listener_that_raises_is_logged_and_ignored(
    make_harness: Callable[..., Harness], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever all its methods raise, tokens come, and the log names the error's type alone."""

    def complain(self: EventLog, event: TokenEvent) -> None:
        raise ValueError(CANARY)

    Sore = type("Sore", (EventLog,), dict.fromkeys(EVENTS, complain))
    harness = make_harness(ears=Sore())
    harness.manager.get_token()
    assert "token-2" == harness.manager.force_refresh().access_token
    harness.parked()
    assert "listener Sore raised ValueError" in caplog.text
    assert CANARY not in caplog.text


def test_no_event_is_told_under_the_lock(make_harness: Callable[..., Harness]) -> None:
    """A listener may call the manager from whatever it hears."""

    class Curious(EventLog):
        def hear(self, event: TokenEvent) -> None:
            self.free.append(not self.manager._engine._lock._is_owned())
            self.manager.is_renewal_required()
            self.manager.request_renewal()

    for name in vars(TokenListener):
        if not name.startswith("_"):
            setattr(Curious, name, Curious.hear)
    ears = Curious()
    ears.free = []
    harness = make_harness(ears=ears, background=False)
    ears.manager = harness.manager
    harness.manager.get_token()
    harness.manager.get_token()
    harness.manager.invalidate_token()
    harness.manager.get_token()
    assert len(ears.free) > 8
    assert all(ears.free)


def test_a_provider_without_a_context_is_called_without(fake_clock: FakeClock) -> None:
    """The context may be left out of either method's signature."""

    class Plain(TokenProvider):
        service_name = "plain"

        def fetch_token(self) -> Token:
            return Token("first")

        def refresh_token(self, current: Token) -> Token:
            return Token(f"after-{current.access_token}")

    with TokenManager(Plain(), clock=fake_clock) as manager:
        assert ("first", "after-first") == (manager.get_token().access_token, manager.force_refresh().access_token)


def test_a_fetcher_will_do(fake_clock: FakeClock) -> None:
    """It is asked with the time left, its ttl is applied, and the manager gives it back."""
    seen = []

    class Fetcher(TokenFetcher):
        name = "mine"
        ttl = timedelta(seconds=100)

        def fetch(self, context: FetchContext | None = None) -> Token:
            seen.append(context.timeout)
            return Token("one")

    fetcher = Fetcher()
    with TokenManager(fetcher, clock=fake_clock, policy=STEADY) as manager:
        assert 100 == manager.get_token().expires_at.timestamp() - fake_clock.time()
        assert ([29.5], fetcher) == (seen, manager.source)


def test_a_fetcher_hears_of_its_failures(fake_clock: FakeClock) -> None:
    """`on_fetch_error` is called once, and what it raises is ignored."""

    class Failing(TokenFetcher):
        name = "failing"

        def __init__(self) -> None:
            self.heard: list[str] = []

        def fetch(self, context: object = None) -> Token:
            raise down("no luck")

        def on_fetch_error(self, error: Exception, context: object = None) -> None:
            self.heard.append(str(error))
            raise ValueError("another")

    source = Failing()
    with TokenManager(source, clock=fake_clock) as manager, pytest.raises(AuthenticationError, match="no luck"):
        manager.get_token()
    assert ["no luck"] == source.heard


class Nameless(TokenProvider):
    service_name = ""

    def fetch_token(self, context: object = None) -> Token:
        return Token("t")


class Dependent(TokenFetcher):
    name = "user"
    depends_on = ("app",)

    def fetch(self, context: object = None) -> Token:
        return Token("t")


class Unnamed(TokenFetcher):
    def fetch(self, context: object = None) -> Token:
        return Token("t")


@pytest.mark.parametrize(
    "arguments",
    [
        {"source": None},
        {"source": "https://idp"},
        {"source": Nameless},
        {"source": Nameless()},
        {"source": Unnamed()},
        {"source": Dependent()},
        {"storage": {}},
        {"policy": 1},
        {"clock": 0},
        {"listeners": [print]},
    ],
    ids=lambda arguments: " ".join(f"{name}={type(value).__name__}" for name, value in arguments.items()),
)
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    """They are configuration errors, and ValueErrors, before anything is fetched."""
    with pytest.raises(ConfigurationError) as caught:
        TokenManager(**{"source": CallableTokenFetcher(lambda: Token("t")), **arguments})
    assert isinstance(caught.value, ValueError)


def spill() -> Exception:
    """Return an error as requests raises it: it keeps the form that was sent."""
    request = requests.Request("POST", "https://idp/token", data={"client_secret": CANARY}).prepare()
    return requests.ConnectionError(f"failed with {CANARY}", request=request)


def spill_json() -> Exception:
    return requests.exceptions.JSONDecodeError("bad", f"<html>{CANARY}", 0)


def spill_chained() -> Exception:
    error = down("wrapped")
    error.__cause__ = spill()
    return error


def chain(error: BaseException | None) -> list[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


@pytest.mark.parametrize("make", [spill, spill_json, spill_chained])
def test_no_secret_is_in_an_errors_chain(
    harness: Harness, make: Callable[[], Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """What keeps a request or a body is never chained, quoted or logged."""
    caplog.set_level(logging.DEBUG)

    def fail(*_: object) -> Token:
        raise make()

    harness.source.then(fail)
    with pytest.raises(AuthenticationError) as caught:
        harness.manager.get_token()
    for one in chain(caught.value):
        assert CANARY not in f"{one!r} {one} {vars(one)}"
        assert not isinstance(one, (requests.ConnectionError, ValueError))
    assert CANARY not in caplog.text


def test_no_secret_is_in_a_repr_or_a_log(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the manager nor its receiver nor its events nor its log shows a token, at any level."""
    caplog.set_level(logging.DEBUG)
    now = harness.source.token(1)
    harness.source.then(Token(CANARY, expires_at=now.expires_at, refresh_token=CANARY))
    receiver = harness.manager.receiver()
    receiver.fetch()
    harness.source.then(TokenEndpointError("no", error="invalid_grant"), down())
    outcomes(ask(harness.manager.force_refresh))
    shown = [
        harness.manager,
        receiver,
        harness.ears.heard,
        harness.manager._engine,
        harness.manager._engine.state.failure,
    ]
    assert CANARY not in f"{shown!r} {caplog.text}"
    assert now.expires_at.isoformat() in repr(harness.manager)


def test_a_broken_wait_for_time_is_no_deadlock(make_harness: Callable[..., Harness]) -> None:
    """A policy of extremes still gives tokens."""
    harness = make_harness(
        policy=RefreshPolicy(refresh_request_timeout=1e-3, initial_retry_timeout=1e-3, max_retry_timeout=1)
    )
    (waiting,) = harness.ask(timeout=PATIENCE)
    assert "token-1" == waiting.result(PATIENCE).access_token


@pytest.mark.parametrize(
    ("source", "said"), [(lambda: "a", "wrap a function"), (CallableTokenFetcher, "make an object of it")]
)
def test_what_is_no_source_is_told_what_to_write(source: object, said: str) -> None:
    """A function and a class are slips that have a remedy."""
    with pytest.raises(ConfigurationError, match=said):
        TokenManager(source)  # type: ignore[arg-type]
