"""Django's cache connections, as a library with threads of its own needs them: one a thread, none inherited."""

from __future__ import annotations

import os
import pickle
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, final

from django import db
from django.core.cache import caches

from tokenkit.errors import StorageError
from tokenkit.storage._failures import guarded

__all__ = ["DjangoCaches"]

T = TypeVar("T")

# By name, so that no optional package is imported to ask.
_ATOMIC_ADD = {
    "django.core.cache.backends.memcached.BaseMemcachedCache",
    "django.core.cache.backends.redis.RedisCache",
    "django_redis.cache.RedisCache",
    "django_valkey.cache.ValkeyCache",
}
_OF_ONE_PROCESS = {
    "django.core.cache.backends.dummy.DummyCache",
    "django.core.cache.backends.locmem.LocMemCache",
}
# What unpickling or unpacking a foreign value may raise, beside a bare Exception of its own.
_GARBAGE = (pickle.PickleError, EOFError, zlib.error, ValueError, LookupError, AttributeError, ImportError, TypeError)

# Connections that came over a fork: kept, since to drop one may send a farewell on a socket of the parent's.
_inherited: list[Any] = []


@final
class DjangoCaches:
    """The connections to the cache *alias*, which the settings may replace at any time, as tests do.

    They are not those of ``django.core.cache.caches``: a worker forked after its parent used memcached would share
    that socket with it. Each thread makes its own, closes it when it ends, and makes a new one after a failure.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._of_thread = threading.local()

    def call(self, use: Callable[[Any], T]) -> T:
        """Return what *use* makes of this thread's cache.

        Raises:
            StorageError: The settings have no such cache, or it failed.
        """
        try:
            return guarded(f"the cache {self._alias!r}", lambda: use(self._cache()))
        except StorageError:
            self.drop()
            raise

    def read(self, name: str) -> Any:
        """Return the value under *name*; None if there is none; an empty string where it is not to be unpickled."""

        def get(cache: Any) -> Any:
            try:
                return cache.get(name)
            except _GARBAGE:
                return ""

        return self.call(get)

    def has_atomic_add(self) -> bool:
        """Return whether of many who ``add`` one key exactly one succeeds, as measured for Django's own backends."""
        return bool(self.call(_ancestry) & _ATOMIC_ADD)

    def is_of_one_process(self) -> bool:
        """Return whether no other process sees what is put into the cache."""
        return bool(self.call(_ancestry) & _OF_ONE_PROCESS)

    def drop(self) -> None:
        """Close this thread's connection; the next call makes another."""
        self._of_thread.connection = None
        with suppress(Exception):  # a database that went away is noticed by nobody outside a request
            db.close_old_connections()

    def _cache(self) -> Any:
        settings = caches.settings  # another object once they were overridden
        connection: _Connection | None = getattr(self._of_thread, "connection", None)
        if connection is None or connection.pid != os.getpid() or connection.settings is not settings:
            if self._alias not in settings:
                raise StorageError(f"CACHES has no cache {self._alias!r}")
            connection = _Connection(caches.create_connection(self._alias), settings)
            self._of_thread.connection = connection
        return connection.cache


@final
class _Connection:
    """One thread's cache object, closed when the thread ends or drops it."""

    def __init__(self, cache: Any, settings: object) -> None:
        self.cache = cache
        self.settings = settings
        self.pid = os.getpid()

    def __del__(self) -> None:
        if self.pid != os.getpid():
            _inherited.append(self.cache)
            return
        with suppress(Exception):  # it may be broken, which is why it is dropped
            self.cache.close()


def _ancestry(cache: Any) -> set[str]:
    return {f"{one.__module__}.{one.__qualname__}" for one in type(cache).__mro__}
