"""What a process keeps of refresh tokens while their storage is in trouble, and how it gets rid of that."""

import pickle
from datetime import datetime, timezone

import pytest
from support.steps import WatchedStorage

from tokenkit._secrecy.refresh_tokens import RefreshTokenMemory
from tokenkit._sources.grants import is_replaced, settle, take_out
from tokenkit._sources.ledger import Ledger, ledger_of
from tokenkit.errors import StorageError
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.tokens import Token

NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)
OURS, THEIRS = Token("-", refresh_token="ours"), Token("-", refresh_token="theirs")


class Busy(InMemoryTokenStorage):
    """Another writer is ahead *times* times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        self.times -= 1
        return self.times < 0 and super().replace(key, expected, token)


class Unhashable(InMemoryTokenStorage):
    """A user's class that compares by value, which Python then does not hash."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


@pytest.mark.parametrize(("times", "settled"), [(0, True), (2, True), (3, False)])
def test_what_could_not_be_stored_is_tried_three_times(times: int, settled: bool) -> None:
    """Where another writer is ahead each time it stays for the next occasion."""
    storage, ledger = Busy(times), Ledger()
    ledger.unsaved["key"] = OURS
    assert settled is settle(storage, "key", ledger)
    assert (OURS if settled else None) == storage.get("key")
    assert ({} if settled else {"key": OURS}) == ledger.unsaved


def test_a_newer_sign_in_is_not_overwritten() -> None:
    """A refresh token of which this process knows nothing is another's, and what it would have stored is dropped."""
    storage, ledger = InMemoryTokenStorage(), Ledger()
    storage.set("key", THEIRS)
    ledger.unsaved["key"] = OURS
    assert settle(storage, "key", ledger)
    assert (THEIRS, {}) == (storage.get("key"), ledger.unsaved)


def test_a_storage_that_cannot_be_told_from_others_has_nothing_remembered() -> None:
    """It works as the others do; what it fails to store is lost with the call."""
    storage = Unhashable()
    assert ledger_of(storage) is not ledger_of(storage)
    hashable = InMemoryTokenStorage()
    assert ledger_of(hashable) is ledger_of(hashable)


def test_an_answer_without_a_refresh_token_replaces_none() -> None:
    """The one that was sent stays good (RFC 6749 section 6)."""
    assert not is_replaced("key", THEIRS, Token("access"))
    assert is_replaced("key", THEIRS, OURS)


def test_a_grant_whose_access_token_is_gone_is_revoked_by_its_refresh_token() -> None:
    """Its lock is done without where the storage has none to give; the refresh token is taken out all the same."""
    storage = WatchedStorage()
    storage.inner.set("grant", OURS)
    storage.before["lock"] = _fail
    revoked: list[Token | str] = []
    take_out(storage, "key", "grant", None, revoked.append, NOW)
    assert ["ours"] == revoked
    assert storage.inner.get("grant") is None


def _fail(*_: object) -> None:
    raise StorageError("no lock")


def test_a_memory_of_refresh_tokens_is_bounded() -> None:
    """Of a thousand and one that were refused the first is forgotten."""
    memory = RefreshTokenMemory()
    for number in range(1001):
        memory.refused(str(number))
    assert [None, None] == [memory.newest(str(number)) for number in (1, 1000)]
    assert "0" == memory.newest("0")


def test_a_copied_memory_of_refresh_tokens_is_empty() -> None:
    """A pickle shows no refresh token, not even by its digest."""
    memory = RefreshTokenMemory()
    memory.replaced("spent", "newest")
    assert "newest" == memory.newest("spent")
    assert "spent" == pickle.loads(pickle.dumps(memory)).newest("spent")
