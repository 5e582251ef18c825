"""Failed renewals: shared by all who waited, backed off from, and no matter to who holds a valid token."""

import traceback
from collections.abc import Callable
from itertools import pairwise

import pytest
import requests
from support.scripted import PATIENCE, Harness, down, outcomes

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


def backed_off(harness: Harness) -> float:
    """Return the seconds until the source may be asked again."""
    return harness.manager._engine.state.retry_at - harness.clock.monotonic()


def test_fifty_threads_share_one_failure(harness: Harness) -> None:
    """Each gets an exception of its own from the cause that they share, and the source was asked once."""
    gate = harness.source.hang()
    futures = harness.ask(50)
    harness.parked(50)
    gate.release(TransportError("no answer"))
    errors = outcomes(futures)
    assert {TransportError} == {type(error) for error in errors}
    assert (50, 1) == (len({id(error) for error in errors}), len({id(error.__cause__) for error in errors}))
    assert errors[0].__cause__ not in errors
    assert 1 == harness.source.fetches


def test_an_error_tells_the_service_and_keeps_its_facts(harness: Harness) -> None:
    """What the source found out reaches every caller."""
    harness.source.always = refused()
    with pytest.raises(TokenEndpointError) as caught:
        harness.manager.get_token()
    error = caught.value
    assert ("scripted", 401, "invalid_client", False) == (
        error.service_name,
        error.status,
        error.error,
        error.transient,
    )


def test_a_foreign_error_becomes_ours(harness: Harness) -> None:
    """Whatever a source raises, callers catch one kind of error, with the original as its cause."""
    harness.source.then(KeyError("surprise"))
    with pytest.raises(AuthenticationError) as caught:
        harness.manager.get_token()
    assert (KeyError, True) == (type(caught.value.__cause__), caught.value.transient)
    assert "KeyError" in "".join(traceback.format_exception(caught.value))


def test_callers_fail_fast_until_the_next_attempt_is_due(make_harness: Callable[..., Harness]) -> None:
    """In the back-off the last cause is raised at once and the source is left alone; after it, it is asked."""
    harness = make_harness(policy=UNLUCKY)
    harness.source.then(down("first", retry_after=5), down("second", retry_after=5))
    with pytest.raises(AuthenticationError, match="first"):
        harness.manager.get_token()
    harness.advance(4.99)
    for _ in range(10):
        with pytest.raises(AuthenticationError, match="first"):
            harness.manager.get_token()
    assert 1 == harness.source.fetches
    harness.advance(0.01)
    with pytest.raises(AuthenticationError, match="second"):
        harness.manager.get_token()
    assert 2 == harness.source.fetches


def test_fail_fast_raises_a_new_exception_each_time(harness: Harness) -> None:
    """The cause is remembered, the exception is the caller's own."""
    harness.source.then(refused())
    errors = []
    for _ in range(3):
        with pytest.raises(TokenEndpointError) as caught:
            harness.manager.get_token()
        errors.append(caught.value)
    assert (3, 1) == (len({id(one) for one in errors}), len({id(one.__cause__) for one in errors}))


def test_the_back_off_grows_to_its_limit_with_full_jitter(make_harness: Callable[..., Harness]) -> None:
    """The n-th failure in a row waits for a random share of 4, 6, 9, ... seconds, 60 at most."""
    harness = make_harness(policy=UNLUCKY)
    harness.source.always = down()
    for limit in (4, 6, 9, 13.5, 20.25, 30.375, 45.5625, 60, 60):
        with pytest.raises(AuthenticationError):
            harness.manager.get_token()
        assert 0 <= backed_off(harness) <= limit
        harness.advance(max(0.0, backed_off(harness)))


def test_a_success_ends_the_back_off(make_harness: Callable[..., Harness]) -> None:
    """The next failure after it is a first one."""
    harness = make_harness(policy=UNLUCKY)
    harness.source.then(*[down() for _ in range(5)])
    for _ in range(5):
        with pytest.raises(AuthenticationError):
            harness.manager.get_token(options=NOW)
    harness.manager.get_token(options=NOW)
    harness.source.then(down())
    with pytest.raises(AuthenticationError):
        harness.manager.force_refresh()
    assert backed_off(harness) <= 4


def test_a_permanent_refusal_waits_longest_from_the_start(harness: Harness) -> None:
    """A wrong secret is not tried again for max_retry_timeout."""
    harness.source.then(refused())
    with pytest.raises(TokenEndpointError):
        harness.manager.get_token()
    assert 60 == backed_off(harness)
    harness.advance(60)
    assert "token-2" == harness.manager.get_token().access_token


def test_retry_after_raises_the_back_off(harness: Harness) -> None:
    """What the endpoint asks for is granted, beyond the policy's longest too."""
    harness.source.then(down(retry_after=90))
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    assert 90 == backed_off(harness)


@pytest.mark.parametrize(("failure", "back_off"), [(down(retry_after=50), 50), (refused(), 60)])
def test_an_error_tells_when_to_come_back(harness: Harness, failure: AuthenticationError, back_off: float) -> None:
    """Its retry_after is what remains until the source is asked again, whether or not the endpoint gave a time."""
    harness.source.then(failure)
    (first,) = outcomes(harness.ask())
    harness.advance(40)
    (later,) = outcomes(harness.ask())
    assert (back_off, back_off - 40) == (first.retry_after, later.retry_after)
    harness.advance(later.retry_after)
    assert "token-2" == harness.manager.get_token().access_token


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -5, "soon", True, None])
def test_a_senseless_retry_after_is_ignored(harness: Harness, seconds: object) -> None:
    """A source's own idea of that number cannot break the back-off."""
    harness.source.then(down(retry_after=seconds))
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    assert 0 <= backed_off(harness) <= 1


def test_an_endless_retry_after_has_an_end(harness: Harness) -> None:
    """A manager is never told to stay away for ever."""
    harness.source.then(down(retry_after=10**9))
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    assert 300 == backed_off(harness)


def test_a_synchronous_renewal_skips_the_back_off(harness: Harness) -> None:
    """Where a token is needed now, the source is asked now; its failure backs off again."""
    harness.source.then(refused(), refused())
    for options in (None, NOW):
        with pytest.raises(TokenEndpointError):
            harness.manager.get_token(options=options)
    with pytest.raises(TokenEndpointError):
        harness.manager.get_token()
    assert 2 == harness.source.fetches
    assert "token-3" == harness.manager.force_refresh().access_token


def test_a_synchronous_call_starts_a_requested_renewal(harness: Harness) -> None:
    """It gets the current token, and the renewal that the back-off put off starts behind it."""
    harness.manager.get_token()
    harness.source.then(down(retry_after=50))
    harness.manager.request_renewal()
    harness.source.wait_for(2)
    harness.parked()
    assert "token-1" == harness.manager.get_token().access_token
    assert ("token-1", 2) == (harness.manager.get_token(options=FetchOptions()).access_token, harness.source.fetches)
    assert "token-1" == harness.manager.get_token(options=NOW).access_token
    harness.source.wait_for(3)
    harness.parked()
    assert "token-3" == harness.manager.get_token().access_token


def test_a_required_renewal_alone_respects_the_back_off(harness: Harness) -> None:
    """With a valid token at hand, a required renewal fails with the last cause until the next attempt is due."""
    harness.manager.get_token()
    harness.source.then(refused())
    with pytest.raises(TokenEndpointError):
        harness.manager.force_refresh()
    with pytest.raises(TokenEndpointError):
        harness.manager.get_token(options=FetchOptions(renew_required=True))
    assert ("token-1", 2) == (harness.manager.get_token().access_token, harness.source.fetches)


def test_a_caller_may_wait_through_failures(harness: Harness) -> None:
    """With report_error=False it gets the token of whichever attempt succeeds."""
    harness.source.then(down(retry_after=3), down(retry_after=3), down(retry_after=3))
    (waiting,) = harness.ask(options=PATIENT, timeout=20)
    for attempt in range(3):
        harness.source.wait_for(attempt + 1)
        harness.parked(2)
        assert not waiting.done()
        harness.clock.advance(3)
    assert ("token-4", 4) == (waiting.result(PATIENCE).access_token, harness.source.fetches)


def test_patience_ends_with_the_time_limit(harness: Harness) -> None:
    """A caller that waits through failures gets a time-out in the end, and its cause is the last failure."""
    harness.source.always = down(retry_after=100)
    (waiting,) = harness.ask(options=PATIENT, timeout=20)
    harness.parked(2)
    harness.clock.advance(20)
    error = waiting.exception(PATIENCE)
    assert (RenewalTimeoutError, AuthenticationError) == (type(error), type(error.__cause__))
    assert 1 == harness.source.fetches


def test_the_patient_and_the_impatient_share_attempts(harness: Harness) -> None:
    """Of those who wait for one attempt that fails, only who asked for it hears of that."""
    gate = harness.source.hang()
    patient, impatient = harness.ask(3, options=PATIENT), harness.ask(3)
    harness.parked(6)
    gate.release(down(retry_after=1))
    assert {AuthenticationError} == {type(error) for error in outcomes(impatient)}
    harness.parked(4)
    harness.clock.advance(1)
    assert {"token-2"} == {token.access_token for token in outcomes(patient)}
    assert 2 == harness.source.fetches


@pytest.mark.parametrize("run", range(5))
def test_an_outage_costs_no_call_and_no_more_attempts_than_allowed(harness: Harness, run: int) -> None:
    """The source is down for 60 seconds while the token is due: nobody fails, each attempt is when it may be."""
    harness.manager.get_token()
    harness.advance(3600 * 0.8 - 1)
    harness.source.always = down()
    due_at = harness.clock.monotonic() + 1
    allowed, state = {due_at}, harness.manager._engine.state
    harness.live(61, lambda: (harness.manager.get_token(0), allowed.add(state.renew_at(harness.clock.monotonic()))))
    asked_at = [one.at for one in harness.source.asked[1:]]
    assert pytest.approx(sorted(one for one in allowed if due_at <= one <= due_at + 60), abs=1e-6) == asked_at
    gaps = [later - earlier for earlier, later in pairwise(asked_at)]
    assert all(gap <= 1.5**number + 1e-6 for number, gap in enumerate(gaps))
    harness.source.always = None
    harness.live(75, lambda: harness.manager.get_token(0))  # a pause is a tenth of 720 s at the most
    assert f"token-{harness.source.fetches}" == harness.manager.get_token().access_token


def test_the_number_of_attempts_in_an_outage(make_harness: Callable[..., Harness]) -> None:
    """A source that asks for seven seconds each time is asked nine times in the minute that it is down."""
    harness = make_harness(policy=RefreshPolicy(jitter=0, retry_timeout_exponent=1))
    harness.manager.get_token()
    harness.advance(3600 * 0.8 - 1)
    harness.source.always = down(retry_after=7)
    harness.live(61, lambda: harness.manager.get_token(0))
    assert 1 + 9 == harness.source.fetches


def test_a_failure_keeps_what_is_held(harness: Harness) -> None:
    """The token is given up by nobody but the clock and the user."""
    first = harness.manager.get_token()
    harness.source.then(down())
    with pytest.raises(AuthenticationError):
        harness.manager.force_refresh()
    assert first is harness.manager.get_token() is harness.manager.current


class _LoginError(AuthenticationError):
    def __init__(self, code: int) -> None:  # without its base's
        self.code = code


def test_an_error_that_does_not_call_its_base_is_backed_off_from(harness: Harness) -> None:
    """A careless subclass of ours costs one fetch, as any other failure does."""
    harness.source.always = _LoginError(7)
    for _ in range(3):
        with pytest.raises(_LoginError) as caught:
            harness.manager.get_token()
    assert ("scripted", 7, 1) == (caught.value.service_name, caught.value.code, harness.source.fetches)


@pytest.mark.parametrize("background", [True, False])
def test_an_error_that_is_its_own_cause_lands(make_harness: Callable[..., Harness], background: bool) -> None:
    """Whether the thread asks or a caller leads, who waits gets it."""

    def fail(*_: object) -> Token:
        error = KeyError("x")
        raise error from error

    harness = make_harness(background=background)
    harness.source.then(fail)
    with pytest.raises(AuthenticationError, match="KeyError"):
        harness.manager.get_token()


@pytest.mark.parametrize("background", [True, False])
def test_what_a_caller_was_handling_is_no_part_of_the_failure(
    make_harness: Callable[..., Harness], background: bool
) -> None:
    """Whoever else gets the failure reads why the source failed, and nothing of the call that led it."""
    harness = make_harness(background=background)
    failure = down("refused", retry_after=50)
    failure.__cause__ = OSError("unreachable")

    def fail(*_: object) -> Token:
        raise failure

    harness.source.then(fail)
    try:
        raise requests.HTTPError("order of Alice")
    except requests.HTTPError:
        with pytest.raises(AuthenticationError):
            harness.manager.get_token()
    (error,) = outcomes(harness.ask())
    told = "".join(traceback.format_exception(error))
    assert (True, False) == ("unreachable" in told, "Alice" in told)
