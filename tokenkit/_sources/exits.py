"""The end of the interpreter, which waits for who has sent a refresh token until the answer is stored.

A daemon thread that is cut off there takes the new refresh token with it, and the next start of the program shows the
server a spent one. Ten seconds in all is what an end may take for that.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Final, final

from tokenkit.clock import SystemClock
from tokenkit.errors import AuthenticationError

__all__ = ["Spending"]

_PATIENCE: Final = 10.0
_clock = SystemClock()
_ending = threading.Event()

_under_way: dict[Spending, None] = {}  # adding and removing are one operation each; no lock that a fork could split


@final
class Spending:
    """From before a refresh token is sent until what came of it is stored. Of one thread: make it, then :meth:`end`.

    Raises:
        AuthenticationError: The interpreter ends, and would cut this thread off; transient.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()  # a forked child does not wait for its parent's
        self._ended = threading.Event()
        self._is_main = threading.current_thread() is threading.main_thread()
        _under_way[self] = None
        if _ending.is_set() and not self._is_main:  # looked at only now: who came before it was set is waited for
            self.end()
            message = "no refresh token is spent while the interpreter ends"
            raise AuthenticationError(message, transient=True)

    def end(self) -> None:
        """Note that it is over, well or not. Twice is harmless."""
        _under_way.pop(self, None)
        self._ended.set()

    def wait(self, until: float) -> None:
        """Wait for the end, until the monotonic time *until*."""
        if self._pid == os.getpid() and not self._is_main:  # the thread that waits is not waited for
            self._ended.wait(max(0.0, until - _clock.monotonic()))


def _wait_for_all() -> None:
    _ending.set()
    until = _clock.monotonic() + _PATIENCE
    for one in list(_under_way):
        one.wait(until)


atexit.register(_wait_for_all)
