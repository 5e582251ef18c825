"""What a health page shows of a manager."""

import dataclasses
import json
from collections.abc import Callable

import pytest
from support.scripted import Harness, down

from tokenkit import AuthenticationError
from tokenkit.events import FailureFacts
from tokenkit.storage import InMemoryTokenStorage


def test_before_the_first_token(harness: Harness) -> None:
    """There is nothing, and nothing is planned; to ask fetches nothing."""
    status = harness.manager.status()
    assert ("scripted", "absent", False) == (status.service_name, status.state, status.has_usable_token)
    assert (None, None, 0) == (status.seconds_left, status.next_renewal, status.attempts)
    assert 0 == harness.source.fetches


def test_the_states_of_a_token(make_harness: Callable[..., Harness]) -> None:
    """Fresh, due and expired, with the time that is left."""
    harness = make_harness(background=False)
    harness.manager.get_token()
    fresh = harness.manager.status()
    assert ("fresh", 3590, 2880) == (fresh.state, fresh.seconds_left, fresh.next_renewal)
    harness.clock.advance(3000)
    due = harness.manager.status()
    assert ("due", 590, 0, True) == (due.state, due.seconds_left, due.next_renewal, due.has_usable_token)
    harness.clock.advance(1000)
    expired = harness.manager.status()
    assert ("expired", 0, False) == (expired.state, expired.seconds_left, expired.has_usable_token)


def test_a_token_that_never_expires(make_harness: Callable[..., Harness]) -> None:
    """It has no time left to tell, and no renewal to come."""
    harness = make_harness(lifetime=None)
    harness.manager.get_token()
    status = harness.manager.status()
    assert ("fresh", None, None) == (status.state, status.seconds_left, status.next_renewal)


def test_who_waits_is_counted(harness: Harness) -> None:
    """While an attempt is under way."""
    gate = harness.source.hang()
    waiting = harness.ask(3)
    assert gate.reached()
    harness.parked(3)
    status = harness.manager.status()
    assert (3, True, 1, 0) == (status.waiters, status.is_renewing, status.attempts, status.next_renewal)
    gate.release()
    assert 1 == len({one.result(5) for one in waiting})
    assert 0 == harness.manager.status().waiters


def test_what_happened_is_counted(make_harness: Callable[..., Harness]) -> None:
    """Renewals, failures and those in a row, whose facts stay."""
    harness = make_harness(background=False)
    harness.manager.get_token()
    harness.source.then(down("down"), down("down"))
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            harness.manager.force_refresh()
    harness.clock.advance(5)
    status = harness.manager.status()
    assert (3, 1, 2, 2) == (status.attempts, status.renewals, status.failures, status.failures_in_a_row)
    assert status.last_failure == FailureFacts(
        "AuthenticationError", None, None, None, True, status.last_failure.retry_in
    )
    assert 5 == status.last_failure_age
    harness.manager.force_refresh()
    status = harness.manager.status()
    assert (2, 0, 2) == (status.renewals, status.failures_in_a_row, status.failures)
    assert "AuthenticationError" == status.last_failure.kind


def test_adopted_tokens_are_counted(make_harness: Callable[..., Harness]) -> None:
    """They are no renewals of this process."""
    storage = InMemoryTokenStorage()
    make_harness(storage=storage).manager.get_token()
    harness = make_harness(storage=storage)
    harness.manager.get_token()
    status = harness.manager.status()
    assert (1, 0) == (status.adopted, status.renewals)


def test_a_stopped_manager_says_so(harness: Harness) -> None:
    """Its token stays usable, and nothing is planned."""
    harness.manager.get_token()
    harness.manager.stop()
    status = harness.manager.status()
    assert (True, True, None) == (status.is_stopped, status.has_usable_token, status.next_renewal)


def test_it_is_frozen_and_fit_for_json(harness: Harness) -> None:
    """And holds no token."""
    harness.manager.get_token()
    status = harness.manager.status()
    text = json.dumps(dataclasses.asdict(status))
    assert "token-1" not in text
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.state = "fresh"
