"""What a forked child must not share with its parent: locks, threads, sockets.

A lock that another thread held when the process forked is held for ever in the child, and a socket would serve two
processes at once. ``os.register_at_fork`` is not enough: uWSGI forks without running any hook. So a value that
belongs to one process is looked up by process id each time, and nothing inherited is ever touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar, final

__all__ = ["PerProcess"]

T = TypeVar("T")


@final
class PerProcess(Generic[T]):
    """A value that each process makes for itself, at its first use there.

    Safe from any thread without a lock: of two threads that race for the first use, both get the same value and
    the other one is dropped unused, so *make* must have no effect but its result. An inherited value stays
    referenced and is not used: to close it could disturb the parent, who shares its descriptors.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}  # by process id; written only by dict.setdefault, which is atomic

    def get(self) -> T:
        """Return this process's value, making it if there is none."""
        pid = os.getpid()
        value = self._values.get(pid)
        return self._values.setdefault(pid, self._make()) if value is None else value

    def peek(self) -> T | None:
        """Return this process's value, or None where it has not been made."""
        return self._values.get(os.getpid())

    def pop(self) -> T | None:
        """Forget this process's value and return it; the next :meth:`get` makes another."""
        return self._values.pop(os.getpid(), None)
