"""What listeners hear of a manager: eight events, each once, with the right word."""

import threading
from collections.abc import Callable

import pytest
from support.scripted import PATIENCE, EventLog, FullEventLog, Harness, ask, down, outcomes

from tokenkit import AuthenticationError
from tokenkit.events import TokenEvent
from tokenkit.storage import InMemoryTokenStorage


def heard(harness: Harness) -> list[str]:
    return [f"{name} {event.result}" for name, event in harness.ears.heard]


def test_a_first_fetch(harness: Harness) -> None:
    """A miss, the source asked, the attempt ended, the token's lifetime."""
    harness.manager.get_token()
    harness.parked()
    assert ["cache_miss absent", "token_acquire success", "token_refresh success", "token_lifetime fetched"] == heard(
        harness
    )
    assert [None, 0, 0, 3600] == [event.seconds for _, event in harness.ears.heard]
    assert [False, True, True, True] == [event.background for _, event in harness.ears.heard]
    assert {"scripted"} == {event.service_name for _, event in harness.ears.heard}


def test_a_failure(harness: Harness) -> None:
    """The source was asked and the attempt ended, both in an error."""
    harness.source.then(down())
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    harness.parked()
    assert ["cache_miss absent", "token_acquire error", "token_refresh error"] == heard(harness)


def test_misses_tell_why(harness: Harness) -> None:
    """No token yet, one that is required anew, one that was given up, one that expired."""
    harness.manager.get_token()
    harness.manager.force_refresh()
    harness.manager.invalidate_token()
    harness.manager.get_token()
    harness.parked()
    harness.source.hang()
    harness.clock.advance(4000)
    outcomes(harness.ask(timeout=0))
    assert ["absent", "renew_required", "absent", "expired"] == harness.ears.results("cache_miss")


def test_hits(make_harness: Callable[..., Harness]) -> None:
    """Each call that needs no waiting is a hit, fresh or due."""
    harness = make_harness(ears=FullEventLog())
    harness.manager.get_token()
    harness.manager.get_token()
    harness.manager.get_token(options={"token_renew_report_error": "1"})
    gate = harness.source.hang()
    harness.parked()
    harness.clock.advance(3300)
    harness.manager.get_token()
    assert gate.reached()
    assert ["fresh", "fresh", "due"] == harness.ears.results("cache_hit")


def test_the_hot_path_tells_only_who_listens(harness: Harness) -> None:
    """A listener that leaves cache_hit alone is not called on the hot path."""
    assert not harness.manager._hears_hits
    harness.manager.get_token()
    assert 100 == len([harness.manager.get_token() for _ in range(100)])
    assert [] == harness.ears.results("cache_hit")


def test_invalidations(harness: Harness) -> None:
    """One that did something is heard; one for a token long gone is not."""
    first = harness.manager.get_token()
    harness.manager.invalidate_token(first)
    harness.manager.invalidate_token(first)
    harness.manager.invalidate_token()
    harness.manager.get_token()
    harness.manager.invalidate_token()
    assert ["rejected", "requested"] == harness.ears.results("cache_invalidate")


def test_a_storage(make_harness: Callable[..., Harness]) -> None:
    """Reading and writing it are heard."""
    storage = InMemoryTokenStorage()
    one, other = make_harness(storage=storage), make_harness(storage=storage)
    one.manager.get_token()
    other.manager.get_token()
    one.parked()
    other.parked()
    assert (["absent"], ["success"]) == (one.ears.results("cache_refresh"), one.ears.results("cache_store"))
    assert (["adopted"], []) == (other.ears.results("cache_refresh"), other.ears.results("cache_store"))
    assert (["fetched"], ["adopted"]) == (one.ears.results("token_lifetime"), other.ears.results("token_lifetime"))


def test_durations_are_measured(harness: Harness) -> None:
    """The seconds of an attempt and of the source are the clock's."""
    gate = harness.source.hang()
    (waiting,) = harness.ask()
    assert gate.reached()
    harness.clock.advance(7)
    gate.release()
    waiting.result(5)
    harness.parked()
    assert {"token_acquire": 7, "token_refresh": 7}.items() <= {
        name: event.seconds for name, event in harness.ears.heard
    }.items()


def test_listeners_hear_while_no_lock_is_held(make_harness: Callable[..., Harness]) -> None:
    """Not the storage's either: one that takes its time keeps no other process waiting."""
    storage, heard = InMemoryTokenStorage(), []

    class Locking(EventLog):
        def cache_refresh(self, event: TokenEvent) -> None:
            with storage.lock("scripted", 0):
                heard.append(event.result)

        token_acquire = cache_store = cache_refresh

    harness = make_harness(storage=storage, ears=Locking())
    harness.manager.get_token()
    harness.manager.close()  # which waits until they have heard
    assert ["absent", "success", "success"] == heard


def test_events_are_frozen() -> None:
    """A listener cannot change what the next one hears."""
    event = TokenEvent("service", "success")
    with pytest.raises(AttributeError):
        event.result = "error"  # type: ignore[misc]


def test_led_attempts_are_not_in_the_background(make_harness: Callable[..., Harness]) -> None:
    """Events tell on which thread they happened."""
    harness = make_harness(background=False)
    outcomes(ask(harness.manager.get_token))
    assert {False} == {event.background for _, event in harness.ears.heard}


def test_a_listener_may_ask_for_a_token(make_harness: Callable[..., Harness]) -> None:
    """All are told after the landing, and so get the token that they hear of."""
    got: list[object] = []

    class Asking(EventLog):
        def token_acquire(self, event: TokenEvent) -> None:
            got.append(harness.manager.get_token().access_token)

        def token_lifetime(self, event: TokenEvent) -> None:
            got.append(harness.manager.get_token().access_token)

    harness = make_harness(ears=Asking(), background=False)
    assert "token-1" == harness.manager.get_token().access_token
    assert ["token-1"] * 2 == got


def test_a_listener_that_blocks_keeps_no_caller_waiting(make_harness: Callable[..., Harness]) -> None:
    """The token has landed before anybody hears of it."""
    let_go = threading.Event()

    class Dawdling(EventLog):
        def token_acquire(self, event: TokenEvent) -> None:
            let_go.wait(PATIENCE)

    harness = make_harness(ears=Dawdling())
    assert "token-1" == harness.manager.get_token(timeout=1).access_token
    assert "token-2" == harness.manager.force_refresh(timeout=1).access_token
    let_go.set()


IN_AN_ATTEMPT = ["token_acquire", "cache_refresh", "cache_store", "token_refresh", "token_lifetime"]


def interrupting(name: str) -> EventLog:
    """Return a listener in whose method of that name Ctrl-C is pressed, once."""
    interrupts = iter([KeyboardInterrupt()])

    def interrupt(event: TokenEvent) -> None:
        for one in interrupts:
            raise one

    ears = EventLog()
    setattr(ears, name, interrupt)
    return ears


@pytest.mark.parametrize("name", IN_AN_ATTEMPT)
def test_an_interrupt_in_a_listener_costs_no_token(make_harness: Callable[..., Harness], name: str) -> None:
    """It reaches the caller who leads, after the token has landed and was stored."""
    storage = InMemoryTokenStorage()
    harness = make_harness(ears=interrupting(name), background=False, storage=storage)
    with pytest.raises(KeyboardInterrupt):
        harness.manager.get_token()
    assert "token-1" == harness.manager.current.access_token == storage.get("scripted").access_token
    assert (harness.manager.current, 1) == (harness.manager.get_token(), harness.source.fetches)


@pytest.mark.parametrize("name", IN_AN_ATTEMPT)
def test_an_interrupt_in_a_listener_costs_no_thread(make_harness: Callable[..., Harness], name: str) -> None:
    """On a worker it is logged: the caller has a token, and the next renewal is on a worker, too."""
    harness = make_harness(ears=interrupting(name), storage=InMemoryTokenStorage())
    assert "token-1" == harness.manager.get_token().access_token
    assert "token-2" == harness.manager.force_refresh().access_token
    assert {"tokenkit-worker"} == {one.thread.name for one in harness.source.asked}


def test_an_interrupt_in_a_listener_of_a_failure_reaches_the_caller(make_harness: Callable[..., Harness]) -> None:
    """The attempt lands as failed, and the caller who leads hears Ctrl-C rather than the failure."""
    harness = make_harness(ears=interrupting("token_acquire"), background=False)
    harness.source.then(down(retry_after=5))
    with pytest.raises(KeyboardInterrupt):
        harness.manager.get_token()
    with pytest.raises(AuthenticationError, match="down"):
        harness.manager.get_token()
