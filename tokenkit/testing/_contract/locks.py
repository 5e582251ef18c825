"""What a storage owes of its locks: one holder, bounded waiting, freed with the block or with the process."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest

from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageError, StorageLockTimeoutError
from tokenkit.testing._contract.concurrency import in_child, in_threads, killed_in_child
from tokenkit.testing._contract.entries import EntryContract
from tokenkit.tokens import Token

__all__ = ["LockContract"]

_PATIENCE = 20.0  # seconds to wait for a lock that is certain to come free


class LockContract(EntryContract):
    """The part of the contract that renewals rely on."""

    lock_slack: float = 5.0

    def test_the_lock_has_one_holder(self, storage: TokenStorage, twin: TokenStorage) -> None:
        """Whoever finds the lock held gives up when its time is over, and not before."""
        with storage.lock("key", _PATIENCE):
            started = time.monotonic()
            results = in_threads(2, lambda number: twin.lock("key", 0.3).__enter__())
            waited = time.monotonic() - started
        assert [StorageLockTimeoutError] * 2 == [type(result) for result in results]
        assert 0.2 <= waited <= 0.3 + self.lock_slack

    def test_a_timeout_of_zero_tries_once(self, storage: TokenStorage) -> None:
        """Zero takes a free lock and does not wait for one that is held."""
        with storage.lock("key", 0):
            started = time.monotonic()
            results = in_threads(1, lambda number: storage.lock("key", 0).__enter__())
            waited = time.monotonic() - started
        assert isinstance(results[0], StorageLockTimeoutError)
        assert waited <= min(2.5, self.lock_slack)
        with storage.lock("key", 0):
            pass

    def test_the_lock_is_not_reentrant(self, storage: TokenStorage) -> None:
        """A thread that holds the lock does not get it again."""
        with storage.lock("key", _PATIENCE), pytest.raises(StorageLockTimeoutError):
            storage.lock("key", 0).__enter__()

    def test_keys_are_locked_apart(self, storage: TokenStorage) -> None:
        """Two keys have two locks."""
        with storage.lock("one", _PATIENCE), storage.lock("two", _PATIENCE):
            assert isinstance(in_threads(1, lambda _: storage.lock("one", 0).__enter__())[0], StorageError)

    def test_the_lock_is_left_with_an_exception(self, storage: TokenStorage) -> None:
        """The end of the block frees the lock, however it ends."""
        with pytest.raises(ZeroDivisionError), storage.lock("key", _PATIENCE):
            raise ZeroDivisionError
        with storage.lock("key", _PATIENCE):
            pass

    def test_the_holder_reads_and_writes(self, storage: TokenStorage) -> None:
        """Every other method works for the holder of the lock, and for those who have not got it."""
        with storage.lock("key", _PATIENCE):
            assert storage.replace("key", None, self.token("1"))
            assert storage.replace("key", self.token("1"), self.token("2"))
            in_threads(1, lambda _: storage.set("key", self.token("3")))
            assert self.token("3") == storage.get("key")
            assert storage.delete_if_equal("key", self.token("3"))

    def test_the_comparison_is_the_fence(self, storage: TokenStorage) -> None:
        """The holder of the lock overwrites nothing that another wrote, and what another cleared is absent."""
        storage.set("key", self.token("1"))
        with storage.lock("key", _PATIENCE):
            in_threads(1, lambda _: storage.set("key", self.token("2")))
            assert not storage.replace("key", self.token("1"), self.token("3"))
            in_threads(1, lambda _: storage.clear())
            assert not storage.replace("key", self.token("2"), self.token("3"))
            assert storage.replace("key", None, self.token("3"))
        assert self.token("3") == storage.get("key")

    def test_clear_leaves_locks_alone(self, storage: TokenStorage) -> None:
        """What clear forgets is tokens: a lock that is held stays held."""
        with storage.lock("key", _PATIENCE):
            storage.clear()
            assert isinstance(in_threads(1, lambda _: storage.lock("key", 0).__enter__())[0], StorageError)

    def test_the_lock_orders_threads(self, storage: TokenStorage) -> None:
        """A value that each thread reads, changes and writes under the lock loses no change."""
        storage.set("key", Token("counter", scope="0"))

        def count(number: int) -> None:
            for _ in range(3):
                with storage.lock("key", _PATIENCE):
                    seen = storage.get("key")
                    assert seen is not None
                    storage.set("key", replace(seen, scope=str(int(seen.scope or 0) + 1)))

        assert [None] * 4 == in_threads(4, count)
        assert Token("counter", scope="12") == storage.get("key")

    def test_a_child_waits_for_its_parent(self, storage: TokenStorage) -> None:
        """A lock held by the parent is held for the child, and the child's end does not free it."""
        if not self.between_processes:
            pytest.skip("shared between threads only")
        with storage.lock("key", _PATIENCE):

            def child() -> bool:
                with pytest.raises(StorageLockTimeoutError):
                    storage.lock("key", 0.1).__enter__()
                return True

            assert in_child(child)
            assert in_child(child)

    def test_a_child_leaves_its_parents_lock(self, storage: TokenStorage) -> None:
        """A child that leaves the block its parent entered does not free the parent's lock."""
        lock = storage.lock("key", _PATIENCE)
        with lock:

            def child() -> bool:
                lock.__exit__(None, None, None)
                return True

            assert in_child(child)
            results = in_threads(1, lambda _: storage.lock("key", 0).__enter__())
        assert isinstance(results[0], StorageLockTimeoutError)

    def test_the_death_of_its_holder_frees_the_lock(self, mortal: TokenStorage) -> None:
        """After kill -9 of the process that holds the lock another gets it, at once or when the lease is over."""
        if not self.between_processes:
            pytest.skip("shared between threads only")

        def child() -> None:
            with mortal.lock("key", _PATIENCE):
                os.kill(os.getpid(), signal.SIGKILL)

        assert killed_in_child(child), "the child did not get the lock"
        with mortal.lock("key", _PATIENCE):
            pass
