"""Tokens in Redis or Valkey: shared between hosts."""

from __future__ import annotations

import inspect
import logging
import queue
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tokenkit._checks import check_texts, seconds
from tokenkit._per_process import PerProcess
from tokenkit._secrecy.pickling import refuse_to_pickle
from tokenkit.clock import SystemClock
from tokenkit.contracts import TokenStorage
from tokenkit.errors import ConfigurationError, StorageError, StorageLockTimeoutError
from tokenkit.storage._failures import guarded
from tokenkit.storage._locks.holds import Hold
from tokenkit.storage._names import entry_name
from tokenkit.storage.codec import EntryReader, encode, matches, retention
from tokenkit.tokens import Token

__all__ = ["RedisTokenStorage"]

logger: logging.Logger = logging.getLogger("tokenkit.storage")

T = TypeVar("T")

_CLOCK = SystemClock()
_SOCKET_TIMEOUT = 2.0  # seconds, for the clients made here
_POLL_INTERVAL = 0.1  # seconds
_ENTRY = re.compile(r":\{[0-9A-Za-z_-]*-[0-9a-f]{64}\}\Z")
_PASSWORD = re.compile(r"@|[?&]password=")
_PATTERN_CHARACTERS = re.compile(r"([*?\[\]\\])")

# KEYS: entry. ARGV: the text that must be there after a '=' ('': nothing may be); the new text ('': delete); its
# lifetime in seconds ('': without end). One script, so that nobody gets in between.
_CHANGE = """
local there = redis.call('GET', KEYS[1])
if (there and '=' .. there or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
elseif ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""
# A script even to read, where a client sends its reads to replicas: they lag, and a spent refresh token is read there.
_READ = "return redis.call('GET', KEYS[1])"
_COMMANDS = "GET, SET, DEL, EVAL, EVALSHA, SCRIPT LOAD, SCAN and UNLINK"


@final
class RedisTokenStorage(TokenStorage):
    """Keeps tokens in Redis 6 or later, or Valkey, shared between all hosts that reach it.

    The server drops entries when they are of no more use. The lock is a lease: the death of its holder frees it after
    *lock_lease*, and a holder that outlives its lease overwrites nothing that the next one stored. Reads go to the
    primary, also where the client has them go to replicas otherwise. The server's user needs the commands GET, SET,
    DEL, EVAL, EVALSHA, SCRIPT LOAD, SCAN and UNLINK on the keys of this prefix. A token is sent and kept as plain
    text: use ``rediss://``, access control, and :class:`EncryptedTokenStorage` where others can read the server. A
    storage whose URL has a password is pickled only for a child that ``multiprocessing`` spawns.

    Args:
        client_or_url: A URL (``redis://``, ``rediss://``, ``unix://``), for which each process makes its own client
            with time limits of two seconds; or a ``redis.Redis``, a Sentinel's master or a ``RedisCluster``, which
            stays its maker's: give it a ``socket_timeout``, or a hanging server hangs its callers.
        key_prefix: What the server's keys begin with; storages with another one see nothing of this one.
        lock_lease: Seconds after which the server frees a lock by itself; at least what a renewal may take, which is
            ``refresh_request_timeout`` of a manager's policy. 60 by default.

    Raises:
        ConfigurationError: The client, its URL, *key_prefix* or *lock_lease* is none, or the client is one of asyncio.

    Example:
        >>> RedisTokenStorage("rediss://tokens.example.com:6379/0", key_prefix="orders")
        <RedisTokenStorage 'orders'>
    """

    def __init__(self, client_or_url: Any, key_prefix: str = "tokenkit", *, lock_lease: float = 60.0) -> None:
        check_texts(key_prefix=key_prefix)
        self._origin = client_or_url
        self._prefix = key_prefix
        self._lease = seconds("lock_lease", lock_lease, zero=False, infinite=False)
        self._clients = PerProcess(self._make_client)
        self._may_lock = PerProcess(_Once)
        self._reader = EntryReader(repr(self))
        if isinstance(client_or_url, str):
            self._refuse_bad_url()
        elif not callable(execute := getattr(client_or_url, "execute_command", None)):
            raise ConfigurationError("client_or_url must be a URL or a client of redis-py")
        elif inspect.iscoroutinefunction(execute):
            raise ConfigurationError("client_or_url must not be a client of redis.asyncio: nobody here would await it")

    def __repr__(self) -> str:  # the URL may hold a password
        return f"<RedisTokenStorage {self._prefix!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._origin, str) and _PASSWORD.search(self._origin):
            refuse_to_pickle("RedisTokenStorage", "a URL with a password")
        return partial(RedisTokenStorage, key_prefix=self._prefix, lock_lease=self._lease), (self._origin,)

    def __copy__(self) -> RedisTokenStorage:
        return RedisTokenStorage(self._origin, self._prefix, lock_lease=self._lease)

    def __deepcopy__(self, memo: object) -> RedisTokenStorage:
        return self.__copy__()  # a client is shared: it is its maker's, and does not copy

    @property
    def lock_lease(self) -> float:
        return self._lease

    def get(self, key: str) -> Token | None:
        return self._call("reading an entry", lambda client: self._reader.read(key, self._raw(client, key)))

    def get_strict(self, key: str) -> Token | None:
        return self._call(
            "reading an entry", lambda client: self._reader.read(key, self._raw(client, key), strict=True)
        )

    def set(self, key: str, token: Token) -> None:
        seconds = retention(token, _CLOCK.time())
        self._call("writing an entry", lambda client: client.set(self._entry(key), encode(token), ex=seconds))

    def delete(self, key: str) -> None:
        self._call("deleting an entry", lambda client: client.delete(self._entry(key)))

    def clear(self) -> None:
        """Forget every entry under this prefix. It walks over all keys of the server, so it may take a while."""
        self._call("clearing", self._remove_all)

    def delete_if_equal(self, key: str, token: Token) -> bool:
        return self._call("deleting an entry", lambda client: self._change(client, key, token, None))

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        return self._call("replacing an entry", lambda client: self._change(client, key, expected, token))

    def lock(self, key: str, timeout: float) -> Hold:
        """Return what holds *key*'s lock, which is a lease of *lock_lease* seconds.

        See :meth:`~tokenkit.contracts.TokenStorage.lock`.
        """
        return _Lease(lambda: self._call("making a lock", lambda client: self._lock(client, key)), timeout)

    def close(self) -> None:
        """Close the client that was made from a URL; a client that was given is its maker's to close."""
        client = self._clients.pop()
        if client is not None and client is not self._origin:
            guarded("closing", client.close)

    def _make_client(self) -> Any:
        if not isinstance(self._origin, str):
            return self._origin
        # No retry: the repetition of a lock's SET NX would find the lock that the lost answer gave it.
        return redis.Redis.from_url(
            self._origin,
            socket_timeout=_SOCKET_TIMEOUT,
            socket_connect_timeout=_SOCKET_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )

    def _refuse_bad_url(self) -> None:
        try:
            redis.Redis.from_url(self._origin).close()
            return
        except (ValueError, TypeError):
            pass
        raise ConfigurationError("client_or_url is no URL that redis-py knows")  # its error quotes the password

    def _call(self, doing: str, use: Callable[[Any], T]) -> T:
        def permitted() -> T:
            try:
                return use(self._clients.get())
            except redis.exceptions.NoPermissionError:
                raise StorageError(f"{doing} failed: the server's user needs the commands {_COMMANDS}") from None

        return guarded(doing, permitted)

    def _entry(self, key: str) -> str:
        # The braces are a hash tag: a cluster keeps an entry and its lock on one node, as the script needs.
        return f"{self._prefix}:{{{entry_name(key)}}}"

    def _lock(self, client: Any, key: str) -> Any:
        lock = client.lock(f"{self._entry(key)}:lock", timeout=self._lease, sleep=_POLL_INTERVAL, thread_local=False)
        if not self._may_lock.get().done:
            # A lock is given back by a script. A user who may run none is told before there is a lock that would stay.
            with suppress(redis.exceptions.LockNotOwnedError):
                lock.do_release(secrets.token_hex(16))
            self._may_lock.get().done = True
        return lock

    def _raw(self, client: Any, key: str) -> bytes | None:
        entry = self._entry(key)
        command = ("EVAL", _READ, 1, entry) if isinstance(client, redis.RedisCluster) else ("GET", entry)
        # NEVER_DECODE: a client with decode_responses would raise on what is not UTF-8 instead of returning it.
        raw: bytes | None = client.execute_command(*command, NEVER_DECODE=True)
        return raw

    def _change(self, client: Any, key: str, expected: Token | None, token: Token | None) -> bool:
        # Tokens are compared here, since equal ones may differ in their text; the script compares the text as read.
        raw = self._raw(client, key)
        if not matches(self._reader.read(key, raw), expected):
            return False
        seconds = None if token is None else retention(token, _CLOCK.time())
        arguments = [
            b"" if raw is None else b"=" + raw,
            "" if token is None else encode(token),
            "" if seconds is None else seconds,
        ]
        return bool(client.eval(_CHANGE, 1, self._entry(key), *arguments))

    def _remove_all(self, client: Any) -> None:
        pattern = _PATTERN_CHARACTERS.sub(r"\\\1", self._prefix) + ":{*}"
        for found in client.scan_iter(match=pattern, count=500):
            name = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
            if _ENTRY.fullmatch(name, len(self._prefix)):
                client.unlink(found)


@final
class _Once:
    """Whether something was done in this process."""

    done = False


@final
class _Lease(Hold):
    """One turn with a lock of the server's."""

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make = make
        self._timeout = max(0.0, timeout)
        self._owner = secrets.token_hex(16)
        self._lock: Any = None  # from when the server may have granted it
        self._is_held = False

    def take(self) -> None:
        lock = self._make()
        self._lock = lock
        deadline = _CLOCK.monotonic() + self._timeout
        if not guarded("locking", lambda: lock.acquire(blocking_timeout=self._timeout, token=self._owner)):
            self._lock = None
            # redis-py does not wait until the end where its next try would come after it.
            _CLOCK.nap(queue.SimpleQueue(), deadline - _CLOCK.monotonic())
            raise StorageLockTimeoutError("another holds the storage's lock")
        self._is_held = True

    def give_back(self) -> None:
        lock = self._lock
        if lock is None:
            return
        try:
            lock.do_release(self._owner)  # only if it is this owner's
        except Exception as error:  # what the block did is done; the server frees the lock when its lease is over
            if self._is_held:
                logger.warning(
                    "a lock could not be released before its lease ran out: %s [lock-kept]", type(error).__name__
                )
        self._lock = None
