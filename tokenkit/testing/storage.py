"""What every token storage owes: a suite of tests to inherit, for the package's storages and for yours::

    from tokenkit.testing.storage import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            storage = MyStorage(...)
            yield storage
            storage.close()

Import the class into a test module and subclass it there; pytest does the rest. Each test gets a storage that holds
nothing under the test's keys.
"""

from __future__ import annotations

import copy
import pickle

import pytest

from tokenkit.contracts import TokenStorage
from tokenkit.testing._contract.locks import LockContract

__all__ = ["StorageContract"]


class StorageContract(LockContract):
    """Tests that any :class:`~tokenkit.contracts.TokenStorage` passes. Subclass it and define :meth:`storage`.

    Attributes:
        between_processes: Whether processes share the storage; False leaves their tests out.
        lock_slack: Seconds by which :meth:`~tokenkit.contracts.TokenStorage.lock` may overstay its timeout here.
    """

    @pytest.fixture
    def storage(self) -> TokenStorage:
        """Give the storage to test. Override this one."""
        raise TypeError(f"{type(self).__name__} must define the fixture 'storage'")

    @pytest.fixture
    def twin(self, storage: TokenStorage) -> TokenStorage:
        """Give another object for the same storage, as another program would make it; by default the very one."""
        return storage

    @pytest.fixture
    def mortal(self, storage: TokenStorage) -> TokenStorage:
        """Give a storage whose lock is free within 20 s after its holder was killed; by default the very one.

        Override it where a lock is a lease, with one that is short.
        """
        return storage

    def test_closing_is_harmless(self, storage: TokenStorage) -> None:
        """A storage may be closed twice, and used again."""
        storage.set("key", self.token())
        storage.close()
        storage.close()
        storage.set("key", self.token("2"))
        assert self.token("2") == storage.get("key")

    def test_its_repr_shows_no_secret(self, storage: TokenStorage) -> None:
        """Neither repr nor str of a storage shows what it keeps."""
        storage.set("key", self.token())
        assert not any(kind in f"{storage!r} {storage!s}" for kind in ("access-secret", "refresh-secret"))

    def test_a_copy_holds_no_token_of_its_own(self, storage: TokenStorage) -> None:
        """A deep copy is a storage that works, beside the first one or on the same entries."""
        storage.set("key", self.token())
        twin = copy.deepcopy(storage)
        assert twin.get("key") in (self.token(), None)
        twin.set("key", self.token("2"))
        assert self.token("2") == twin.get("key")
        twin.close()

    def test_a_pickle_holds_no_token(self, storage: TokenStorage) -> None:
        """Pickling carries the configuration at most."""
        storage.set("key", self.token())
        try:
            text = pickle.dumps(storage)
        except Exception:
            pytest.skip("does not pickle, as what holds a client or a secret should not")
        assert b"access-secret" not in text
        assert isinstance(pickle.loads(text), type(storage))
