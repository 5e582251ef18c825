"""Tokens that a resource rejects: replaced once for all, but not for ever at once."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from support.scripted import Harness, ask, down, outcomes

from tokenkit import AuthenticationError, ConfigurationError, RefreshPolicy, RenewalTimeoutError, Token


def test_a_hundred_rejections_cost_one_renewal(harness: Harness) -> None:
    """All who report one token get the same other one."""
    rejected = harness.manager.get_token()
    gate = harness.source.hang()
    futures = ask(lambda: harness.manager.renew_rejected(rejected), 100)
    harness.parked(100)
    gate.release()
    assert ({"token-2"}, 2) == ({token.access_token for token in outcomes(futures)}, harness.source.fetches)


@pytest.mark.parametrize("rejected", ["token-1", 1, True])
def test_only_a_token_is_rejected(harness: Harness, rejected: object) -> None:
    """The text of a token is refused, and not shown; what is held stays."""
    token = harness.manager.get_token()
    for report in (harness.manager.invalidate_token, harness.manager.renew_rejected):
        with pytest.raises(ConfigurationError) as caught:
            report(rejected)
        assert "token-1" not in str(caught.value)
    assert token is harness.manager.current


def test_a_late_rejection_is_free(harness: Harness) -> None:
    """Who reports a token that has been replaced gets what is held now."""
    rejected = harness.manager.get_token()
    second = harness.manager.renew_rejected(rejected)
    assert (second, 2) == (harness.manager.renew_rejected(rejected), harness.source.fetches)


def test_a_first_token_may_be_replaced_at_any_age(harness: Harness) -> None:
    """A token from the storage may have been revoked long ago, so its age in here says nothing."""
    assert "token-2" == harness.manager.renew_rejected(harness.manager.get_token()).access_token


def test_a_resource_that_rejects_all_costs_few_renewals(harness: Harness) -> None:
    """Rejected younger than a second, then two, four, ... sixty, a token is not replaced."""
    harness.manager.get_token()
    renewed_at: list[float] = []
    start = harness.clock.monotonic()
    for _ in range(3000):
        before = harness.source.fetches
        harness.manager.renew_rejected(harness.manager.get_token())
        if harness.source.fetches > before:
            renewed_at.append(harness.clock.monotonic() - start)
        harness.clock.advance(0.1)
    gaps = [round(later - earlier, 3) for earlier, later in pairwise(renewed_at)]
    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == pytest.approx(gaps, abs=0.101)


def test_the_caller_is_told_that_it_must_not_cost_a_renewal(harness: Harness) -> None:
    """None, and the token stays for all others."""
    harness.manager.renew_rejected(harness.manager.get_token())
    young = harness.manager.get_token()
    assert (None, young) == (harness.manager.renew_rejected(young), harness.manager.current)
    assert young is harness.manager.get_token()
    assert (2, True) == (harness.source.fetches, harness.manager._engine.state.limit.is_throttling)


def test_a_token_that_lived_a_while_ends_the_storm(harness: Harness) -> None:
    """After one that was not rejected young, the interval is a second again."""
    for _ in range(3):
        harness.manager.renew_rejected(harness.manager.get_token())
        harness.manager.renew_rejected(harness.manager.get_token())
        harness.clock.advance(5)
    assert harness.manager._engine.state.limit.is_throttling
    harness.clock.advance(100)
    harness.manager.renew_rejected(harness.manager.get_token())  # not young
    harness.clock.advance(100)
    harness.manager.renew_rejected(harness.manager.get_token())
    assert not harness.manager._engine.state.limit.is_throttling


def test_a_token_known_to_be_good_was_revoked(harness: Harness) -> None:
    """Where the same resource has accepted it before, its age does not matter."""
    harness.manager.renew_rejected(harness.manager.get_token())
    young = harness.manager.get_token()
    assert "token-3" == harness.manager.renew_rejected(young, was_accepted=True).access_token


def test_invalidation_by_the_user_does_not_count(harness: Harness) -> None:
    """invalidate_token and force_refresh replace tokens of any age, as often as they are called."""
    for _ in range(5):
        harness.manager.invalidate_token(harness.manager.get_token())
        harness.manager.force_refresh()
    assert 6 <= harness.source.fetches
    harness.manager.invalidate_token()
    assert harness.manager.renew_rejected(harness.manager.get_token()) is not None


def test_the_policy_sets_the_interval(make_harness: Callable[..., Harness]) -> None:
    """min_renewal_interval may be 0, which never holds a renewal back, or more than the doubling's end."""
    free = make_harness(policy=RefreshPolicy(min_renewal_interval=0))
    assert all(free.manager.renew_rejected(free.manager.get_token()) for _ in range(10))
    slow = make_harness(policy=RefreshPolicy(min_renewal_interval=100))
    slow.manager.renew_rejected(slow.manager.get_token())
    slow.clock.advance(99)
    assert slow.manager.renew_rejected(slow.manager.get_token()) is None
    slow.clock.advance(2)
    assert slow.manager.renew_rejected(slow.manager.get_token()) is not None


def test_a_renewal_that_fails_is_raised(harness: Harness) -> None:
    """The rejected token is given up all the same."""
    rejected = harness.manager.get_token()
    harness.source.then(down())
    with pytest.raises(AuthenticationError):
        harness.manager.renew_rejected(rejected)
    assert harness.manager.current is None


def test_a_renewal_has_a_time_limit(harness: Harness) -> None:
    """As every wait."""
    rejected = harness.manager.get_token()
    harness.source.hang()
    with pytest.raises(RenewalTimeoutError):
        harness.manager.renew_rejected(rejected, 0)


def test_a_foreign_token_is_no_matter(harness: Harness) -> None:
    """A rejection of a token that the manager never held gives the one it holds."""
    held = harness.manager.get_token()
    assert held is harness.manager.renew_rejected(Token("foreign"))
