"""Where no thread is to be had a caller fetches: no manager depends on its thread to make progress."""

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from support.scripted import PATIENCE, Harness, ask, down, managed, outcomes
from support.steps import WatchedStorage

from tokenkit import AuthenticationError, FetchOptions, RenewalTimeoutError
from tokenkit.clock import SystemClock
from tokenkit.storage import InMemoryTokenStorage


@contextmanager
def interrupted_in(function: str) -> Iterator[None]:
    """Raise KeyboardInterrupt at the next call of that function of the engine's, as a signal may at any call."""
    parts = ("_engine.py", "_schedule.py", "_attempts.py", "_state.py", "_condition.py")

    def trace(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == function and Path(frame.f_code.co_filename).name in parts:
            sys.settrace(None)
            raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        sys.settrace(before)


@pytest.fixture
def led(make_harness: Callable[..., Harness]) -> Harness:
    """A manager that may not have a thread."""
    return make_harness(background=False)


def test_a_caller_leads(led: Harness) -> None:
    """Without a background the source runs on the caller's thread, and there is no other."""
    before = set(threading.enumerate())
    assert "token-1" == led.manager.get_token().access_token
    assert threading.current_thread() == led.source.asked[0].thread
    assert set() == set(threading.enumerate()) - before


def test_others_wait_for_the_leader(led: Harness) -> None:
    """One of fifty callers fetches, and all have its token."""
    gate = led.source.hang()
    futures = led.ask(50)
    led.parked(49)
    gate.release()
    assert ({"token-1"}, 1) == ({token.access_token for token in outcomes(futures)}, led.source.fetches)


def test_closing_waits_for_a_leader(make_harness: Callable[..., Harness]) -> None:
    """What it brings is still stored and held; only then are the source and the storage closed."""
    storage = InMemoryTokenStorage()
    harness = make_harness(background=False, storage=storage)
    gate = harness.source.hang()
    (leader,) = harness.ask()
    assert gate.reached()
    (closing,) = ask(harness.manager.close)
    harness.parked()
    assert (False, 0) == (closing.done(), harness.source.closed)
    gate.release()
    closing.result(PATIENCE)
    assert ("token-1", 1) == (storage.get("scripted").access_token, harness.source.closed)
    assert leader.exception(PATIENCE) is None


def test_closing_waits_for_a_leader_no_longer_than_its_grace(led: Harness) -> None:
    """A source that hangs does not keep the program."""
    gate = led.source.hang()
    led.ask()
    assert gate.reached()
    (closing,) = ask(lambda: led.manager.close(grace=5))
    led.parked()
    led.clock.advance(5)
    closing.result(PATIENCE)
    assert 1 == led.source.closed


def test_a_source_that_closes_its_manager_does_not_wait_for_itself(led: Harness) -> None:
    """Its own attempt is not one to wait for."""
    led.source.then(lambda *_: led.manager.close() or led.source.token())
    assert "token-1" == led.manager.get_token().access_token


def test_others_share_the_leaders_failure(led: Harness) -> None:
    """They raise it without asking for themselves."""
    gate = led.source.hang()
    futures = led.ask(50)
    led.parked(49)
    gate.release(down())
    assert {AuthenticationError} == {type(error) for error in outcomes(futures)}
    assert 1 == led.source.fetches


def test_those_who_wait_for_a_leader_keep_their_limits(led: Harness) -> None:
    """Only the leader's time depends on the source."""
    gate = led.source.hang()
    leader = led.ask()
    assert gate.reached()
    (waiting,) = led.ask(timeout=1)
    led.parked()
    led.clock.advance(1)
    assert isinstance(waiting.exception(PATIENCE), RenewalTimeoutError)
    gate.release()
    assert "token-1" == leader[0].result(PATIENCE).access_token


def test_a_leader_that_hangs_is_superseded(led: Harness) -> None:
    """Another caller leads the next attempt."""
    gate = led.source.hang()
    stuck = led.ask()
    assert gate.reached()
    (waiting,) = led.ask(timeout=100)
    led.parked()
    led.clock.advance(30)
    assert "token-2" == waiting.result(PATIENCE).access_token
    gate.release(down())
    assert "token-2" == stuck[0].result(PATIENCE).access_token


def test_a_leader_without_time_does_not_lead(led: Harness) -> None:
    """A time limit of zero never runs the source."""
    with pytest.raises(RenewalTimeoutError):
        led.manager.get_token(timeout=0)
    assert 0 == led.source.fetches
    assert "token-1" == led.manager.get_token(timeout=1).access_token


def test_a_leader_gives_the_source_no_more_time_than_it_has(led: Harness) -> None:
    """A source that keeps to its context lets the caller keep to its limit."""
    led.manager.get_token(timeout=2)
    assert [2] == [one.timeout for one in led.source.asked]


def test_a_leaders_short_time_is_nobody_elses_failure(led: Harness) -> None:
    """Who waited for an attempt that its leader's limit cut short leads another; there is no back-off."""
    gate = led.source.hang()
    hasty = led.ask(timeout=1)
    assert gate.reached()
    (patient,) = led.ask()
    led.parked()
    led.clock.advance(1)
    gate.release(down("timed out"))
    assert "token-2" == patient.result(PATIENCE).access_token
    assert isinstance(hasty[0].exception(PATIENCE), (RenewalTimeoutError, type(None)))


def test_a_leader_whose_time_is_over_leaves_no_attempt_behind(led: Harness) -> None:
    """What it might skip, a back-off, the next caller may not: that one fails at once with the last cause."""
    led.source.then(down("first", retry_after=5))
    with pytest.raises(AuthenticationError, match="first"):
        led.manager.get_token()
    gate = led.source.hang()
    (hasty,) = led.ask(timeout=1, options=FetchOptions(renew_required=True, renew_synchronous=True))
    assert gate.reached()
    led.clock.advance(1)
    gate.release(down("second"))
    assert isinstance(hasty.exception(PATIENCE), AuthenticationError)
    with pytest.raises(AuthenticationError, match="first"):
        led.manager.get_token(timeout=1)
    assert 2 == led.source.fetches


def test_a_due_token_is_served_and_then_led(led: Harness) -> None:
    """Without a thread nothing happens behind the callers: the token is used to its end, then one fetches."""
    led.manager.get_token()
    led.clock.advance(3500)
    assert "token-1" == led.manager.get_token().access_token
    led.clock.advance(100)
    assert "token-2" == led.manager.get_token().access_token


def test_the_back_off_holds_for_leaders(led: Harness) -> None:
    """They fail fast as well."""
    led.source.then(down(retry_after=5))
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            led.manager.get_token()
    assert 1 == led.source.fetches
    led.clock.advance(5)
    assert "token-2" == led.manager.get_token().access_token


def no_thread(error: BaseException) -> Callable[[threading.Thread], None]:
    """Return what refuses to start a thread with *error*."""

    def refuse(self: threading.Thread) -> None:
        raise error

    return refuse


def test_a_start_that_is_interrupted_is_made_up_for(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears of it, and the next renewal is on a thread again."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            harness.manager.get_token()
    assert "token-1" == harness.manager.get_token().access_token
    assert "token-2" == harness.manager.force_refresh().access_token
    assert threading.current_thread() is not harness.source.asked[1].thread


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), PermissionError("no")])
def test_a_caller_leads_where_no_thread_starts(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A system that gives no more threads, for whatever reason, costs no caller its token."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread(error))
        assert "token-1" == harness.manager.get_token().access_token
    assert threading.current_thread() is harness.source.asked[0].thread
    harness.manager.force_refresh()
    assert "tokenkit-worker" == harness.source.asked[1].thread.name


def test_a_caller_leads_where_no_worker_starts(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refresh thread runs, and is refused a worker: that is told at once, and made up for at the next chance."""
    harness.manager.get_token()
    harness.parked()
    harness.manager.invalidate_token()
    busy = harness.source.hang()  # keeps the one worker
    (first,) = harness.ask()
    assert busy.reached()
    other = managed(clock=harness.clock)
    with other as another, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread(MemoryError()))
        assert "token-1" == another.manager.get_token().access_token
        assert threading.current_thread() is another.source.asked[0].thread
    busy.release()
    assert "token-2" == first.result(PATIENCE).access_token


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), PermissionError("no")])
def test_a_valid_token_beats_what_keeps_a_thread_from_starting(
    led_then_due: Harness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Who holds a due token hears nothing of it, and a thread is asked for again at the next call."""
    harness = led_then_due
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread(error))
        assert "token-1" == harness.manager.get_token().access_token
    assert "token-1" == harness.manager.get_token().access_token
    harness.source.wait_for(2)
    assert "tokenkit-worker" == harness.source.asked[1].thread.name


@pytest.fixture
def led_then_due(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Harness:
    """A manager without a thread so far, whose token is due."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread(RuntimeError()))
        harness.manager.get_token()
    harness.clock.advance(3300)
    return harness


def test_a_caller_leads_while_the_interpreter_shuts_down(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread is started then."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "is_finalizing", lambda: True)
        assert "token-1" == harness.manager.get_token().access_token
    assert threading.current_thread() is harness.source.asked[0].thread


def test_a_caller_takes_over_from_a_thread_frozen_by_the_shutdown(
    make_harness: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A daemon thread never runs again then: nobody waits for its fetch, or for the storage's lock that it holds."""
    harness = make_harness(storage=InMemoryTokenStorage())
    gate = harness.source.hang()
    harness.manager.request_renewal()
    assert gate.reached()
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    assert ("token-2", []) == (harness.manager.get_token(timeout=1).access_token, caplog.messages)
    assert threading.current_thread() is harness.source.asked[1].thread


def starve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have threads start and never run, as under uWSGI without --enable-threads."""
    monkeypatch.setattr("tokenkit._refresh_thread.RefreshThread.runs", lambda _: True)


def test_a_caller_takes_over_what_a_frozen_thread_was_offered(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that it has not begun yet is not waited for either."""
    with monkeypatch.context() as patch:
        starve(patch)
        harness.manager.request_renewal()
        monkeypatch.setattr(sys, "is_finalizing", lambda: True)
        assert "token-1" == harness.manager.get_token(timeout=1).access_token


def test_a_caller_leads_where_the_thread_starves(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that no thread has begun within a second is led by one of those who wait for it."""
    starve(monkeypatch)
    futures = ask(harness.manager.force_refresh, 5)
    harness.parked(5)
    harness.clock.advance(0.999)
    harness.parked(5)
    assert 0 == harness.source.fetches
    harness.clock.advance(0.001)
    assert {"token-1"} == {token.access_token for token in outcomes(futures)}
    assert "caller" == harness.source.asked[0].thread.name


def test_a_starving_thread_matters_not_to_a_due_token(led_then_due: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is served while it may be, and its renewal is led once it has expired."""
    harness = led_then_due
    starve(monkeypatch)
    assert "token-1" == harness.manager.get_token().access_token
    harness.clock.advance(300)
    (waiting,) = harness.ask()
    harness.parked()
    harness.clock.advance(1)
    assert ("token-2", 2) == (waiting.result(PATIENCE).access_token, harness.source.fetches)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_leader_lands_its_attempt(led: Harness, interrupt: type[BaseException]) -> None:
    """Ctrl-C in a led fetch is the leader's alone: without a back-off another leads the next attempt."""
    gate = led.source.hang()
    leader = led.ask()
    assert gate.reached()
    others = led.ask(5)
    led.parked(5)
    gate.release(interrupt())
    assert interrupt is type(leader[0].exception(PATIENCE))
    assert {"token-2"} == {token.access_token for token in outcomes(others)}


def test_an_interrupt_while_a_token_is_stored_loses_no_refresh_token(make_harness: Callable[..., Harness]) -> None:
    """The new one is held although the storage has the spent one, and is the next to be spent."""
    storage = WatchedStorage()
    harness = make_harness(storage=storage, background=False)
    harness.source.rotates = True
    harness.manager.get_token()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    storage.before["replace"] = interrupt
    harness.clock.advance(1)
    with pytest.raises(KeyboardInterrupt):
        harness.manager.force_refresh()
    del storage.before["replace"]
    assert "token-2" == harness.manager.get_token().access_token
    harness.clock.advance(1)
    harness.manager.force_refresh()
    assert ["refresh-1", "refresh-2"] == [one.previous.refresh_token for one in harness.source.asked[1:]]


def test_what_a_leader_was_handling_is_its_own_affair(led: Harness) -> None:
    """It is in nobody else's traceback, although Python chains it to what the source raises."""
    led.source.then(down("no answer"), down("no answer"))
    try:
        raise ValueError("of the leader")
    except ValueError:
        with pytest.raises(AuthenticationError):
            led.manager.get_token()
    with pytest.raises(AuthenticationError) as caught:
        led.manager.get_token()
    shown = "".join(traceback.format_exception(caught.value))
    assert ("no answer" in shown, "of the leader" in shown) == (True, False)


@pytest.mark.parametrize(
    "function", ["is_mine", "_settle", "_land", "land", "end", "judged", "publish", "notify_all", "_announce"]
)
def test_an_attempt_interrupted_while_it_lands_lands(led: Harness, function: str) -> None:
    """Its token is held, and the leader is not taken for a source that calls back."""
    with interrupted_in(function):
        led.manager.get_token()
    assert ("token-1", "token-2") == (led.manager.get_token().access_token, led.manager.force_refresh().access_token)


@pytest.mark.parametrize("function", ["_offer", "offer", "_wait", "_run", "may_start", "_fetch"])
def test_a_caller_interrupted_elsewhere_leaves_a_manager_that_works(led: Harness, function: str) -> None:
    """Whatever it was about to do, the next caller does."""
    with interrupted_in(function):
        led.manager.get_token()
    led.clock.advance(60)
    assert "token-" in led.manager.force_refresh().access_token


@pytest.mark.parametrize("function", ["_offer", "_wait"])
def test_an_interrupt_before_the_thread_is_told_is_made_up_for(harness: Harness, function: str) -> None:
    """The next renewal is on a thread."""
    with interrupted_in(function):
        harness.manager.get_token()
    harness.manager.get_token(timeout=0.5)
    assert "tokenkit-worker" == harness.source.asked[0].thread.name


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_on_the_thread_ends_the_attempt_alone(harness: Harness, interrupt: type[BaseException]) -> None:
    """What falls into a worker is nobody's failure and raises no back-off; the thread lives on."""
    harness.source.then(interrupt())
    assert "token-2" == harness.manager.get_token().access_token
    assert harness.source.asked[0].thread.is_alive()


def test_a_source_that_always_breaks_off_is_not_asked_in_a_loop(harness: Harness) -> None:
    """The second time in a row is a failure like any other."""
    harness.source.always = SystemExit()
    with pytest.raises(AuthenticationError, match="SystemExit"):
        harness.manager.get_token()
    assert 2 == harness.source.fetches


def test_a_real_clock_leads_too(make_harness: Callable[..., Harness]) -> None:
    """On the system's clock, sixteen threads without a background have one fetch between them."""
    harness = make_harness(background=False, clock=SystemClock())
    assert {"token-1"} == {token.access_token for token in outcomes(ask(harness.manager.get_token, 16))}
    assert 1 == harness.source.fetches
