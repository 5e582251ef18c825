"""A token's life in a manager: fresh, due, expired; and what asks for another."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from support.scripted import FullEventLog, Harness, down

from tokenkit import AuthenticationError, RefreshPolicy, Token, TokenManager
from tokenkit.clock import Clock
from tokenkit.fetchers import StaticTokenFetcher
from tokenkit.options import FetchOptions
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock

HOUR = 3600.0


def renewal_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "tokenkit-worker"}


def test_nothing_happens_before_the_first_use(harness: Harness) -> None:
    """A constructor fetches nothing and starts no thread, and looking at the manager does not either."""
    before = renewal_threads()
    assert (None, True, harness.source) == (
        harness.manager.current,
        harness.manager.is_renewal_required(),
        harness.manager.source,
    )
    assert (0, set()) == (harness.source.fetches, renewal_threads() - before)


def test_a_fresh_token_is_reused(harness: Harness) -> None:
    """The first call fetches, and later ones get the same token object."""
    first = harness.manager.get_token()
    assert all(harness.manager.get_token() is first for _ in range(100))
    assert ("token-1", 1, False) == (first.access_token, harness.source.fetches, harness.manager.is_renewal_required())


def test_the_hot_path_takes_no_lock(harness: Harness) -> None:
    """A call with a fresh token returns although another thread keeps the lock."""
    first = harness.manager.get_token()
    harness.parked()
    with harness.manager._engine._lock:
        assert first is harness.manager.get_token() is harness.manager.current


def test_the_source_runs_on_the_managers_daemon_thread(harness: Harness) -> None:
    """A caller's thread never runs the source where the manager has a thread of its own."""
    harness.manager.get_token()
    thread = harness.source.asked[0].thread
    assert ("tokenkit-worker", True) == (thread.name, thread.daemon)


def test_a_token_is_due_at_its_safe_fraction(harness: Harness) -> None:
    """The thread renews at eight tenths of the lifetime, with no caller around, and not before."""
    harness.manager.get_token()
    harness.advance(0.8 * HOUR - 0.001)
    assert 1 == harness.source.fetches
    harness.advance(0.001)
    assert (2, "token-2") == (harness.source.fetches, harness.manager.current.access_token)


def test_a_due_token_is_handed_out_while_it_is_renewed(harness: Harness) -> None:
    """Callers get the due token at once, however long its renewal takes, and the new one after that."""
    first = harness.manager.get_token()
    gate = harness.source.hang()
    harness.parked()
    harness.clock.advance(0.95 * HOUR)
    assert [first] * 20 == [harness.manager.get_token() for _ in range(20)]
    assert gate.reached()
    gate.release()
    harness.parked()
    assert ("token-2", 2) == (harness.manager.get_token().access_token, harness.source.fetches)


def test_eight_threads_never_wait_for_a_due_token(make_harness: Callable[..., Harness]) -> None:
    """With a due token and a slow source no call waits: every one is heard as a hit."""
    harness = make_harness(ears=FullEventLog())
    first = harness.manager.get_token()
    harness.ears.clear()
    gate = harness.source.hang()
    harness.parked()
    harness.clock.advance(0.95 * HOUR)
    futures = [one for _ in range(10) for one in harness.ask(8)]
    assert {first} == {future.result(5) for future in futures}
    assert gate.reached()
    assert ([], {"due"}, 80) == (
        harness.ears.results("cache_miss"),
        set(harness.ears.results("cache_hit")),
        len(harness.ears.results("cache_hit")),
    )


def test_a_source_may_ask_for_the_token_that_it_replaces(harness: Harness) -> None:
    """It gets the current one while that is good, due or not; where it would wait for itself it is told so."""
    got: list[object] = []

    def ask_back(*_: object) -> Token:
        got.append(harness.manager.get_token().access_token)
        return harness.source.token(9)

    harness.manager.get_token()
    harness.source.then(ask_back)
    harness.advance(0.95 * HOUR)
    assert (["token-1"], "token-9") == (got, harness.manager.get_token().access_token)


def test_an_expired_token_is_never_handed_out(harness: Harness) -> None:
    """Within the expiry margin the token no longer counts: callers wait for the next one."""
    harness.manager.get_token()
    gate = harness.source.hang()
    harness.parked()
    harness.clock.advance(HOUR - 10)
    (waiting,) = harness.ask()
    assert gate.reached()
    harness.parked()
    assert (False, True) == (waiting.done(), harness.manager.is_renewal_required())
    gate.release()
    assert "token-2" == waiting.result(5).access_token


@pytest.mark.parametrize("lifetime", [2, 5, 30, 600])
def test_margins_scale_with_the_lifetime(make_harness: Callable[..., Harness], lifetime: float) -> None:
    """Whatever its lifetime, a token is reused, renewed before it expires, and never fetched in a loop."""
    harness = make_harness(lifetime=lifetime, policy=RefreshPolicy())
    harness.manager.get_token()
    served: list[Token] = []
    harness.live(20 * lifetime, lambda: served.append(harness.manager.get_token(0)))
    assert 20 < harness.source.fetches < 30
    assert len(served) >= harness.source.fetches - 1


def test_a_five_second_token_is_reused(make_harness: Callable[..., Harness]) -> None:
    """Calls in its first three seconds share one fetch."""
    harness = make_harness(lifetime=5)
    for _ in range(30):
        harness.manager.get_token()
        harness.advance(0.1)
    assert 1 == harness.source.fetches


def test_a_token_without_an_expiry_is_never_due(make_harness: Callable[..., Harness]) -> None:
    """What never expires is fetched once."""
    harness = make_harness(lifetime=None)
    harness.manager.get_token()
    for _ in range(5):
        harness.advance(30 * 86400)
    assert (1, "token-1") == (harness.source.fetches, harness.manager.get_token().access_token)


def test_an_almost_expired_token_is_not_fetched_in_a_loop(harness: Harness) -> None:
    """A source with a cache of its own that gives the same dying token is asked about once a second."""
    dying = harness.source.token(0, lifetime=10)
    harness.source.always = dying
    assert dying == harness.manager.get_token()
    harness.live(9, harness.manager.get_token)
    assert harness.source.fetches <= 15


def test_a_token_is_not_served_past_its_expiry(make_harness: Callable[..., Harness]) -> None:
    """An old token that came with half a second to live is given up within it, whatever the policy's intervals."""
    harness = make_harness(policy=RefreshPolicy(jitter=0, min_renewal_interval=60))
    dying = harness.source.token(1, lifetime=HOUR)
    harness.clock.advance(HOUR - 0.5)
    harness.source.then(dying)
    assert dying is harness.manager.get_token()
    harness.advance(0.5)
    assert "token-2" == harness.manager.get_token().access_token


def test_force_refresh_returns_another_token(harness: Harness) -> None:
    """A fresh token does not count, and the new one takes its place for all."""
    harness.manager.get_token()
    assert "token-2" == harness.manager.force_refresh().access_token == harness.manager.get_token().access_token


def test_the_bare_text_for_clients_that_take_a_function(harness: Harness) -> None:
    """The method itself is what they call, for the token held or for another one."""
    give = harness.manager.access_token
    assert ["token-1", "token-1", "token-2"] == [give(), give(), give(force_refresh=True)]


def test_a_requested_renewal_goes_on_behind_the_caller(harness: Harness) -> None:
    """The request returns at once, the current token is served meanwhile, and one renewal follows."""
    harness.manager.get_token()
    gate = harness.source.hang()
    harness.manager.request_renewal()
    harness.manager.request_renewal()
    assert gate.reached()
    assert ("token-1", True) == (harness.manager.get_token().access_token, harness.manager.is_renewal_required())
    gate.release()
    harness.parked()
    assert ("token-2", False, 2) == (
        harness.manager.get_token().access_token,
        harness.manager.is_renewal_required(),
        harness.source.fetches,
    )


def test_a_request_may_come_first(harness: Harness) -> None:
    """A program may have its token fetched before it needs one."""
    harness.manager.request_renewal()
    harness.source.wait_for(1)
    harness.parked()
    assert ("token-1", "token-1") == (harness.manager.current.access_token, harness.manager.get_token(0).access_token)


def test_a_request_in_the_back_off_has_a_thread(
    make_harness: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there was none so far, as after a fork, it is started: the renewal comes when the back-off is over."""
    harness = make_harness()

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    harness.source.then(down(retry_after=5))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(AuthenticationError):
            harness.manager.get_token()
    harness.manager.request_renewal()
    harness.advance(5)
    assert ("token-2", 2) == (harness.manager.current.access_token, harness.source.fetches)


def test_a_request_that_invalidates_makes_callers_wait(harness: Harness) -> None:
    """After it the old token is no longer handed out."""
    harness.manager.get_token()
    gate = harness.source.hang()
    harness.manager.request_renewal(invalidate=True)
    assert gate.reached()
    assert harness.manager.current is None
    (waiting,) = harness.ask()
    gate.release()
    assert "token-2" == waiting.result(5).access_token


def test_invalidation_concerns_the_very_token(harness: Harness) -> None:
    """A rejected token that is no longer the current one costs nothing."""
    first = harness.manager.get_token()
    harness.manager.invalidate_token(first)
    second = harness.manager.get_token()
    harness.manager.invalidate_token(first)
    assert (second, 2) == (harness.manager.get_token(), harness.source.fetches)
    harness.manager.invalidate_token()
    assert ("token-3", 3) == (harness.manager.get_token().access_token, harness.source.fetches)


def test_the_token_held_last_is_what_a_refresh_spends(harness: Harness) -> None:
    """A renewal goes to the provider with the previous token, an invalidated one too; a first fetch with none."""
    first = harness.manager.get_token()
    harness.manager.invalidate_token()
    harness.manager.get_token()
    assert [None, first] == [one.previous for one in harness.source.asked]


def test_current_is_what_is_held_expired_or_not(make_harness: Callable[..., Harness]) -> None:
    """Looking costs no I/O, and an expired token is still shown."""
    harness = make_harness(background=False)
    first = harness.manager.get_token()
    harness.clock.advance(2 * HOUR)
    assert (first, 1, True) == (harness.manager.current, harness.source.fetches, harness.manager.is_renewal_required())


@pytest.mark.parametrize("step", [-HOUR, 300.0])
def test_a_step_of_the_wall_clock_changes_nothing(harness: Harness, step: float) -> None:
    """Deadlines in the process are not on the wall: the token is due when its lifetime is nearly over."""
    harness.manager.get_token()
    harness.parked()
    harness.clock.step_wall(step)
    harness.advance(0.8 * HOUR - 1)
    assert (1, "token-1") == (harness.source.fetches, harness.manager.get_token().access_token)
    harness.advance(1)
    assert 2 == harness.source.fetches
    harness.advance(0.5 * HOUR)
    assert (2, "token-2") == (harness.source.fetches, harness.manager.get_token().access_token)


def test_a_restored_machine_renews_within_a_minute(harness: Harness) -> None:
    """Where the wall clock has passed the expiry while the other one stood still the token is due, and still served."""
    harness.manager.get_token()
    harness.parked()
    harness.clock.step_wall(2 * HOUR)
    assert "token-1" == harness.manager.get_token(0).access_token
    harness.advance(60)
    assert ("token-2", 2) == (harness.manager.get_token(0).access_token, harness.source.fetches)
    harness.live(0.5 * HOUR)
    assert 2 == harness.source.fetches


def test_a_clock_that_is_stepped_back_costs_one_fetch(make_harness: Callable[..., Harness]) -> None:
    """What one process stores then is adopted by the others, older though it says it is."""
    storage, clock = InMemoryTokenStorage(), FakeClock()
    fleet = [make_harness(storage=storage, clock=clock, background=False) for _ in range(3)]
    fetched = []
    for step in (0, -2 * HOUR, 0, 0):
        clock.step_wall(step)
        before = sum(one.source.fetches for one in fleet)
        for one in fleet:
            one.manager.get_token()
        fetched.append(sum(one.source.fetches for one in fleet) - before)
        clock.advance(HOUR)
    assert [1, 1, 1, 1] == fetched


def test_what_a_storage_had_before_is_not_taken_for_the_next(make_harness: Callable[..., Harness]) -> None:
    """A failover or a backup brings back a token that lives on; without a step of the clock it is the older one."""
    storage = InMemoryTokenStorage()
    harness = make_harness(storage=storage, background=False)
    before = replace(harness.manager.get_token(), expires_at=harness.clock.now() + timedelta(hours=9))
    harness.clock.advance(HOUR)
    harness.manager.get_token()
    storage.set("scripted", before)
    harness.clock.advance(HOUR)
    assert "token-3" == harness.manager.get_token().access_token


@pytest.mark.parametrize("lifetime", [0.02, 0.5])
def test_a_token_of_no_time_is_no_siege(make_harness: Callable[..., Harness], lifetime: float) -> None:
    """Ahead of callers nothing is renewed within a second of the last landing, however short the token lives."""
    harness = make_harness(lifetime=lifetime)
    harness.manager.get_token()
    harness.live(10)
    assert 10 <= harness.source.fetches <= 11


def test_a_suspended_machine_wakes_to_a_renewal(harness: Harness) -> None:
    """Time asleep counts: the first call after it gets a new token and never the one that expired meanwhile."""
    harness.manager.get_token()
    harness.parked()
    harness.clock.suspend(2 * HOUR)
    assert "token-2" == harness.manager.get_token().access_token


def test_the_thread_looks_at_the_clock_every_minute(harness: Harness) -> None:
    """It naps 60 seconds at most, and so sees within a minute of waking that it slept through a suspend."""
    harness.manager.get_token()
    harness.parked()
    assert harness.clock.until_next_wake <= 60
    harness.clock.suspend(0.95 * HOUR)
    harness.advance(60)
    assert 2 == harness.source.fetches


def test_a_failed_renewal_costs_no_caller_its_valid_token(harness: Harness) -> None:
    """Any error is a matter of the background while the token may still be sent."""
    first = harness.manager.get_token()
    harness.source.always = down()
    harness.live(HOUR - 20, lambda: harness.manager.get_token(0))
    assert first is harness.manager.get_token(0)
    assert harness.source.fetches > 3


def test_a_refresh_in_of_the_endpoint_is_when_it_is_due(harness: Harness) -> None:
    """Where the answer says when to come back, that is taken."""
    token = harness.source.token(1)
    harness.source.then(
        Token("token-1", issued_at=token.issued_at, expires_at=token.expires_at, extra={"refresh_in": 60})
    )
    harness.manager.get_token()
    harness.advance(60)
    assert 2 == harness.source.fetches


class CountingClock(Clock):
    """Stands still and counts how often it is looked at."""

    readings = 0

    def time(self) -> float:
        return 1_800_000_000.0

    def monotonic(self) -> float:
        self.readings += 1
        return 0.0

    def nap(self, mailbox: object, timeout: float | None) -> None:
        raise AssertionError("nobody is to sleep")


def test_a_clock_is_read_once_on_the_hot_path() -> None:
    """One reading of the monotonic clock is all that a fresh token costs of time."""
    clock = CountingClock()
    manager = TokenManager(StaticTokenFetcher("token"), clock=clock, background=False)
    manager.get_token()
    before = clock.readings
    manager.get_token()
    assert 1 == clock.readings - before


def test_durations_may_be_timedeltas(make_harness: Callable[..., Harness]) -> None:
    """Wherever seconds are meant a timedelta will do."""
    harness = make_harness(policy=RefreshPolicy(jitter=0, expiry_margin=timedelta(seconds=2)))
    assert "token-1" == harness.manager.get_token(timedelta(seconds=5)).access_token
    harness.manager.close(timedelta(seconds=5))


def test_a_fresh_token_that_is_asked_for_is_one_in_use(make_harness: Callable[..., Harness]) -> None:
    """A manager that gave one up to idle_after ago renews it, though it had nothing to fetch for that call."""
    harness = make_harness(policy=RefreshPolicy(jitter=0, idle_after=2000), lifetime=3600)
    harness.manager.get_token()
    for _ in range(2):
        harness.parked(1)
        harness.clock.advance(1300)
        assert "token-1" == harness.manager.get_token().access_token
    harness.parked(1)
    harness.clock.advance(300)
    harness.landed(2)
    assert 2 == harness.source.fetches


def test_a_caller_that_interrupts_the_manager_gets_what_is_held(harness: Harness) -> None:
    """A signal handler, or a ``__del__``, may run while its own thread is inside; where nothing is held it is told."""
    guard = harness.manager._engine._lock  # as in support.forked: nothing that a user can do holds it for long
    with guard, pytest.raises(RuntimeError):
        harness.manager.get_token(options=FetchOptions())
    harness.manager.get_token()
    with guard:
        assert "token-1" == harness.manager.get_token(options=FetchOptions()).access_token
