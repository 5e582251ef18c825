"""One holding of a lock, as a context manager that an interrupt cannot split."""

from __future__ import annotations

import os
from abc import abstractmethod
from contextlib import AbstractContextManager

__all__ = ["Hold"]


class Hold(AbstractContextManager[None]):
    """Takes a lock on entry and gives it back on leaving; entered once.

    An exception out of a signal handler may fall into either. A generator with ``@contextmanager`` would then keep
    the lock; this one repeats :meth:`give_back`. Where even that is interrupted the lock goes with the object.
    """

    _pid = 0

    @abstractmethod
    def take(self) -> None:
        """Take the lock, noting in the object first what :meth:`give_back` has to know.

        Raises:
            StorageLockTimeoutError: It was not to be had in time.
        """

    @abstractmethod
    def give_back(self) -> None:
        """Free what was taken, if anything was. May be repeated."""

    def leave_to_parent(self) -> None:
        """Called instead of :meth:`give_back` in a forked child, where the lock is its parent's."""

    def __enter__(self) -> None:
        self._pid = os.getpid()
        try:
            self.take()
        except BaseException:
            self.give_back()
            raise

    def __exit__(self, *_: object) -> None:
        if os.getpid() != self._pid:
            self.leave_to_parent()
            return
        try:
            self.give_back()
        except Exception:
            raise
        except BaseException:
            self.give_back()
            raise
