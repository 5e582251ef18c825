"""What a manager asks its source with, where clocks are wrong and where an answer takes longer than it is good for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from support.scripted import Harness

from tokenkit import MalformedResponseError, StorageError, Token
from tokenkit.storage import InMemoryTokenStorage

KEY = "scripted"
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def storage() -> InMemoryTokenStorage:
    return InMemoryTokenStorage()


@pytest.fixture
def harness(make_harness: Callable[..., Harness], storage: InMemoryTokenStorage) -> Harness:
    """A manager over the storage; its tokens live two hours and have refresh tokens."""
    harness = make_harness(storage=storage, lifetime=7200.0)
    harness.source.rotates = True
    return harness


def from_an_hour_ago(token: Token) -> Token:
    """Return the next token as a host dates it whose clock is an hour behind."""
    assert token.issued_at is not None
    assert token.expires_at is not None
    early = {"issued_at": token.issued_at - AN_HOUR, "expires_at": token.expires_at - AN_HOUR}
    return replace(token, access_token="theirs", refresh_token="rotated", **early)


def test_the_stored_refresh_token_is_spent_although_ours_has_a_later_date(
    harness: Harness, storage: InMemoryTokenStorage
) -> None:
    """Ours was spent by the host that stored theirs: to show it again would cost the whole family."""
    theirs = replace(from_an_hour_ago(harness.manager.get_token()), expires_at=None)
    assert theirs.issued_at is not None
    expired = replace(theirs, expires_at=theirs.issued_at + timedelta(seconds=1))
    storage.set(KEY, expired)
    harness.manager.force_refresh()
    assert "rotated" == harness.source.asked[-1].previous.refresh_token


def test_our_own_refresh_token_is_spent_where_the_storage_did_not_take_it(
    harness: Harness, storage: InMemoryTokenStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what the storage has is older, and the date says so."""
    harness.manager.get_token()

    def full(*_: object) -> bool:
        raise StorageError("the disk is full")

    monkeypatch.setattr(storage, "replace", full)
    harness.advance(1)
    ours = harness.manager.force_refresh()
    harness.advance(1)
    harness.manager.force_refresh()
    assert ours.refresh_token == harness.source.asked[-1].previous.refresh_token


def test_a_clock_that_was_set_back_loses_no_refresh_token(
    harness: Harness, make_harness: Callable[..., Harness]
) -> None:
    """Two processes take turns while their host's clock goes back an hour: each spends the newest refresh token."""
    other = make_harness(storage=harness.manager._storage, clock=harness.clock, lifetime=7200.0)
    other.source.rotates = True
    first = harness.manager.get_token()
    assert first == other.manager.get_token()
    harness.clock.step_wall(-3600)
    other.source.then(replace(first, access_token="second", refresh_token="refresh-second"))
    other.source.then(from_an_hour_ago(first))
    other.manager.force_refresh()
    other.manager.force_refresh()
    harness.manager.force_refresh()
    assert "rotated" == harness.source.asked[-1].previous.refresh_token


def test_a_token_that_expired_on_its_way_is_asked_for_again(harness: Harness) -> None:
    """As in a thread that its host starves: at once, and with the refresh token that came with it."""

    def starved(*_: object) -> Token:
        token = harness.source.token(1, lifetime=10)
        harness.clock.advance(11)
        return token

    harness.source.then(starved)
    assert "token-2" == harness.manager.get_token().access_token
    assert [None, "refresh-1"] == [one.previous and one.previous.refresh_token for one in harness.source.asked]


def test_a_token_that_was_expired_when_asked_for_is_an_error(harness: Harness) -> None:
    """To ask again would give the same."""
    harness.source.then(harness.source.token(1, lifetime=-10))
    with pytest.raises(MalformedResponseError):
        harness.manager.get_token()
    assert 1 == harness.source.fetches
