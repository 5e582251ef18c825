"""Failed renewals: shared by all who waited, backed off from, and no matter to who holds a valid token."""

import traceback
from collections.abc import Callable
from itertools import pairwise

import pytest
import requests
from scripted import PATIENCE, Rig, down, outcomes

from tokenkit import (
    AuthenticationError,
    FetchOptions,
    RefreshPolicy,
    RenewalTimeoutError,
    Token,
    TokenEndpointError,
    TransportError,
)

PATIENT = FetchOptions(report_error=False)
NOW = FetchOptions(renew_synchronous=True)
UNLUCKY = RefreshPolicy(jitter=0, initial_retry_timeout=4, max_retry_timeout=60)


def refused() -> TokenEndpointError:
    return TokenEndpointError("refused", status=401, error="invalid_client")


def backed_off(rig: Rig) -> float:
    """Return the seconds until the source may be asked again."""
    return rig.manager._engine.holding.retry_at - rig.clock.monotonic()


def test_fifty_threads_share_one_failure(rig: Rig) -> None:
    """Each gets an exception of its own from the cause that they share, and the source was asked once."""
    gate = rig.source.hang()
    futures = rig.ask(50)
    rig.parked(50)
    gate.release(TransportError("no answer"))
    errors = outcomes(futures)
    assert {TransportError} == {type(error) for error in errors}
    assert (50, 1) == (len({id(error) for error in errors}), len({id(error.__cause__) for error in errors}))
    assert errors[0].__cause__ not in errors
    assert 1 == rig.source.fetches


def test_an_error_tells_the_service_and_keeps_its_facts(rig: Rig) -> None:
    """What the source found out reaches every caller."""
    rig.source.always = refused()
    with pytest.raises(TokenEndpointError) as caught:
        rig.manager.get_token()
    error = caught.value
    assert ("scripted", 401, "invalid_client", False) == (
        error.service_name,
        error.status,
        error.error,
        error.transient,
    )


def test_a_foreign_error_becomes_ours(rig: Rig) -> None:
    """Whatever a source raises, callers catch one kind of error, with the original as its cause."""
    rig.source.then(KeyError("surprise"))
    with pytest.raises(AuthenticationError) as caught:
        rig.manager.get_token()
    assert (KeyError, True) == (type(caught.value.__cause__), caught.value.transient)
    assert "KeyError" in "".join(traceback.format_exception(caught.value))


def test_callers_fail_fast_until_the_next_attempt_is_due(make_rig: Callable[..., Rig]) -> None:
    """In the back-off the last cause is raised at once and the source is left alone; after it, it is asked."""
    rig = make_rig(policy=UNLUCKY)
    rig.source.then(down("first", retry_after=5), down("second", retry_after=5))
    with pytest.raises(AuthenticationError, match="first"):
        rig.manager.get_token()
    rig.advance(4.99)
    for _ in range(10):
        with pytest.raises(AuthenticationError, match="first"):
            rig.manager.get_token()
    assert 1 == rig.source.fetches
    rig.advance(0.01)
    with pytest.raises(AuthenticationError, match="second"):
        rig.manager.get_token()
    assert 2 == rig.source.fetches


def test_fail_fast_raises_a_new_exception_each_time(rig: Rig) -> None:
    """The cause is remembered, the exception is the caller's own."""
    rig.source.then(refused())
    errors = []
    for _ in range(3):
        with pytest.raises(TokenEndpointError) as caught:
            rig.manager.get_token()
        errors.append(caught.value)
    assert (3, 1) == (len({id(one) for one in errors}), len({id(one.__cause__) for one in errors}))


def test_the_back_off_grows_to_its_limit_with_full_jitter(make_rig: Callable[..., Rig]) -> None:
    """The n-th failure in a row waits for a random share of 4, 6, 9, ... seconds, 60 at most."""
    rig = make_rig(policy=UNLUCKY)
    rig.source.always = down()
    for limit in (4, 6, 9, 13.5, 20.25, 30.375, 45.5625, 60, 60):
        with pytest.raises(AuthenticationError):
            rig.manager.get_token()
        assert 0 <= backed_off(rig) <= limit
        rig.advance(max(0.0, backed_off(rig)))


def test_a_success_ends_the_back_off(make_rig: Callable[..., Rig]) -> None:
    """The next failure after it is a first one."""
    rig = make_rig(policy=UNLUCKY)
    rig.source.then(*[down() for _ in range(5)])
    for _ in range(5):
        with pytest.raises(AuthenticationError):
            rig.manager.get_token(options=NOW)
    rig.manager.get_token(options=NOW)
    rig.source.then(down())
    with pytest.raises(AuthenticationError):
        rig.manager.force_refresh()
    assert backed_off(rig) <= 4


def test_a_permanent_refusal_waits_longest_from_the_start(rig: Rig) -> None:
    """A wrong secret is not tried again for max_retry_timeout."""
    rig.source.then(refused())
    with pytest.raises(TokenEndpointError):
        rig.manager.get_token()
    assert 60 == backed_off(rig)
    rig.advance(60)
    assert "token-2" == rig.manager.get_token().access_token


def test_retry_after_raises_the_back_off(rig: Rig) -> None:
    """What the endpoint asks for is granted, beyond the policy's longest too."""
    rig.source.then(down(retry_after=90))
    with pytest.raises(AuthenticationError):
        rig.manager.get_token()
    assert 90 == backed_off(rig)


@pytest.mark.parametrize(("failure", "back_off"), [(down(retry_after=50), 50), (refused(), 60)])
def test_an_error_tells_when_to_come_back(rig: Rig, failure: AuthenticationError, back_off: float) -> None:
    """Its retry_after is what remains until the source is asked again, whether or not the endpoint gave a time."""
    rig.source.then(failure)
    (first,) = outcomes(rig.ask())
    rig.advance(40)
    (later,) = outcomes(rig.ask())
    assert (back_off, back_off - 40) == (first.retry_after, later.retry_after)
    rig.advance(later.retry_after)
    assert "token-2" == rig.manager.get_token().access_token


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -5, "soon", True, None])
def test_a_senseless_retry_after_is_ignored(rig: Rig, seconds: object) -> None:
    """A source's own idea of that number cannot break the back-off."""
    rig.source.then(down(retry_after=seconds))
    with pytest.raises(AuthenticationError):
        rig.manager.get_token()
    assert 0 <= backed_off(rig) <= 1


def test_an_endless_retry_after_has_an_end(rig: Rig) -> None:
    """A manager is never told to stay away for ever."""
    rig.source.then(down(retry_after=10**9))
    with pytest.raises(AuthenticationError):
        rig.manager.get_token()
    assert 3600 == backed_off(rig)


def test_a_synchronous_renewal_skips_the_back_off(rig: Rig) -> None:
    """Where a token is needed now, the source is asked now; its failure backs off again."""
    rig.source.then(refused(), refused())
    for options in (None, NOW):
        with pytest.raises(TokenEndpointError):
            rig.manager.get_token(options=options)
    with pytest.raises(TokenEndpointError):
        rig.manager.get_token()
    assert 2 == rig.source.fetches
    assert "token-3" == rig.manager.force_refresh().access_token


def test_a_synchronous_call_starts_a_requested_renewal(rig: Rig) -> None:
    """It gets the current token, and the renewal that the back-off put off starts behind it."""
    rig.manager.get_token()
    rig.source.then(down(retry_after=50))
    rig.manager.request_renewal()
    rig.source.wait_for(2)
    rig.parked()
    assert "token-1" == rig.manager.get_token().access_token
    assert ("token-1", 2) == (rig.manager.get_token(options=FetchOptions()).access_token, rig.source.fetches)
    assert "token-1" == rig.manager.get_token(options=NOW).access_token
    rig.source.wait_for(3)
    rig.parked()
    assert "token-3" == rig.manager.get_token().access_token


def test_a_required_renewal_alone_respects_the_back_off(rig: Rig) -> None:
    """With a valid token at hand, a required renewal fails with the last cause until the next attempt is due."""
    rig.manager.get_token()
    rig.source.then(refused())
    with pytest.raises(TokenEndpointError):
        rig.manager.force_refresh()
    with pytest.raises(TokenEndpointError):
        rig.manager.get_token(options=FetchOptions(renew_required=True))
    assert ("token-1", 2) == (rig.manager.get_token().access_token, rig.source.fetches)


def test_a_caller_may_wait_through_failures(rig: Rig) -> None:
    """With report_error=False it gets the token of whichever attempt succeeds."""
    rig.source.then(down(retry_after=3), down(retry_after=3), down(retry_after=3))
    (waiting,) = rig.ask(options=PATIENT, timeout=20)
    for attempt in range(3):
        rig.source.wait_for(attempt + 1)
        rig.parked(2)
        assert not waiting.done()
        rig.clock.advance(3)
    assert ("token-4", 4) == (waiting.result(PATIENCE).access_token, rig.source.fetches)


def test_patience_ends_with_the_time_limit(rig: Rig) -> None:
    """A caller that waits through failures gets a time-out in the end, and its cause is the last failure."""
    rig.source.always = down(retry_after=100)
    (waiting,) = rig.ask(options=PATIENT, timeout=20)
    rig.parked(2)
    rig.clock.advance(20)
    error = waiting.exception(PATIENCE)
    assert (RenewalTimeoutError, AuthenticationError) == (type(error), type(error.__cause__))
    assert 1 == rig.source.fetches


def test_the_patient_and_the_impatient_share_attempts(rig: Rig) -> None:
    """Of those who wait for one attempt that fails, only who asked for it hears of that."""
    gate = rig.source.hang()
    patient, impatient = rig.ask(3, options=PATIENT), rig.ask(3)
    rig.parked(6)
    gate.release(down(retry_after=1))
    assert {AuthenticationError} == {type(error) for error in outcomes(impatient)}
    rig.parked(4)
    rig.clock.advance(1)
    assert {"token-2"} == {token.access_token for token in outcomes(patient)}
    assert 2 == rig.source.fetches


@pytest.mark.parametrize("run", range(5))
def test_an_outage_costs_no_call_and_no_more_attempts_than_allowed(rig: Rig, run: int) -> None:
    """The source is down for 60 seconds while the token is due: nobody fails, each attempt is when it may be."""
    rig.manager.get_token()
    rig.advance(3600 * 0.9 - 1)
    rig.source.always = down()
    due_at = rig.clock.monotonic() + 1
    allowed = {due_at}
    rig.live(61, lambda: (rig.manager.get_token(0), allowed.add(rig.manager._engine.holding.retry_at)))
    asked_at = [one.at for one in rig.source.asked[1:]]
    assert pytest.approx(sorted(one for one in allowed if due_at <= one <= due_at + 60), abs=1e-6) == asked_at
    gaps = [later - earlier for earlier, later in pairwise(asked_at)]
    assert all(gap <= min(60, 1.5**number) + 1e-6 for number, gap in enumerate(gaps))
    rig.source.always = None
    rig.live(60, lambda: rig.manager.get_token(0))
    assert f"token-{rig.source.fetches}" == rig.manager.get_token().access_token


def test_the_number_of_attempts_in_an_outage(make_rig: Callable[..., Rig]) -> None:
    """A source that asks for seven seconds each time is asked nine times in the minute that it is down."""
    rig = make_rig(policy=RefreshPolicy(jitter=0, max_retry_timeout=5))
    rig.manager.get_token()
    rig.advance(3600 * 0.9 - 1)
    rig.source.always = down(retry_after=7)
    rig.live(61, lambda: rig.manager.get_token(0))
    assert 1 + 9 == rig.source.fetches


def test_a_failure_keeps_what_is_held(rig: Rig) -> None:
    """The token is given up by nobody but the clock and the user."""
    first = rig.manager.get_token()
    rig.source.then(down())
    with pytest.raises(AuthenticationError):
        rig.manager.force_refresh()
    assert first is rig.manager.get_token() is rig.manager.current


class _LoginError(AuthenticationError):
    def __init__(self, code: int) -> None:  # without its base's
        self.code = code


def test_an_error_that_does_not_call_its_base_is_backed_off_from(rig: Rig) -> None:
    """A careless subclass of ours costs one fetch, as any other failure does."""
    rig.source.always = _LoginError(7)
    for _ in range(3):
        with pytest.raises(_LoginError) as caught:
            rig.manager.get_token()
    assert ("scripted", 7, 1) == (caught.value.service_name, caught.value.code, rig.source.fetches)


@pytest.mark.parametrize("background", [True, False])
def test_an_error_that_is_its_own_cause_lands(make_rig: Callable[..., Rig], background: bool) -> None:
    """Whether the thread asks or a caller leads, who waits gets it."""

    def fail(*_: object) -> Token:
        error = KeyError("x")
        raise error from error

    rig = make_rig(background=background)
    rig.source.then(fail)
    with pytest.raises(AuthenticationError, match="KeyError"):
        rig.manager.get_token()


@pytest.mark.parametrize("background", [True, False])
def test_what_a_caller_was_handling_is_no_part_of_the_failure(make_rig: Callable[..., Rig], background: bool) -> None:
    """Whoever else gets the failure reads why the source failed, and nothing of the call that led it."""
    rig = make_rig(background=background)
    failure = down("refused", retry_after=50)
    failure.__cause__ = OSError("unreachable")

    def fail(*_: object) -> Token:
        raise failure

    rig.source.then(fail)
    try:
        raise requests.HTTPError("order of Alice")
    except requests.HTTPError:
        with pytest.raises(AuthenticationError):
            rig.manager.get_token()
    (error,) = outcomes(rig.ask())
    told = "".join(traceback.format_exception(error))
    assert (True, False) == ("unreachable" in told, "Alice" in told)
