"""Waiting for a renewal: one for all, exact time limits, and nobody left behind."""

import math
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import requests
from support.scripted import PATIENCE, Harness, ask, down, outcomes

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    FetchOptions,
    RefreshPolicy,
    RenewalStoppedError,
    RenewalTimeoutError,
)
from tokenkit.clock import SystemClock


def test_fifty_threads_cost_one_fetch(harness: Harness) -> None:
    """All who find no token get the one that a single attempt brings."""
    gate = harness.source.hang()
    futures = harness.ask(50)
    harness.parked(50)
    gate.release()
    assert {"token-1"} == {token.access_token for token in outcomes(futures)}
    assert 1 == harness.source.fetches


def test_a_time_limit_of_zero_never_waits(harness: Harness) -> None:
    """The call fails at once, and its renewal goes on behind it."""
    gate = harness.source.hang()
    with pytest.raises(RenewalTimeoutError):
        harness.manager.get_token(timeout=0)
    assert gate.reached()
    gate.release()
    harness.parked()
    assert "token-1" == harness.manager.get_token(timeout=0).access_token


def test_a_time_limit_of_zero_is_enough_for_what_is_held(harness: Harness) -> None:
    """A due token needs no waiting, and neither does a fresh one."""
    harness.manager.get_token()
    assert "token-1" == harness.manager.get_token(0).access_token
    gate = harness.source.hang()
    harness.parked()
    harness.clock.advance(3500)
    assert "token-1" == harness.manager.get_token(0).access_token
    assert gate.reached()


def test_a_time_limit_is_exact(harness: Harness) -> None:
    """A caller waits up to the last moment and not beyond it."""
    harness.source.hang()
    (waiting,) = harness.ask(timeout=10)
    harness.source.wait_for(1)
    harness.parked()
    harness.clock.advance(9.999)
    harness.asleep()
    assert not waiting.done()
    harness.clock.advance(0.001)
    assert isinstance(waiting.exception(5), RenewalTimeoutError)


def test_each_waiter_has_its_own_limit(harness: Harness) -> None:
    """The impatient leave, the patient get the token of the same attempt."""
    gate = harness.source.hang()
    impatient, patient = harness.ask(3, timeout=timedelta(seconds=1)), harness.ask(3, timeout=20)
    harness.source.wait_for(1)
    harness.parked(6)
    harness.clock.advance(1)
    assert {RenewalTimeoutError} == {type(error) for error in outcomes(impatient)}
    harness.parked(3)
    gate.release()
    assert {"token-1"} == {token.access_token for token in outcomes(patient)}
    assert 1 == harness.source.fetches


def test_without_a_limit_a_caller_waits_as_long_as_an_attempt_may_run(harness: Harness) -> None:
    """None is the policy's refresh_request_timeout."""
    harness.source.hang()
    harness.source.hang()  # for the attempt that supersedes the first
    (waiting,) = harness.ask()
    harness.source.wait_for(1)
    harness.parked()
    harness.clock.advance(29.999)
    harness.asleep()
    assert not waiting.done()
    harness.clock.advance(0.001)
    assert isinstance(waiting.exception(5), requests.exceptions.Timeout)


def test_an_endless_limit_is_one_too(harness: Harness) -> None:
    """Infinity waits for a token however long that takes."""
    gate = harness.source.hang()
    (waiting,) = harness.ask(timeout=math.inf)
    assert gate.reached()
    gate.release()
    assert "token-1" == waiting.result(5).access_token


def test_a_hung_source_keeps_nobody_beyond_the_limit(make_harness: Callable[..., Harness]) -> None:
    """On the real clock, a call with 0.3 seconds ends within 0.35, whatever the source does."""
    harness = make_harness(clock=SystemClock())
    harness.source.hang()
    took = []
    for _ in range(3):  # the best of three, for the machine may be busy
        began = time.monotonic()
        with pytest.raises(RenewalTimeoutError):
            harness.manager.get_token(timeout=0.3)
        took.append(time.monotonic() - began)
    assert 0.3 <= min(took) <= 0.35
    assert max(took) < 3


def test_a_patient_synchronous_caller_skips_one_back_off(harness: Harness) -> None:
    """It has its attempt at once, and if that fails it waits for the next like any other."""
    harness.source.then(down(retry_after=10), down(retry_after=10))
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    harness.parked()
    (waiting,) = harness.ask(timeout=30, options=FetchOptions(renew_synchronous=True, report_error=False))
    harness.source.wait_for(2)
    harness.parked(2)
    assert 2 == harness.source.fetches
    harness.clock.advance(10)
    assert "token-3" == waiting.result(PATIENCE).access_token


def test_a_required_renewal_joins_the_one_under_way(harness: Harness) -> None:
    """Callers for whom the current token does not count share one attempt, and others do not wait."""
    harness.manager.get_token()
    gate = harness.source.hang()
    required = ask(harness.manager.force_refresh, 5)
    required += harness.ask(5, options=FetchOptions(renew_required=True))
    harness.parked(10)
    assert "token-1" == harness.manager.get_token().access_token
    gate.release()
    assert {"token-2"} == {token.access_token for token in outcomes(required)}
    assert 2 == harness.source.fetches


@pytest.mark.parametrize("limit", [-1, -0.001, math.nan, True, "1", timedelta(seconds=-1)])
def test_a_bad_limit_is_refused(harness: Harness, limit: object) -> None:
    """What is no number of seconds is a configuration error, before any fetch."""
    with pytest.raises(ConfigurationError):
        harness.manager.get_token(timeout=limit)
    with pytest.raises(ConfigurationError):
        harness.manager.close(grace=limit)
    assert 0 == harness.source.fetches
    assert "token-1" == harness.manager.get_token().access_token


def test_a_limit_may_be_larger_than_any_float(harness: Harness) -> None:
    """It is as good as none."""
    assert "token-1" == harness.manager.get_token(timeout=10**400).access_token


def test_stop_wakes_every_waiter(harness: Harness) -> None:
    """All fail at once, although the renewal hangs, and so does who comes later."""
    harness.source.hang()
    futures = harness.ask(20)
    harness.parked(20)
    harness.manager.stop()
    assert {RenewalStoppedError} == {type(error) for error in outcomes(futures)}
    with pytest.raises(RenewalStoppedError):
        harness.manager.get_token()


def test_each_waiter_raises_its_own_timeout(harness: Harness) -> None:
    """No exception is shared between threads."""
    harness.source.hang()
    futures = harness.ask(20, timeout=1)
    harness.source.wait_for(1)
    harness.parked(20)
    harness.clock.advance(1)
    assert 20 == len({id(error) for error in outcomes(futures)})


def test_an_attempt_may_take_what_the_call_grants_it(make_harness: Callable[..., Harness]) -> None:
    """The source is told the seconds left: the policy's, or those of the call that starts it, but for the landing."""
    harness = make_harness(policy=RefreshPolicy(jitter=0, refresh_request_timeout=20))
    harness.manager.get_token(timeout=5)
    harness.manager.get_token(options=FetchOptions(renew_required=True, renew_request_timeout=7))
    assert [19.5, pytest.approx(6.65)] == [one.timeout for one in harness.source.asked]


def test_a_caller_waits_for_the_time_it_granted(harness: Harness) -> None:
    """Without a limit of its own it leaves when the attempt it asked for has had its time."""
    harness.source.hang()
    harness.source.hang()  # for the attempt that supersedes the first
    (waiting,) = harness.ask(options={"token_renew_request_timeout": "3"})
    harness.source.wait_for(1)
    harness.parked()
    harness.clock.advance(3)
    assert isinstance(waiting.exception(5), RenewalTimeoutError)
