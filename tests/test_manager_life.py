"""A token's life in a manager: fresh, due, expired; and what asks for another."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from scripted import AllEars, Rig, down

from tokenkit import AuthenticationError, RefreshPolicy, Token, TokenManager
from tokenkit.clock import Clock
from tokenkit.fetchers import StaticTokenFetcher

HOUR = 3600.0


def renewal_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "tokenkit scripted"}


def test_nothing_happens_before_the_first_use(rig: Rig) -> None:
    """A constructor fetches nothing and starts no thread, and looking at the manager does not either."""
    before = renewal_threads()
    assert (None, True, rig.source) == (rig.manager.current, rig.manager.is_renewal_required(), rig.manager.source)
    assert (0, set()) == (rig.source.fetches, renewal_threads() - before)


def test_a_fresh_token_is_reused(rig: Rig) -> None:
    """The first call fetches, and later ones get the same token object."""
    first = rig.manager.get_token()
    assert all(rig.manager.get_token() is first for _ in range(100))
    assert ("token-1", 1, False) == (first.access_token, rig.source.fetches, rig.manager.is_renewal_required())


def test_the_hot_path_takes_no_lock(rig: Rig) -> None:
    """A call with a fresh token returns although another thread keeps the lock."""
    first = rig.manager.get_token()
    rig.parked()
    with rig.manager._engine._renewed:
        assert first is rig.manager.get_token() is rig.manager.current


def test_the_source_runs_on_the_managers_daemon_thread(rig: Rig) -> None:
    """A caller's thread never runs the source where the manager has a thread of its own."""
    rig.manager.get_token()
    thread = rig.source.asked[0].thread
    assert ("tokenkit scripted", True) == (thread.name, thread.daemon)


def test_a_token_is_due_at_its_safe_fraction(rig: Rig) -> None:
    """The thread renews at nine tenths of the lifetime, with no caller around, and not before."""
    rig.manager.get_token()
    rig.advance(0.9 * HOUR - 0.001)
    assert 1 == rig.source.fetches
    rig.advance(0.001)
    assert (2, "token-2") == (rig.source.fetches, rig.manager.current.access_token)


def test_a_due_token_is_handed_out_while_it_is_renewed(rig: Rig) -> None:
    """Callers get the due token at once, however long its renewal takes, and the new one after that."""
    first = rig.manager.get_token()
    gate = rig.source.hang()
    rig.parked()
    rig.clock.advance(0.95 * HOUR)
    assert [first] * 20 == [rig.manager.get_token() for _ in range(20)]
    assert gate.reached()
    gate.release()
    rig.parked()
    assert ("token-2", 2) == (rig.manager.get_token().access_token, rig.source.fetches)


def test_eight_threads_never_wait_for_a_due_token(make_rig: Callable[..., Rig]) -> None:
    """With a due token and a slow source no call waits: every one is heard as a hit."""
    rig = make_rig(ears=AllEars())
    first = rig.manager.get_token()
    rig.ears.clear()
    gate = rig.source.hang()
    rig.parked()
    rig.clock.advance(0.95 * HOUR)
    futures = [one for _ in range(10) for one in rig.ask(8)]
    assert {first} == {future.result(5) for future in futures}
    assert gate.reached()
    assert ([], {"due"}, 80) == (
        rig.ears.results("cache_miss"),
        set(rig.ears.results("cache_hit")),
        len(rig.ears.results("cache_hit")),
    )


def test_a_source_may_ask_for_the_token_that_it_replaces(rig: Rig) -> None:
    """It gets the current one while that is good, due or not; where it would wait for itself it is told so."""
    got: list[object] = []

    def ask_back(*_: object) -> Token:
        got.append(rig.manager.get_token().access_token)
        return rig.source.token(9)

    rig.manager.get_token()
    rig.source.then(ask_back)
    rig.advance(0.95 * HOUR)
    assert (["token-1"], "token-9") == (got, rig.manager.get_token().access_token)


def test_an_expired_token_is_never_handed_out(rig: Rig) -> None:
    """Within the expiry margin the token no longer counts: callers wait for the next one."""
    rig.manager.get_token()
    gate = rig.source.hang()
    rig.parked()
    rig.clock.advance(HOUR - 10)
    (waiting,) = rig.ask()
    assert gate.reached()
    rig.parked()
    assert (False, True) == (waiting.done(), rig.manager.is_renewal_required())
    gate.release()
    assert "token-2" == waiting.result(5).access_token


@pytest.mark.parametrize("lifetime", [1, 5, 30, 600])
def test_margins_scale_with_the_lifetime(make_rig: Callable[..., Rig], lifetime: float) -> None:
    """Whatever its lifetime, a token is reused, renewed before it expires, and never fetched in a loop."""
    rig = make_rig(lifetime=lifetime, policy=RefreshPolicy())
    rig.manager.get_token()
    served: list[Token] = []
    rig.live(20 * lifetime, lambda: served.append(rig.manager.get_token(0)))
    assert 20 < rig.source.fetches < 30
    assert len(served) >= rig.source.fetches - 1


def test_a_five_second_token_is_reused(make_rig: Callable[..., Rig]) -> None:
    """Calls in its first four seconds share one fetch."""
    rig = make_rig(lifetime=5)
    for _ in range(40):
        rig.manager.get_token()
        rig.advance(0.1)
    assert 1 == rig.source.fetches


def test_a_token_without_an_expiry_is_never_due(make_rig: Callable[..., Rig]) -> None:
    """What never expires is fetched once."""
    rig = make_rig(lifetime=None)
    rig.manager.get_token()
    for _ in range(5):
        rig.advance(30 * 86400)
    assert (1, "token-1") == (rig.source.fetches, rig.manager.get_token().access_token)


def test_an_almost_expired_token_is_not_fetched_in_a_loop(rig: Rig) -> None:
    """A source with a cache of its own that gives the same dying token is asked about once a second."""
    dying = rig.source.token(0, lifetime=10)
    rig.source.always = dying
    assert dying == rig.manager.get_token()
    rig.live(9, rig.manager.get_token)
    assert rig.source.fetches <= 15


def test_a_token_is_not_served_past_its_expiry(make_rig: Callable[..., Rig]) -> None:
    """An old token that came with half a second to live is given up within it, whatever the policy's intervals."""
    rig = make_rig(policy=RefreshPolicy(jitter=0, min_renewal_interval=60))
    dying = rig.source.token(1, lifetime=HOUR)
    rig.clock.advance(HOUR - 0.5)
    rig.source.then(dying)
    assert dying is rig.manager.get_token()
    rig.advance(0.5)
    assert "token-2" == rig.manager.get_token().access_token


def test_force_refresh_returns_another_token(rig: Rig) -> None:
    """A fresh token does not count, and the new one takes its place for all."""
    rig.manager.get_token()
    assert "token-2" == rig.manager.force_refresh().access_token == rig.manager.get_token().access_token


def test_a_requested_renewal_goes_on_behind_the_caller(rig: Rig) -> None:
    """The request returns at once, the current token is served meanwhile, and one renewal follows."""
    rig.manager.get_token()
    gate = rig.source.hang()
    rig.manager.request_renewal()
    rig.manager.request_renewal()
    assert gate.reached()
    assert ("token-1", True) == (rig.manager.get_token().access_token, rig.manager.is_renewal_required())
    gate.release()
    rig.parked()
    assert ("token-2", False, 2) == (
        rig.manager.get_token().access_token,
        rig.manager.is_renewal_required(),
        rig.source.fetches,
    )


def test_a_request_may_come_first(rig: Rig) -> None:
    """A program may have its token fetched before it needs one."""
    rig.manager.request_renewal()
    rig.source.wait_for(1)
    rig.parked()
    assert ("token-1", "token-1") == (rig.manager.current.access_token, rig.manager.get_token(0).access_token)


def test_a_request_in_the_back_off_has_a_thread(make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there was none so far, as after a fork, it is started: the renewal comes when the back-off is over."""
    rig = make_rig()

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    rig.source.then(down(retry_after=5))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(AuthenticationError):
            rig.manager.get_token()
    rig.manager.request_renewal()
    rig.advance(5)
    assert ("token-2", 2) == (rig.manager.current.access_token, rig.source.fetches)


def test_a_request_that_invalidates_makes_callers_wait(rig: Rig) -> None:
    """After it the old token is no longer handed out."""
    rig.manager.get_token()
    gate = rig.source.hang()
    rig.manager.request_renewal(invalidate=True)
    assert gate.reached()
    assert rig.manager.current is None
    (waiting,) = rig.ask()
    gate.release()
    assert "token-2" == waiting.result(5).access_token


def test_invalidation_concerns_the_very_token(rig: Rig) -> None:
    """A rejected token that is no longer the current one costs nothing."""
    first = rig.manager.get_token()
    rig.manager.invalidate_token(first)
    second = rig.manager.get_token()
    rig.manager.invalidate_token(first)
    assert (second, 2) == (rig.manager.get_token(), rig.source.fetches)
    rig.manager.invalidate_token()
    assert ("token-3", 3) == (rig.manager.get_token().access_token, rig.source.fetches)


def test_the_token_held_last_is_what_a_refresh_spends(rig: Rig) -> None:
    """A renewal goes to the provider with the previous token, an invalidated one too; a first fetch with none."""
    first = rig.manager.get_token()
    rig.manager.invalidate_token()
    rig.manager.get_token()
    assert [None, first] == [one.previous for one in rig.source.asked]


def test_current_is_what_is_held_expired_or_not(make_rig: Callable[..., Rig]) -> None:
    """Looking costs no I/O, and an expired token is still shown."""
    rig = make_rig(background=False)
    first = rig.manager.get_token()
    rig.clock.advance(2 * HOUR)
    assert (first, 1, True) == (rig.manager.current, rig.source.fetches, rig.manager.is_renewal_required())


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_step_of_the_wall_clock_changes_nothing(rig: Rig, step: float) -> None:
    """Deadlines in the process are not on the wall: the token is due when its lifetime is nearly over."""
    rig.manager.get_token()
    rig.parked()
    rig.clock.step_wall(step)
    rig.advance(0.9 * HOUR - 1)
    assert (1, "token-1") == (rig.source.fetches, rig.manager.get_token().access_token)
    rig.advance(1)
    assert 2 == rig.source.fetches
    rig.advance(0.5 * HOUR)
    assert (2, "token-2") == (rig.source.fetches, rig.manager.get_token().access_token)


def test_a_suspended_machine_wakes_to_a_renewal(rig: Rig) -> None:
    """Time asleep counts: the first call after it gets a new token and never the one that expired meanwhile."""
    rig.manager.get_token()
    rig.parked()
    rig.clock.suspend(2 * HOUR)
    assert "token-2" == rig.manager.get_token().access_token


def test_the_thread_looks_at_the_clock_every_minute(rig: Rig) -> None:
    """It naps 60 seconds at most, and so sees within a minute of waking that it slept through a suspend."""
    rig.manager.get_token()
    rig.parked()
    assert 60 == rig.clock.until_next_wake
    rig.clock.suspend(0.95 * HOUR)
    rig.advance(60)
    assert 2 == rig.source.fetches


def test_a_failed_renewal_costs_no_caller_its_valid_token(rig: Rig) -> None:
    """Any error is a matter of the background while the token may still be sent."""
    first = rig.manager.get_token()
    rig.source.always = down()
    rig.live(HOUR - 20, lambda: rig.manager.get_token(0))
    assert first is rig.manager.get_token(0)
    assert rig.source.fetches > 3


def test_a_refresh_in_of_the_endpoint_is_when_it_is_due(rig: Rig) -> None:
    """Where the answer says when to come back, that is taken."""
    token = rig.source.token(1)
    rig.source.then(Token("token-1", issued_at=token.issued_at, expires_at=token.expires_at, extra={"refresh_in": 60}))
    rig.manager.get_token()
    rig.advance(60)
    assert 2 == rig.source.fetches


class CountingClock(Clock):
    """Stands still and counts how often it is looked at."""

    readings = 0

    def time(self) -> float:
        return 1_800_000_000.0

    def monotonic(self) -> float:
        self.readings += 1
        return 0.0

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        raise AssertionError("nobody is to wait")

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


def test_durations_may_be_timedeltas(make_rig: Callable[..., Rig]) -> None:
    """Wherever seconds are meant a timedelta will do."""
    rig = make_rig(policy=RefreshPolicy(jitter=0, expiry_margin=timedelta(seconds=2)))
    assert "token-1" == rig.manager.get_token(timedelta(seconds=5)).access_token
    rig.manager.close(timedelta(seconds=5))
