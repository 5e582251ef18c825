"""Who waits for a renewal: each has a mailbox of its own, so that nobody waits with the lock held."""

from __future__ import annotations

import queue
from typing import final

__all__ = ["RenewalCondition"]


@final
class RenewalCondition:
    """Wakes those who wait for a token. Guarded by the lock of the engine that has it, but for :meth:`leave`.

    ``threading.Condition`` will not do: it waits by Python code that releases and takes the lock, and a signal that
    falls into that leaves the lock locked, or lets go of one that another thread holds.
    """

    __slots__ = ("_mailboxes",)

    def __init__(self) -> None:
        self._mailboxes: set[queue.SimpleQueue[None]] = set()

    @property
    def waiters(self) -> int:
        """How many wait."""
        return len(self._mailboxes)

    def join(self) -> queue.SimpleQueue[None]:
        """Return a mailbox that the next notification fills; its owner naps on it once it has let go of the lock."""
        mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._mailboxes.add(mailbox)
        return mailbox

    def leave(self, mailbox: queue.SimpleQueue[None]) -> None:
        """Forget *mailbox*. Needs no lock; if an interrupt skips it, the next notification forgets all the same."""
        self._mailboxes.discard(mailbox)

    def notify_all(self) -> None:
        """Wake everyone who waits."""
        mailboxes, self._mailboxes = self._mailboxes, set()
        for mailbox in list(mailboxes):  # in one step: without a global lock, somebody may just be leaving the old set
            mailbox.put(None)
