"""What this process knows of the refresh tokens in a storage, and the storage may not: it failed, or lost a write.

A storage has one ledger, which all pipelines and managers of the process that use that storage share.
"""

from __future__ import annotations

import weakref
from typing import final

from tokenkit._secrecy.refresh_tokens import RefreshTokenMemory
from tokenkit.contracts import TokenStorage
from tokenkit.tokens import Token

__all__ = ["Ledger", "ledger_of"]


@final
class Ledger:
    """Safe from any thread: each step is one operation of a dict."""

    def __init__(self) -> None:
        self.memory = RefreshTokenMemory()
        self.current: dict[str, str] = {}  # by key: the refresh token that this process has spent or got last
        self.unsaved: dict[str, Token] = {}  # by key: what should be in the storage, and could not be written
        self.failing: set[str] = set()  # what of the storage fails now: lock, read, write
        self.told: set[str] = set()  # the keys whose loss at the end of this process was told

    def fails(self, what: str) -> bool:
        """Note that *what* of the storage has failed; return whether all was well before."""
        was_well = not self.failing
        self.failing.add(what)
        return was_well

    def works(self, what: str) -> bool:
        """Note that *what* of the storage has worked; return whether all is well again, for the first time."""
        if what not in self.failing:
            return False
        self.failing.discard(what)
        return not self.failing


_ledgers: weakref.WeakKeyDictionary[TokenStorage, Ledger] = weakref.WeakKeyDictionary()


def ledger_of(storage: TokenStorage) -> Ledger:
    """Return the ledger of *storage*; one of its own for a storage that cannot be told from others."""
    try:
        return _ledgers.setdefault(storage, Ledger())
    except TypeError:  # neither hashable nor weakly held: it is a user's
        return Ledger()
