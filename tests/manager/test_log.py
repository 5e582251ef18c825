"""What a manager logs: enough to see why a program has no token, at INFO alone, and never a flood."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from support.scripted import Harness, down, outcomes

from tokenkit import AuthenticationError, TokenEndpointError, TransportError
from tokenkit.events import TokenEvent
from tokenkit.storage import InMemoryTokenStorage

Log = pytest.LogCaptureFixture


@pytest.fixture
def log(caplog: Log) -> Log:
    """What the package logs at INFO and above."""
    caplog.set_level(logging.INFO, "tokenkit")
    return caplog


def said(log: Log) -> list[str]:
    """Return the lines since the last call."""
    lines = [f"{one.levelname} {one.getMessage()}" for one in log.records]
    log.clear()
    return lines


def at(error: AuthenticationError, host: str = "idp.test") -> AuthenticationError:
    error.host = host
    return error


def no_connection() -> AuthenticationError:
    return at(TransportError("no connection to idp.test"))


def wrong_secret() -> AuthenticationError:
    return at(TokenEndpointError("the endpoint refused with status 401", status=401, error="invalid_client"))


def test_a_log_at_info_tells_what_is_wrong(harness: Harness, log: Log) -> None:
    """An outage ahead of expiry, a wrong secret and a loop of 401s are three stories."""
    harness.manager.get_token()
    harness.parked()
    assert ["INFO the first token of scripted was fetched in 0 s, good for 3590 s"] == said(log)

    harness.source.always = no_connection()
    harness.advance(3000)
    (outage,) = said(log)
    assert "WARNING a renewal of scripted at idp.test failed (TransportError): no connection to idp.test" in outage
    assert "the token held is good for 590 s; the next try is in" in outage

    harness.source.always = None
    harness.live(400)
    (recovered,) = said(log)
    assert "INFO renewals of scripted work again after 1 that failed" in recovered

    harness.source.always = wrong_secret()
    harness.manager.invalidate_token()
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    harness.parked()
    (refused,) = said(log)
    assert "(TokenEndpointError, 401, invalid_client)" in refused
    assert "there is no usable token; the next try is in 60 s" in refused

    harness.source.always = None
    harness.advance(61)
    token = harness.manager.get_token()
    harness.parked()
    said(log)
    for _ in range(50):
        token = harness.manager.renew_rejected(token) or token
    assert [
        "a resource rejects the new token of scripted; no renewal is made for that in the next 1 s [token-rejected]"
    ] == [line.removeprefix("WARNING ") for line in said(log)]


def test_an_outage_is_told_at_once_and_then_once_a_minute(make_harness: Callable[..., Harness], log: Log) -> None:
    """However often it is tried."""
    harness = make_harness(background=False)
    harness.source.always = down()
    for _ in range(40):
        with pytest.raises(AuthenticationError):
            harness.manager.get_token(options={"token_renew_synchronous": "1"})
        harness.clock.advance(5)
    assert harness.source.fetches == 40
    assert 4 == len(said(log))


def test_a_token_that_is_renewed_is_no_news(harness: Harness, log: Log) -> None:
    """All is well, for debugging alone."""
    harness.manager.get_token()
    harness.live(10000)
    assert 1 == len(said(log))


def test_an_adopted_first_token_is_told(make_harness: Callable[..., Harness], log: Log) -> None:
    """And that another process has stored it."""
    storage = InMemoryTokenStorage()
    make_harness(storage=storage, background=False).manager.get_token()
    said(log)
    make_harness(storage=storage, background=False).manager.get_token()
    (line,) = said(log)
    assert "the first token of scripted was adopted from the storage" in line


class Frail(InMemoryTokenStorage):  # type: ignore[misc]  # final
    """A storage that fails while it is told to."""

    fails = False

    def get(self, key: str) -> Any:
        if self.fails:
            raise OSError("not shown")
        return super().get(key)

    def replace(self, *arguments: Any) -> bool:
        if self.fails:
            raise OSError("not shown")
        return super().replace(*arguments)


def test_a_storage_that_fails_and_works_again_is_told_once_each(make_harness: Callable[..., Harness], log: Log) -> None:
    """However many operations fail."""
    storage = Frail()
    manager = make_harness(storage=storage, background=False).manager
    manager.get_token()
    said(log)
    for storage.fails in (True, True, True, False, False):
        manager.force_refresh()
    assert ["the token storage failed", "the token storage works"] == [
        line[8:32] if "is done without" in line else line[8:31] for line in said(log)
    ]


def test_a_storage_that_cannot_be_written_does_not_work_again(make_harness: Callable[..., Harness], log: Log) -> None:
    """That it can be read is no sign of it."""

    class Full(Frail):
        def get(self, key: str) -> Any:
            return InMemoryTokenStorage.get(self, key)

    storage = Full()
    manager = make_harness(storage=storage, background=False).manager
    storage.fails = True
    for _ in range(4):
        manager.force_refresh()
    assert 1 == len([line for line in said(log) if "storage" in line and "WARNING" in line])


def heard(harness: Harness, name: str) -> list[TokenEvent]:
    return [event for one, event in harness.ears.heard if one == name]


def test_events_tell_why_a_token_was_wanted(harness: Harness) -> None:
    """In one word."""
    harness.manager.get_token()
    harness.advance(3200)
    harness.manager.force_refresh()
    harness.manager.renew_rejected(harness.manager.current, was_accepted=True)
    harness.manager.invalidate_token()
    token = harness.manager.get_token()
    harness.parked()
    harness.manager.request_renewal()
    harness.landed(6)
    assert token is not harness.manager.current
    reasons = ["first", "due", "forced", "rejected", "requested", "requested"]
    for name in ("token_acquire", "token_refresh", "token_lifetime"):
        harness.ears.wait_for(name, 6)
        assert reasons == [event.reason for event in heard(harness, name)]
    assert ["first", "forced", "rejected", "requested"] == [event.reason for event in heard(harness, "cache_miss")]


def test_an_expired_token_is_a_reason(make_harness: Callable[..., Harness]) -> None:
    """Where nobody has renewed it in time."""
    harness = make_harness(background=False)
    harness.manager.get_token()
    harness.clock.advance(4000)
    harness.manager.get_token()
    assert ["first", "expired"] == [event.reason for event in heard(harness, "token_refresh")]


def test_an_adopted_token_says_so(make_harness: Callable[..., Harness]) -> None:
    """Another process had stored it."""
    storage = InMemoryTokenStorage()
    make_harness(storage=storage, background=False).manager.get_token()
    harness = make_harness(storage=storage, background=False)
    harness.manager.get_token()
    (event,) = heard(harness, "token_lifetime")
    assert ("adopted", "adopted") == (event.result, event.reason)


def test_a_failure_has_its_facts(make_harness: Callable[..., Harness]) -> None:
    """Class, status, code, host, whether it passes, and when the next try may be; never its text."""
    harness = make_harness(background=False)
    harness.source.always = wrong_secret()
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    (event,) = heard(harness, "token_refresh")
    facts = event.failure
    assert ("TokenEndpointError", 401, "invalid_client") == (facts.kind, facts.status, facts.error)
    assert ("idp.test", False, 60) == (facts.host, facts.transient, facts.retry_in)
    (event,) = heard(harness, "token_acquire")
    assert "TokenEndpointError" == event.failure.kind
    assert event.failure.retry_in is None


def test_a_storages_failure_has_its_class(make_harness: Callable[..., Harness]) -> None:
    """And nothing else of it."""
    storage = Frail()
    storage.fails = True
    harness = make_harness(storage=storage, background=False)
    harness.manager.get_token()
    assert {"OSError"} == {event.failure.kind for event in heard(harness, "cache_store")}
    assert {None} == {event.failure for event in heard(harness, "token_refresh")}


def test_a_renewal_does_not_wait_for_the_lock_of_all_logging(make_harness: Callable[..., Harness]) -> None:
    """It knows its levels since the manager was made: a worker that a program's end stops does not hold that lock."""
    logger = logging.getLogger("tokenkit.manager")
    logger.setLevel(logger.level)  # as after a change of any level, when all are to be found out anew
    harness = make_harness()
    with logging._lock:  # type: ignore[attr-defined]  # it has no public name
        outcomes(harness.ask())
        harness.parked()
