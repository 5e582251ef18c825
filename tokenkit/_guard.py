"""The lock that no interrupt splits: a signal's exception may fall anywhere, and the lock is free afterwards.

``with threading.Lock():`` is not enough. CPython 3.14 looks for signals between the C lock's ``__enter__`` and the
block, and ``acquire(); try: ...`` has that gap on every version; ``with condition:`` has it at both ends.
"""

from __future__ import annotations

import sys
from _thread import RLock
from typing import final

__all__ = ["Guard"]

_LAST_WAIT = 1.0  # seconds, where the interpreter ends


@final
class Guard(RLock):  # type: ignore[misc]  # final in the stubs; CPython lets it be subclassed
    """A lock between threads, entered by ``with guard:`` alone; what is done under it takes microseconds.

    It is of the C type for the sake of its ``__exit__``: no Python code runs between the end of the block and the
    release. On entry there is some, and whatever falls into that gives the lock back. Of the re-entrant kind it is
    because only that knows who holds it; a thread that is inside is refused, as it could find the guarded fields
    half-written.

    Raises:
        RuntimeError: On entry: the calling thread is inside already, in a signal handler, or a ``__del__`` that the
            collector runs; or the interpreter ends, and a thread that no longer runs has kept the lock.
    """

    def __enter__(self) -> bool:  # type: ignore[override]  # to the stubs it is acquire
        if self._is_owned():  # type: ignore[attr-defined]  # Condition asks it too; not in the stubs
            raise RuntimeError("this thread is inside already: a signal handler or a __del__ interrupts it there")
        try:
            # Once the interpreter ends, daemon threads stand still for ever, some of them with a lock.
            if self.acquire(timeout=_LAST_WAIT if sys.is_finalizing() else -1):
                return True
        except BaseException:
            try:
                self.release()  # before anything else is called: a second signal may be waiting behind the first
            except RuntimeError:
                pass  # it fell in before the lock was taken
            raise
        raise RuntimeError("the interpreter ends, and a thread that stands still has kept this lock")
