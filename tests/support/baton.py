"""Real threads in virtual time, one at a time, in an order drawn by a seed.

A thread runs while it has the baton. It may lose it at each function entry of the package, and does wherever it waits:
at a guard that another holds, at a mailbox, on the clock. Who goes on is drawn from those who can; time passes when
nobody can. So an order of events that a machine shows once a year is one seed among a thousand, and can be replayed.
Nothing is patched: threads are held up by a profile function, which sees every call.
"""

import math
import queue
import random
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

import tokenkit
from tokenkit._guard import Guard
from tokenkit.clock import Clock

PACKAGE = str(Path(tokenkit.__file__).parent)
PATIENCE = 30.0  # real seconds
MOST_STEPS = 8_000
_STARTS = ("start_new_thread", "start_joinable_thread", "_start_joinable_thread")
_RUN = threading.Thread.run.__code__


class Stuck(BaseException):
    """Nobody can go on, or nobody ends."""


class _Task:
    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.gate.acquire()
        self.can: Callable[[], bool] | None = None  # None: it may go on at any time
        self.until = math.inf  # when it goes on all the same


class Baton:
    """Runs the threads of one world.

    Args:
        seed: Decides everything.
        often: How likely a thread is interrupted at a function's entry.
    """

    def __init__(self, seed: int, often: float = 0.05) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.wall = 1_700_000_000.0
        self.stuck: str | None = None
        self.over = False
        self._often = often
        self._steps = 0
        self._tasks: dict[threading.Thread, _Task] = {}
        self._started = self._arrived = 0

    def run(self, work: Callable[[], None]) -> None:
        """Call *work* here, as the first thread of the world; raise Stuck where the world came to a stand."""
        self._tasks[threading.current_thread()] = _Task()
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
            self.over = True
            for task in () if self.stuck else self._tasks.values():  # of a stuck one, they stay where they are
                if task.gate.locked():
                    task.gate.release()
        if self.stuck:
            raise Stuck(self.stuck)

    def wait(self, can: Callable[[], bool], seconds: float | None = None) -> None:
        """Have the calling thread wait until *can* says yes, or the seconds have passed."""
        if self.over:
            return
        task = self._tasks[threading.current_thread()]
        task.can, task.until = can, math.inf if seconds is None else self.now + seconds
        self._pass_on(task)
        task.can = None

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        # Called thousands of times in a world, mostly for nothing: what is told apart first costs least.
        if event == "call":
            code = frame.f_code
            if code.co_filename.startswith(PACKAGE):
                if not self.over:
                    self._enter(frame)
            elif code is _RUN and not self.over:
                self._arrive()
        elif event == "return":
            if frame.f_code is _RUN and not self.over:
                self._depart()
        elif event == "c_call":
            if _is_get(arg):
                self._get(arg.__self__)
            elif arg.__name__ in _STARTS and not self.over:
                self._await_arrivals()  # they are numbered in the order in which they were started
                self._started += 1
        elif event == "c_exception" and arg.__name__ in _STARTS:
            self._started -= 1

    def _enter(self, frame: FrameType) -> None:
        if frame.f_code is Guard.__enter__.__code__:
            guard = frame.f_locals["self"]
            self.wait(lambda: _is_free(guard))
        elif self.random.random() < self._often:
            self._pass_on(self._tasks[threading.current_thread()])

    def _get(self, jobs: "queue.SimpleQueue[object]") -> None:
        """Wait in virtual time for what a thread takes from *jobs* next; where the world is over, nothing comes."""
        if not self.over:
            self.wait(lambda: not jobs.empty())
        if self.over and jobs.empty():
            raise queue.Empty  # as if it had lingered for long enough

    def _depart(self) -> None:
        sys.setprofile(None)  # what is left to do is its end
        del self._tasks[threading.current_thread()]
        self._next(None).gate.release()

    def _arrive(self) -> None:
        task = self._tasks[threading.current_thread()] = _Task()
        self._arrived += 1
        task.gate.acquire()

    def _pass_on(self, task: _Task) -> None:
        chosen = self._next(task)
        if chosen is not task:
            chosen.gate.release()
            is_first = threading.current_thread() is threading.main_thread()
            if not task.gate.acquire(timeout=PATIENCE if is_first else -1):
                self.stuck = self.stuck or "a thread blocks outside of the clock"
        if self.stuck:
            raise Stuck(self.stuck)

    def _next(self, me: _Task | None) -> _Task:
        self._await_arrivals()
        self._steps += 1
        main = next(iter(self._tasks.values()))
        if self._steps > MOST_STEPS:
            self.stuck = self.stuck or "nobody ends"
        if self.stuck:
            return main
        while True:
            able = [one for one in self._tasks.values() if one.can is None or one.until <= self.now or one.can()]
            if able:
                return self.random.choice(able)
            first = min(one.until for one in self._tasks.values())
            if first == math.inf:
                self.stuck = "everybody waits for ever"
                return main
            self.now = first

    def _await_arrivals(self) -> None:
        """Wait for threads that were started: they are on their way to the baton."""
        deadline = time.monotonic() + PATIENCE
        while self._started > self._arrived:
            assert time.monotonic() < deadline, "a thread was started and does not come"
            time.sleep(0)


def _is_get(function: Any) -> bool:
    return function.__name__ == "get" and isinstance(function.__self__, queue.SimpleQueue)


def _is_free(guard: Guard) -> bool:
    if guard._is_owned():  # by the thread that asks, which is about to wait for something else
        return False
    free = guard.acquire(blocking=False)
    if free:
        guard.release()
    return free


class BatonClock(Clock):
    """The world's time."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton

    def time(self) -> float:
        return self._baton.wall + self._baton.now

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), timezone.utc)

    def monotonic(self) -> float:
        return self._baton.now

    def nap(self, mailbox: queue.SimpleQueue[None], timeout: float | None) -> None:
        if self._baton.over:
            threading.Event().wait()  # its world is gone, and nobody waits for it
        if timeout is None or timeout > 0:
            self._baton.wait(lambda: not mailbox.empty(), timeout)
        try:
            mailbox.get_nowait()
        except queue.Empty:
            pass
