"""Tokens in the system's keyring: shared by one user's programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, final

import keyring
from keyring.backend import KeyringBackend

from tokenkit._checks import check_texts
from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageError
from tokenkit.storage._directory import OwnDirectory
from tokenkit.storage._directory import lock_directory as lock_directory_of
from tokenkit.storage._failures import guarded
from tokenkit.storage._locks.files import FileLocks
from tokenkit.storage._names import entry_name
from tokenkit.storage.codec import EntryReader, encode, matches
from tokenkit.tokens import Token

__all__ = ["KeyringTokenStorage"]

T = TypeVar("T")

_MARK = ".entry"  # an empty file with this ending for each entry written, since a keyring cannot list them
_WRITE_TIMEOUT = 5.0  # seconds


@final
class KeyringTokenStorage(TokenStorage):
    """Keeps tokens in the system's keyring: Secret Service, KWallet, macOS Keychain, Windows Credential Locker.

    A keyring knows neither locks nor comparing: both are done under lock files in the user's cache directory, so they
    hold between programs of one user that use this class. A locked keyring may ask the user for a password, and the
    caller waits for the answer. Windows takes about 1,200 characters an entry, less than many tokens have. A backend
    that keeps nothing (keyring's ``null``, which ``keyring --disable`` chooses) is told by every write.

    Args:
        service: The name that the entries stand under in the keyring.
        backend: A backend to use; None: the one that keyring finds at each use.
        lock_directory: Where the lock files are, and an empty file for each entry; ``~`` is the home directory. None:
            ``tokenkit/locks`` in the user's cache directory, or where there is no home directory, one in the temporary
            directory.

    Raises:
        ConfigurationError: *service* or *lock_directory* is none.

    Example:
        >>> storage = KeyringTokenStorage("orders")
        >>> storage
        <KeyringTokenStorage 'orders'>
    """

    def __init__(
        self,
        service: str = "tokenkit",
        *,
        backend: KeyringBackend | None = None,
        lock_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        check_texts(service=service)
        self._service = service
        self._backend = backend
        self._directory = lock_directory_of(lock_directory)
        own = OwnDirectory(self._directory / f"keyring-{entry_name(service)}")
        self._marks = own
        self._locks = FileLocks(own, ".lock")
        self._writes = FileLocks(own, ".write")
        self._reader = EntryReader(repr(self))

    def __repr__(self) -> str:
        return f"<KeyringTokenStorage {self._service!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(KeyringTokenStorage, backend=self._backend, lock_directory=self._directory), (self._service,)

    def __deepcopy__(self, memo: object) -> KeyringTokenStorage:
        return KeyringTokenStorage(self._service, backend=self._backend, lock_directory=self._directory)

    def get(self, key: str) -> Token | None:
        return guarded("reading the keyring", lambda: self._reader.read(key, self._read(entry_name(key))))

    def get_strict(self, key: str) -> Token | None:
        return guarded("reading the keyring", lambda: self._reader.read(key, self._read(entry_name(key)), strict=True))

    def set(self, key: str, token: Token) -> None:
        self._locked(lambda: self._put(key, token))

    def delete(self, key: str) -> None:
        self._locked(lambda: self._remove(entry_name(key)))

    def clear(self) -> None:
        """Forget what this service's programs have written with this *lock_directory*.

        A keyring cannot list its entries: there may be more, by programs with another lock directory.
        """

        def remove_all() -> None:
            for mark in guarded("listing what was written", lambda: list(self._marks.path.glob(f"*{_MARK}"))):
                self._remove(mark.name.removesuffix(_MARK))

        self._locked(remove_all)

    def delete_if_equal(self, key: str, token: Token) -> bool:
        def compare_and_remove() -> bool:
            found = matches(self.get(key), token)
            if found:
                self._remove(entry_name(key))
            return found

        return self._locked(compare_and_remove)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        def compare_and_put() -> bool:
            found = matches(self.get(key), expected)
            if found:
                self._put(key, token)
            return found

        return self._locked(compare_and_put)

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        return self._locks.hold(entry_name(key), timeout)

    def _locked(self, change: Callable[[], T]) -> T:
        # One lock for all entries: a keyring that is a file is written as a whole.
        with self._writes.hold("all", _WRITE_TIMEOUT):
            return change()

    def _ring(self) -> KeyringBackend:
        return self._backend or keyring.get_keyring()

    def _read(self, name: str) -> str | None:
        return guarded("reading the keyring", lambda: self._ring().get_password(self._service, name))

    def _write(self, name: str, text: Callable[[], str]) -> None:
        guarded("writing to the keyring", lambda: self._ring().set_password(self._service, name, text()))

    def _put(self, key: str, token: Token) -> None:
        name = entry_name(key)
        guarded("noting what is written", self._mark(name).touch)  # first: what clear() cannot find would stay for ever
        self._write(name, lambda: encode(token))
        if self._read(name) is None:
            raise StorageError("the keyring did not keep an entry; its backend may be the null one")

    def _remove(self, name: str) -> None:
        if self._read(name) is not None:  # a keyring refuses to delete what it has not
            guarded("deleting from the keyring", lambda: self._ring().delete_password(self._service, name))
        guarded("noting what is deleted", lambda: self._mark(name).unlink(missing_ok=True))

    def _mark(self, name: str) -> Path:
        return self._marks.path / f"{name}{_MARK}"
