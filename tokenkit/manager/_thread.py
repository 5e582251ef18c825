"""The daemon thread that renews ahead of expiry.

It knows its owner weakly, so that a dropped manager is collected and its thread ends.
"""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from typing import Protocol, final

from tokenkit.clock import Clock

__all__ = ["Renewable", "RenewalThread"]

logger = logging.getLogger("tokenkit.manager")

_LONGEST_NAP = 60.0  # seconds: however wrong a schedule is, a collected owner or a changed clock is seen by then


class Renewable(Protocol):
    """What a renewal thread asks of its owner."""

    def tick(self, thread: RenewalThread) -> float | None:
        """Do what is to be done now; return the seconds until there may be more, or None to end *thread*."""


@final
class RenewalThread:
    """A daemon thread that calls its owner's ``tick`` whenever it is woken or the time has come.

    It naps on a mailbox rather than a condition, because the collector may run the callback that wakes it in a
    thread that holds any lock, and ``SimpleQueue.put`` is safe even there.
    """

    def __init__(self, owner: Renewable, clock: Clock, name: str) -> None:
        mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._mailbox = mailbox
        self._clock = clock
        self._owner = weakref.ref(owner, lambda _: mailbox.put(None))
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)

    def start(self) -> None:
        """Start it; called once.

        Raises:
            RuntimeError: The system gives no thread.
        """
        self._thread.start()

    def wake(self) -> None:
        """End its nap, now or the next one. Never blocks."""
        self._mailbox.put(None)

    def join(self, timeout: float) -> None:
        """Wait at most *timeout* seconds for its end; not at all when called from itself or before its start."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(min(timeout, threading.TIMEOUT_MAX))

    @property
    def has_ended(self) -> bool:
        """Whether it was started and has ended. A thread lost to a fork may say no: compare process ids first."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def _live(self) -> None:
        while True:
            nap = self._tick()
            if nap is None:
                return
            self._clock.nap(self._mailbox, min(max(nap, 0.0), _LONGEST_NAP))

    def _tick(self) -> float | None:
        owner = self._owner()  # held for this call only, or the manager could never be collected
        if owner is None:
            return None
        try:
            return owner.tick(self)
        except BaseException as error:  # whatever happens, callers must not lose their thread
            logger.error("the renewal thread goes on after %s", type(error).__name__)
            return 1.0
