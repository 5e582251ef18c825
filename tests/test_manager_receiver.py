"""A receiver: one request's dealings with a manager; and the options of one call in both their forms."""

import pickle
from collections.abc import Callable

import pytest
import requests
from scripted import Rig, down

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


def test_it_remembers_what_it_fetched(rig: Rig) -> None:
    """`latest` is nothing before the first fetch, and then the token fetched last."""
    receiver = rig.manager.receiver()
    assert receiver.latest is None
    assert receiver.fetch() is receiver.latest is rig.manager.current


def test_a_rejection_costs_another_token(rig: Rig) -> None:
    """After an error of the resource, the next fetch returns another token than the rejected one."""
    receiver = rig.manager.receiver()
    receiver.fetch()
    assert receiver.can_retry(requests.HTTPError("401"))
    assert ("token-2", 2) == (receiver.fetch().access_token, rig.source.fetches)


def test_a_rejection_of_an_old_token_is_free(rig: Rig) -> None:
    """Where another receiver has reported the same token, the renewal is shared."""
    first, second = rig.manager.receiver(), rig.manager.receiver()
    first.fetch(), second.fetch()
    assert (True, True) == (first.can_retry(), second.can_retry())
    assert ("token-2", "token-2", 2) == (
        first.fetch().access_token,
        second.fetch().access_token,
        rig.source.fetches,
    )


@pytest.mark.parametrize(("own", "option", "allowed"), [(None, None, 2), (0, None, 0), (3, None, 3), (3, 1, 1)])
def test_retries_are_counted(rig: Rig, own: int | None, option: int | None, allowed: int) -> None:
    """It says yes as often as the call's option, else the receiver's number, else the policy's allows."""
    receiver = rig.manager.receiver(own)
    answers = []
    for _ in range(5):
        receiver.fetch()
        rig.advance(120)  # no rejection is too early
        answers.append(receiver.can_retry(options=FetchOptions(max_retries=option)))
    assert [True] * allowed + [False] * (5 - allowed) == answers


def test_the_policy_may_allow_other_retries(make_rig: Callable[..., Rig]) -> None:
    """`max_retries` of the policy is the default."""
    rig = make_rig(policy=RefreshPolicy(max_retries=1))
    receiver = rig.manager.receiver()
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
def test_errors_about_getting_a_token(rig: Rig, error: Exception, helps: bool) -> None:
    """They say nothing against the token held; another try helps where they may pass."""
    receiver = rig.manager.receiver()
    token = receiver.fetch()
    assert helps == receiver.can_retry(error)
    assert token is rig.manager.current


def test_nothing_fetched_nothing_to_retry(rig: Rig) -> None:
    """Without a token there was no rejection."""
    assert not rig.manager.receiver().can_retry()


def test_a_receiver_passes_time_limit_and_options_on(rig: Rig) -> None:
    """They mean what they mean to the manager."""
    receiver = rig.manager.receiver()
    gate = rig.source.hang()
    with pytest.raises(RenewalTimeoutError):
        receiver.fetch(0)
    gate.release()
    receiver.fetch(5)
    assert (
        "token-2" == receiver.fetch(options={OPTION_RENEW_REQUIRED: "yes", OPTION_RENEW_SYNCHRONOUS: "1"}).access_token
    )


def test_a_mapping_of_strings_will_do(rig: Rig) -> None:
    """Any non-empty string switches a flag on, an empty one off."""
    rig.manager.get_token()
    assert "token-2" == rig.manager.get_token(options={OPTION_RENEW_REQUIRED: "no"}).access_token
    assert "token-2" == rig.manager.get_token(options={OPTION_RENEW_REQUIRED: ""}).access_token
    rig.source.hang()
    with pytest.raises(RenewalTimeoutError):
        rig.manager.get_token(0, {OPTION_RENEW_REQUIRED: "x", OPTION_REPORT_ERROR: ""})


def test_a_mapping_switches_the_back_off_off(rig: Rig) -> None:
    """The string-keyed form reaches the engine as the value does."""
    rig.source.then(down(retry_after=5))
    with pytest.raises(AuthenticationError):
        rig.manager.get_token()
    assert "token-2" == rig.manager.get_token(options={OPTION_RENEW_SYNCHRONOUS: "1"}).access_token


@pytest.mark.parametrize("retries", [-1, 1.5, "2", True])
def test_a_wrong_number_of_retries_is_refused(rig: Rig, retries: object) -> None:
    """Where the receiver is made, not where the request has failed."""
    with pytest.raises(ConfigurationError, match="max_retries"):
        rig.manager.receiver(retries)


@pytest.mark.parametrize("options", ["x", 1, [("token_renew_required", "1")]])
def test_other_options_are_refused(rig: Rig, options: object) -> None:
    """Neither a string nor a list is a set of options."""
    with pytest.raises(ConfigurationError):
        rig.manager.get_token(options=options)


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
