"""What a manager asks its source with, where clocks are wrong and where an answer takes longer than it is good for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from scripted import Rig

from tokenkit import MalformedResponseError, StorageError, Token
from tokenkit.storage import InMemoryTokenStorage

KEY = "scripted"
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def storage() -> InMemoryTokenStorage:
    return InMemoryTokenStorage()


@pytest.fixture
def rig(make_rig: Callable[..., Rig], storage: InMemoryTokenStorage) -> Rig:
    """A manager over the storage; its tokens live two hours and have refresh tokens."""
    rig = make_rig(storage=storage, lifetime=7200.0)
    rig.source.rotates = True
    return rig


def from_an_hour_ago(token: Token) -> Token:
    """Return the next token as a host dates it whose clock is an hour behind."""
    assert token.issued_at is not None
    assert token.expires_at is not None
    early = {"issued_at": token.issued_at - AN_HOUR, "expires_at": token.expires_at - AN_HOUR}
    return replace(token, access_token="theirs", refresh_token="rotated", **early)


def test_the_stored_refresh_token_is_spent_although_ours_has_a_later_date(
    rig: Rig, storage: InMemoryTokenStorage
) -> None:
    """Ours was spent by the host that stored theirs: to show it again would cost the whole family."""
    theirs = replace(from_an_hour_ago(rig.manager.get_token()), expires_at=None)
    assert theirs.issued_at is not None
    expired = replace(theirs, expires_at=theirs.issued_at + timedelta(seconds=1))
    storage.set(KEY, expired)
    rig.manager.force_refresh()
    assert "rotated" == rig.source.asked[-1].previous.refresh_token


def test_our_own_refresh_token_is_spent_where_the_storage_did_not_take_it(
    rig: Rig, storage: InMemoryTokenStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what the storage has is older, and the date says so."""
    rig.manager.get_token()

    def full(*_: object) -> bool:
        raise StorageError("the disk is full")

    monkeypatch.setattr(storage, "replace", full)
    rig.advance(1)
    ours = rig.manager.force_refresh()
    rig.advance(1)
    rig.manager.force_refresh()
    assert ours.refresh_token == rig.source.asked[-1].previous.refresh_token


def test_a_clock_that_was_set_back_loses_no_refresh_token(rig: Rig, make_rig: Callable[..., Rig]) -> None:
    """Two processes take turns while their host's clock goes back an hour: each spends the newest refresh token."""
    other = make_rig(storage=rig.manager._storage, clock=rig.clock, lifetime=7200.0)
    other.source.rotates = True
    first = rig.manager.get_token()
    assert first == other.manager.get_token()
    rig.clock.step_wall(-3600)
    other.source.then(replace(first, access_token="second", refresh_token="refresh-second"))
    other.source.then(from_an_hour_ago(first))
    other.manager.force_refresh()
    other.manager.force_refresh()
    rig.manager.force_refresh()
    assert "rotated" == rig.source.asked[-1].previous.refresh_token


def test_a_token_that_expired_on_its_way_is_asked_for_again(rig: Rig) -> None:
    """As in a thread that its host starves: at once, and with the refresh token that came with it."""

    def starved(*_: object) -> Token:
        token = rig.source.token(1, lifetime=10)
        rig.clock.advance(11)
        return token

    rig.source.then(starved)
    assert "token-2" == rig.manager.get_token().access_token
    assert [None, "refresh-1"] == [one.previous and one.previous.refresh_token for one in rig.source.asked]


def test_a_token_that_was_expired_when_asked_for_is_an_error(rig: Rig) -> None:
    """To ask again would give the same."""
    rig.source.then(rig.source.token(1, lifetime=-10))
    with pytest.raises(MalformedResponseError):
        rig.manager.get_token()
    assert 1 == rig.source.fetches
