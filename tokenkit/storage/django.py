"""Tokens in one of Django's caches: shared as far as that cache is."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, final

from tokenkit._checks import check_texts, seconds
from tokenkit.clock import SystemClock
from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageError
from tokenkit.storage._directory import OwnDirectory
from tokenkit.storage._directory import lock_directory as lock_directory_of
from tokenkit.storage._django_connections import DjangoCaches
from tokenkit.storage._failures import guarded
from tokenkit.storage._locks.cache import CacheLocks
from tokenkit.storage._locks.files import FileLocks
from tokenkit.storage._locks.holds import Hold
from tokenkit.storage._locks.threads import KeyLocks
from tokenkit.storage._names import entry_name, readable_part
from tokenkit.storage.codec import EntryReader, encode, matches, retention
from tokenkit.tokens import Token

__all__ = ["DjangoCacheTokenStorage"]

T = TypeVar("T")

_CLOCK = SystemClock()
_WRITE_TIMEOUT = 5.0  # seconds to wait for another's write
_WRITE_LEASE = 10  # seconds a write may take
_LONGEST = 1000 * 24 * 3600  # seconds; memcached takes no date past 2038
_LOCKS_OF_PROCESS = KeyLocks()  # for caches that no other process sees: shared by all storages on them


@final
class DjangoCacheTokenStorage(TokenStorage):
    """Keeps tokens in one of Django's caches, shared as far as that cache is.

    That is between hosts on Redis and memcached, between processes on the database and files, between threads on
    LocMem. Values are JSON text.

    The lock is a lease by ``cache.add`` on Redis and memcached. Elsewhere ``add`` is not atomic, so it is a file lock,
    which holds between the processes of one user on one host. Comparing and changing is done under a second lock of
    the same kind, because a cache has no such operation: a process that is suspended for more than 10 seconds inside
    a change could undo another's. Use :class:`~tokenkit.storage.redis.RedisTokenStorage` where that matters.

    A memcached may evict an entry at any time, which costs a fetch, and a sign-in where only a refresh token could
    fetch. A ``DatabaseCache`` takes part in the caller's transaction: give it a database alias of its own, or a
    rollback loses a token that was just rotated. ``DummyCache`` keeps nothing, and every ``set`` says so.

    Args:
        cache_alias: The name of the cache in ``CACHES``.
        key_prefix: What the cache's keys begin with; storages with another one see nothing of this one.
        lock_lease: Seconds, rounded up, after which the cache frees a lock by itself; at least what a renewal may
            take, which is ``refresh_request_timeout`` of a manager's policy. 60 by default.
        lock_directory: Where lock files are, if there are any; ``~`` is the home directory. None: ``tokenkit/locks`` in
            the user's cache directory, or where there is no home directory, one in the temporary directory.

    Raises:
        ConfigurationError: *lock_lease* is no positive number, or an argument is no text.

    Example:
        >>> storage = DjangoCacheTokenStorage("default", key_prefix="orders")
        >>> storage
        <DjangoCacheTokenStorage 'default' 'orders'>
    """

    def __init__(
        self,
        cache_alias: str = "default",
        key_prefix: str = "token",
        *,
        lock_lease: float = 60.0,
        lock_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        check_texts(cache_alias=cache_alias, key_prefix=key_prefix)
        self._alias = cache_alias
        self._prefix = key_prefix
        self._lease = seconds("lock_lease", lock_lease, zero=False, infinite=False)
        self._directory = lock_directory_of(lock_directory)
        self._caches = DjangoCaches(cache_alias)
        self._cache_locks = CacheLocks(self._caches.call)
        self._file_locks = FileLocks(OwnDirectory(self._directory))
        self._reader = EntryReader(repr(self))

    def __repr__(self) -> str:
        return f"<DjangoCacheTokenStorage {self._alias!r} {self._prefix!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(DjangoCacheTokenStorage, lock_lease=self._lease, lock_directory=str(self._directory))
        return make, (self._alias, self._prefix)

    @property
    def lock_lease(self) -> float:
        return self._lease

    def get(self, key: str) -> Token | None:
        generation = self._read_generation()
        return None if generation is None else self._read(key, generation)

    def get_strict(self, key: str) -> Token | None:
        generation = self._read_generation()
        return None if generation is None else self._read(key, generation, strict=True)

    def set(self, key: str, token: Token) -> None:
        self._writing(key, lambda generation: self._put(key, generation, token))

    def delete(self, key: str) -> None:
        if self._read_generation() is not None:
            self._writing(key, lambda generation: self._remove(key, generation))

    def clear(self) -> None:
        """Forget every entry under this prefix: a new generation begins, and the cache drops the old one in time."""
        with self._write_lock("generation"):
            self._begin_generation()

    def delete_if_equal(self, key: str, token: Token) -> bool:
        def compare_and_remove(generation: str) -> bool:
            found = matches(self._read(key, generation), token)
            if found:
                self._remove(key, generation)
            return found

        return self._read_generation() is not None and self._writing(key, compare_and_remove)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        def compare_and_put(generation: str) -> bool:
            found = matches(self._read(key, generation), expected)
            if found:
                self._put(key, generation, token)
            return found

        return self._writing(key, compare_and_put)

    def lock(self, key: str, timeout: float) -> Hold:
        """Return what holds *key*'s lock; on Redis and memcached it is a lease.

        See :meth:`~tokenkit.contracts.TokenStorage.lock`.
        """
        return self._hold(self._lock_name(key), timeout, math.ceil(self._lease))

    def close(self) -> None:
        """Close this thread's connection to the cache; those of other threads end with their threads."""
        self._caches.drop()

    def _name(self, kind: str, key: str) -> str:
        # The hash covers the prefix too, which may have any length and any character: memcached takes 250, few of them.
        return f"{readable_part(self._prefix)}:{entry_name(key, self._prefix)}:{kind}"

    def _lock_name(self, key: str) -> str:
        return self._name("lock", key)

    def _hold(self, name: str, timeout: float, lease: int) -> Hold:
        if self._caches.has_atomic_add():
            return self._cache_locks.hold(name, timeout, lease)
        name = entry_name(name, self._alias)
        locks = _LOCKS_OF_PROCESS if self._caches.is_of_one_process() else self._file_locks
        return locks.hold(name, timeout)

    def _write_lock(self, key: str) -> Hold:
        return self._hold(self._name("write", key), _WRITE_TIMEOUT, _WRITE_LEASE)

    def _writing(self, key: str, change: Callable[[str], T]) -> T:
        generation = self._read_generation() or self._first_generation()
        with self._write_lock(f"entry:{key}"):
            return change(generation)

    # A cache cannot list its keys. So each real key holds a random generation, which clear() replaces; if the cache
    # evicts it, everything is absent. To count up from nothing would make cleared entries come back.

    def _read_generation(self) -> str | None:
        generation = self._caches.read(self._name("generation", ""))
        return generation if isinstance(generation, str) and generation else None

    def _first_generation(self) -> str:
        with self._write_lock("generation"):
            return self._read_generation() or self._begin_generation()

    def _begin_generation(self) -> str:
        generation = secrets.token_hex(8)
        self._keep(self._name("generation", ""), lambda: generation, None)
        return generation

    def _entry(self, key: str, generation: str) -> str:
        return self._name(f"entry:{generation}", key)

    def _read(self, key: str, generation: str, *, strict: bool = False) -> Token | None:
        content = self._caches.read(self._entry(key, generation))
        return guarded("reading an entry", lambda: self._reader.read(key, content, strict=strict))

    def _put(self, key: str, generation: str, token: Token) -> None:
        seconds = retention(token, _CLOCK.time())
        if seconds is not None and seconds > _LONGEST:
            seconds = None
        self._keep(self._entry(key, generation), lambda: encode(token), seconds)

    def _keep(self, name: str, text: Callable[[], str], seconds: int | None) -> None:
        # Read back, since most backends return nothing from a set that failed. What lives a second may be gone by then:
        # the database's entries end on a whole one.
        end = math.inf if seconds is None else _CLOCK.monotonic() + seconds - 1
        self._caches.call(lambda cache: cache.set(name, text(), seconds))
        if self._caches.read(name) is None and _CLOCK.monotonic() < end:
            raise StorageError(f"the cache {self._alias!r} did not keep an entry")

    def _remove(self, key: str, generation: str) -> None:
        self._caches.call(lambda cache: cache.delete(self._entry(key, generation)))
