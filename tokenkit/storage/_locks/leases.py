"""Leases: locks that a server frees after a while, so that their holder must ask whether it still holds one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, final

__all__ = ["LeaseBook"]

L = TypeVar("L")


@final
class LeaseBook(Generic[L]):
    """Remembers which leases this very thread holds, by key; a forked child holds none of its parent's."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    @contextmanager
    def entered(self, key: str, lease: L) -> Iterator[None]:
        """Remember *lease* for the block."""
        held = self._held()
        held[key] = lease
        try:
            yield
        finally:
            held.pop(key, None)

    def find(self, key: str) -> L | None:
        """Return the lease that this thread entered for *key*, run out or not; None where there is none."""
        return self._held().get(key)

    def _held(self) -> dict[str, L]:
        mine = self._of_thread
        if getattr(mine, "pid", None) != os.getpid():
            mine.pid, mine.held = os.getpid(), {}
        held: dict[str, L] = mine.held
        return held
