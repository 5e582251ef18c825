"""Tokens in memory."""

import pytest

from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing._contract.concurrency import in_child
from tokenkit.testing.storage import StorageContract
from tokenkit.tokens import Token


class TestInMemoryTokenStorage(StorageContract):
    between_processes = False

    @pytest.fixture
    def storage(self) -> InMemoryTokenStorage:
        return InMemoryTokenStorage()


def test_unused_locks_are_dropped() -> None:
    """A lock that nobody holds or awaits costs nothing, however many keys there were."""
    storage = InMemoryTokenStorage()
    for number in range(100):
        with storage.lock(str(number), 0):
            pass
    table = storage._locks._tables.get()
    assert 0 == len(table.holders)
    assert {} == table.waiting


def test_a_child_finds_no_lock_held() -> None:
    """The child of a process that holds a lock, in whichever thread, is free to take its own."""
    storage = InMemoryTokenStorage()

    def child() -> bool:
        with storage.lock("key", 0):
            storage.set("key", Token("child"))
        return True

    with storage.lock("key", 0):
        assert in_child(child)
    assert storage.get("key") is None


def test_its_repr_counts_its_entries() -> None:
    """What can be said without a secret is how much there is."""
    storage = InMemoryTokenStorage()
    storage.set("key", Token("secret"))
    assert "<InMemoryTokenStorage of 1>" == repr(storage)
