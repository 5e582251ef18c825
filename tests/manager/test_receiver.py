"""A receiver: one request's dealings with a manager; and the options of one call in both their forms."""

import pickle
from collections.abc import Callable

import pytest
import requests
from support.scripted import Harness, down

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    FetchContext,
    FetchOptions,
    RefreshPolicy,
    Token,
    TokenEndpointError,
    TokenManager,
    TokenProvider,
)
from tokenkit.errors import RenewalStoppedError, RenewalTimeoutError
from tokenkit.options import OPTION_RENEW_REQUIRED, OPTION_RENEW_SYNCHRONOUS, OPTION_REPORT_ERROR


class StaticProvider(TokenProvider):
    service_name = "static"

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return Token("canary-token")


def test_it_remembers_what_it_fetched(harness: Harness) -> None:
    """`latest` is nothing before the first fetch, and then the token fetched last."""
    receiver = harness.manager.receiver()
    assert receiver.latest is None
    assert receiver.fetch() is receiver.latest is harness.manager.current


def test_a_rejection_costs_another_token(harness: Harness) -> None:
    """After an error of the resource, the next fetch returns another token than the rejected one."""
    receiver = harness.manager.receiver()
    receiver.fetch()
    assert receiver.can_retry(requests.HTTPError("401"))
    assert ("token-2", 2) == (receiver.fetch().access_token, harness.source.fetches)


def test_a_rejection_of_an_old_token_is_free(harness: Harness) -> None:
    """Where another receiver has reported the same token, the renewal is shared."""
    first, second = harness.manager.receiver(), harness.manager.receiver()
    first.fetch(), second.fetch()
    assert (True, True) == (first.can_retry(), second.can_retry())
    assert ("token-2", "token-2", 2) == (
        first.fetch().access_token,
        second.fetch().access_token,
        harness.source.fetches,
    )


@pytest.mark.parametrize(("own", "option", "allowed"), [(None, None, 2), (0, None, 0), (3, None, 3), (3, 1, 1)])
def test_retries_are_counted(harness: Harness, own: int | None, option: int | None, allowed: int) -> None:
    """It says yes as often as the call's option, else the receiver's number, else the policy's allows."""
    receiver = harness.manager.receiver(own)
    answers = []
    for _ in range(5):
        receiver.fetch()
        harness.advance(120)  # no rejection is too early
        answers.append(receiver.can_retry(options=FetchOptions(max_retries=option)))
    assert [True] * allowed + [False] * (5 - allowed) == answers


def test_the_policy_may_allow_other_retries(make_harness: Callable[..., Harness]) -> None:
    """`max_retries` of the policy is the default."""
    harness = make_harness(policy=RefreshPolicy(max_retries=1))
    receiver = harness.manager.receiver()
    receiver.fetch()
    assert [True, False] == [receiver.can_retry() for _ in range(2)]


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (down(), True),
        (TokenEndpointError("no", error="invalid_client"), False),
        (RenewalTimeoutError("late"), True),
        (RenewalStoppedError("over"), False),
        (ConfigurationError("wrong"), False),
    ],
)
def test_errors_about_getting_a_token(harness: Harness, error: Exception, helps: bool) -> None:
    """They say nothing against the token held; another try helps where they may pass."""
    receiver = harness.manager.receiver()
    token = receiver.fetch()
    assert helps == receiver.can_retry(error)
    assert token is harness.manager.current


def test_nothing_fetched_nothing_to_retry(harness: Harness) -> None:
    """Without a token there was no rejection."""
    assert not harness.manager.receiver().can_retry()


def test_a_receiver_passes_time_limit_and_options_on(harness: Harness) -> None:
    """They mean what they mean to the manager."""
    receiver = harness.manager.receiver()
    gate = harness.source.hang()
    with pytest.raises(RenewalTimeoutError):
        receiver.fetch(0)
    gate.release()
    receiver.fetch(5)
    assert (
        "token-2" == receiver.fetch(options={OPTION_RENEW_REQUIRED: "yes", OPTION_RENEW_SYNCHRONOUS: "1"}).access_token
    )


def test_a_mapping_of_strings_will_do(harness: Harness) -> None:
    """Any non-empty string switches a flag on, an empty one off."""
    harness.manager.get_token()
    assert "token-2" == harness.manager.get_token(options={OPTION_RENEW_REQUIRED: "no"}).access_token
    assert "token-2" == harness.manager.get_token(options={OPTION_RENEW_REQUIRED: ""}).access_token
    harness.source.hang()
    with pytest.raises(RenewalTimeoutError):
        harness.manager.get_token(0, {OPTION_RENEW_REQUIRED: "x", OPTION_REPORT_ERROR: ""})


def test_a_mapping_switches_the_back_off_off(harness: Harness) -> None:
    """The string-keyed form reaches the engine as the value does."""
    harness.source.then(down(retry_after=5))
    with pytest.raises(AuthenticationError):
        harness.manager.get_token()
    assert "token-2" == harness.manager.get_token(options={OPTION_RENEW_SYNCHRONOUS: "1"}).access_token


@pytest.mark.parametrize("retries", [-1, 1.5, "2", True])
def test_a_wrong_number_of_retries_is_refused(harness: Harness, retries: object) -> None:
    """Where the receiver is made, not where the request has failed."""
    with pytest.raises(ConfigurationError, match="max_retries"):
        harness.manager.receiver(retries)


@pytest.mark.parametrize("options", ["x", 1, [("token_renew_required", "1")]])
def test_other_options_are_refused(harness: Harness, options: object) -> None:
    """Neither a string nor a list is a set of options."""
    with pytest.raises(ConfigurationError):
        harness.manager.get_token(options=options)


def test_a_pickled_receiver_has_no_token() -> None:
    """It begins anew, with the manager that goes with it."""
    with TokenManager(StaticProvider()) as manager:
        receiver = manager.receiver(1)
        receiver.fetch()
        pickled = pickle.dumps(receiver)
        assert b"canary" not in pickled
        other = pickle.loads(pickled)
        assert (None, "canary-token") == (other.latest, other.fetch().access_token)
        assert [True, False] == [other.can_retry(), other.can_retry()]
