"""Tokens in this process's memory: shared by its threads, gone with it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, final

from tokenkit._guard import Guard
from tokenkit._per_process import PerProcess
from tokenkit.contracts import TokenStorage
from tokenkit.storage._locks.threads import KeyLocks
from tokenkit.tokens import Token

__all__ = ["InMemoryTokenStorage"]


@final
class InMemoryTokenStorage(TokenStorage):
    """Keeps tokens in a dict, shared between the threads of one process.

    Nothing is dropped until it is deleted. A forked child starts with a copy of the entries and with no lock held.
    A copy or a pickle of the storage is an empty storage: neither tokens nor locks leave the process. The lock is
    left with its ``with`` block, so a thread that ends, by an exception too, never keeps it.

    Example:
        >>> storage = InMemoryTokenStorage()
        >>> storage.set("billing", Token("a-token"))
        >>> storage.exists("billing")
        True
    """

    def __init__(self) -> None:
        self._guard = PerProcess(Guard)
        self._entries: dict[str, Token] = {}  # guarded by _guard; tokens are immutable and leave it as they are
        self._locks = KeyLocks()

    def __repr__(self) -> str:
        return f"<InMemoryTokenStorage of {len(self._entries)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return InMemoryTokenStorage, ()

    @property
    def outlives_process(self) -> bool:
        return False

    def get(self, key: str) -> Token | None:
        with self._guard.get():
            return self._entries.get(key)

    def set(self, key: str, token: Token) -> None:
        with self._guard.get():
            self._entries[key] = token

    def delete(self, key: str) -> None:
        with self._guard.get():
            self._entries.pop(key, None)

    def clear(self) -> None:
        with self._guard.get():
            self._entries.clear()

    def delete_if_equal(self, key: str, token: Token) -> bool:
        with self._guard.get():
            if self._entries.get(key) != token:
                return False
            del self._entries[key]
            return True

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        with self._guard.get():
            if self._entries.get(key) != expected:
                return False
            self._entries[key] = token
            return True

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        return self._locks.hold(key, timeout)
