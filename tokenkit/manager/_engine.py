"""The one class with a lock, a condition and a thread: it has a manager's token renewed and lets callers wait for it.

What is to be done, and when, is decided in :mod:`tokenkit.manager._schedule`; attempts and the thread's life are in
:mod:`tokenkit.manager._attempts`. The states of a token, and each race as a story, are in the docs under concurrency.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import weakref
from typing import final

from tokenkit._per_process import PerProcess
from tokenkit.clock import Clock
from tokenkit.events import Announcer
from tokenkit.manager._attempts import Attempt
from tokenkit.manager._schedule import Call, Schedule
from tokenkit.manager._source import SharedSource
from tokenkit.manager._thread import RenewalThread
from tokenkit.options import FetchOptions
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Engine"]

logger = logging.getLogger("tokenkit.manager")


@final
class Engine:
    """Holds one token for any number of threads.

    Callers with a fresh or due token never wait. One attempt serves all who wait; a daemon thread runs it, so that
    a caller's time limit holds whatever the source does, and where there is no such thread a caller leads.
    """

    def __init__(
        self,
        source: SharedSource,
        policy: RefreshPolicy,
        clock: Clock,
        announcer: Announcer,
        *,
        name: str,
        background: bool,
    ) -> None:
        # Set here, never reassigned:
        self._source = source
        self._clock = clock
        self._announcer = announcer
        self._name = name
        self._background = background
        self._fork_gate = PerProcess(threading.Lock)  # held only while a forked child is being set up
        # Guarded by _renewed:
        self._schedule = Schedule(name, policy, clock)
        self.holding = self._schedule.holding  # also read without it, but for its snapshot's sake only
        self._begin_process()
        _engines.add(self)

    def _begin_process(self) -> None:
        """Make what a forked child must not inherit: its parent's lock may be held for ever, its thread is gone."""
        self._renewed = threading.Condition(threading.Lock())  # notified when a token or an attempt lands, and on stop
        # Guarded by _renewed, and of this process alone:
        self._schedule.begin_process()
        self._thread: RenewalThread | None = None
        self._pid = os.getpid()  # set last: who sees it right sees all of the above

    def enter_process(self) -> None:
        """Be ready for this process; every way off the hot path begins here, before it touches a lock.

        uWSGI forks without running any hook, and says that a thread lost to the fork is alive.
        """
        if self._pid != os.getpid():
            with self._fork_gate.get():
                if self._pid != os.getpid():
                    self._begin_process()

    # What callers ask for

    def acquire(self, timeout: float, limit: float, options: FetchOptions) -> Token:
        """Return a usable token: the held one at once, else one that is waited for until *timeout* is over."""
        self.enter_process()
        with self._renewed:
            now = self._clock.monotonic()
            snapshot = self.holding.usable(now)
            after = self.holding.generations if options.renew_required else -1
            missing = "renew_required" if snapshot else "expired" if self.holding.snapshot else "absent"
            hit = snapshot is not None and not options.renew_required
            if not hit:
                self._schedule.refuse_reentry()
            ahead = self._schedule.ahead(now, options.renew_synchronous) if hit and self._background else None
        if snapshot is not None and hit:
            if ahead is not None and not ahead.offered:
                self._offer()
            self._announcer.tell("cache_hit", "due" if now >= snapshot.due_at else "fresh")
            return snapshot.token
        self._announcer.tell("cache_miss", missing)
        return self._wait(Call(now + timeout, limit, after, options.report_error, options.renew_synchronous))

    def request(self) -> None:
        """Have the thread renew as soon as the back-off allows; return at once."""
        self.enter_process()
        with self._renewed:
            self.holding.wanted = True
            self._schedule.ahead(self._clock.monotonic())
            stopped = self._schedule.stopped
        if not stopped:
            self._offer()  # in the back-off there is nothing to offer yet, but somebody must be there when it is over

    def invalidate(self, rejected: Token | None, *, counted: bool, trusted: bool = False) -> bool:
        """Give up the token held, as :meth:`TokenState.give_up` says; return False where it is too young for that."""
        self.enter_process()
        with self._renewed:
            given_up = self.holding.give_up(rejected, self._clock.monotonic(), counted=counted, trusted=trusted)
        if given_up:
            self._announcer.tell("cache_invalidate", "requested" if rejected is None else "rejected")
        return given_up is not False

    def stop(self) -> None:
        """Renew no more and fail who waits."""
        self.enter_process()
        with self._renewed:
            self._schedule.stopped = True
            thread = self._thread
            self._renewed.notify_all()
        if thread is not None:
            thread.wake()

    def join(self, grace: float) -> None:
        """Wait at most *grace* seconds for the thread's end, and for an attempt that a caller leads."""
        self.enter_process()
        if sys.is_finalizing():
            return  # no other thread runs any more
        deadline = self._clock.monotonic() + grace
        with self._renewed:
            thread = self._thread
        if thread is not None:
            thread.join(grace)
        with self._renewed:
            while self._schedule.attempts.runs_on_another_caller and (left := deadline - self._clock.monotonic()) > 0:
                self._clock.wait(self._renewed, left)

    # Waiting

    def _wait(self, call: Call) -> Token:
        while True:
            with self._renewed:
                found = self._pursue_locked(call)
            if isinstance(found, Token):
                return found
            if found.offered:
                self._run(found, None, until=call.deadline)
            else:
                self._offer()

    def _pursue_locked(self, call: Call) -> Token | Attempt:
        """Wait for a token; return early with an attempt that *call*'s thread has to offer or to run itself."""
        while True:
            now = self._clock.monotonic()
            found = self._schedule.consult(call, now)
            if not isinstance(found, float):
                return found
            self._clock.wait(self._renewed, found - now)

    # Attempts

    def _offer(self) -> None:
        """Have the thread see to what there is, starting one if need be; where none is to be had, a caller leads."""
        possible = self._background and not sys.is_finalizing()
        new: RenewalThread | None = None
        try:
            with self._renewed:
                self._schedule.attempts.offer(to_thread=possible)
                thread = self._thread
                if possible and (thread is None or thread.has_ended or self._schedule.attempts.have_lost(thread)):
                    thread = new = self._thread = RenewalThread(self, self._clock, f"tokenkit {self._name}")
            if new is not None:
                new.start()  # without the lock: it waits until the new thread runs
            elif thread is not None:
                thread.wake()
        except BaseException as error:  # one that may not have started would be waited for, for ever
            with self._renewed:
                if new is not None and self._thread is new:
                    self._thread = None
                self._schedule.attempts.offer(to_thread=False)
                self._renewed.notify_all()
            if not isinstance(error, RuntimeError):  # no more threads, or the interpreter is shutting down
                raise

    def _run(self, attempt: Attempt, thread: RenewalThread | None, until: float = math.inf) -> None:
        """Run *attempt*, unless another thread does: fetch with no lock held, then land, or its waiters would hang."""
        try:
            with self._renewed:
                if not self._schedule.may_start(attempt):
                    return
                attempt.start(self._clock.monotonic(), self.holding.generations, thread, until)
                known, rejected = self.holding.known, self.holding.rejected
            if attempt.supersedes and not sys.is_finalizing():
                logger.warning("a renewal of %s hangs; another one starts beside it", self._name)
            self._source.run(attempt, known, rejected)
        finally:
            try:
                if attempt.is_mine:
                    self._land(attempt)
            except BaseException:  # Ctrl-C, perhaps before it had landed: nobody else would do it
                if attempt.is_mine:
                    self._land(attempt)
                raise

    def _land(self, attempt: Attempt) -> None:
        with self._renewed:
            now = self._clock.monotonic()
            try:
                landed = self._schedule.land(attempt, now)
            finally:
                self._renewed.notify_all()
            if self._source.has_unsaved:
                self._schedule.look_soon(now)
            thread = self._thread
        if thread is not None and not attempt.background:
            thread.wake()  # its schedule has changed
        result = "superseded" if attempt.superseded else "success" if attempt.token else "error"
        self._announcer.tell("token_refresh", result, now - attempt.started_at, background=attempt.background)
        if landed:
            self._tell_lifetime(attempt.token, adopted=attempt.adopted, background=attempt.background)

    def _tell_lifetime(self, token: Token | None, *, adopted: bool, background: bool) -> None:
        if token is not None:
            left = token.expires_in(self._clock.now())
            self._announcer.tell("token_lifetime", "adopted" if adopted else "fetched", left, background=background)

    # The thread

    def tick(self, thread: RenewalThread) -> float | None:
        """Do what is to be done ahead of callers; return the seconds to nap, or None where *thread* should end."""
        with self._renewed:
            if not self._is_serving_locked(thread):
                return None
            now = self._clock.monotonic()
            attempt = self._schedule.ahead(now)
            looks = attempt is None and self._schedule.should_look(now)
            if looks:
                self._schedule.begin_look(now, thread)
        if attempt is not None:
            self._run(attempt, thread)
        elif looks:
            self._look()
        with self._renewed:
            if not self._is_serving_locked(thread):
                return None
            now = self._clock.monotonic()
            return self._schedule.next_change(now) - now

    def _is_serving_locked(self, thread: RenewalThread) -> bool:
        return self._thread is thread and not self._schedule.stopped

    def _look(self) -> None:
        with self._renewed:
            known, rejected = self.holding.known, self.holding.rejected
        try:
            token = self._source.look(known, rejected)
        finally:
            with self._renewed:
                self._schedule.attempts.look = None
                if self._source.has_unsaved:
                    self._schedule.look_soon(self._clock.monotonic())
        if token is None:
            return
        with self._renewed:
            landed = self.holding.improve(token, self._clock.monotonic(), adopted=True)
            self._renewed.notify_all()
        if landed:
            self._tell_lifetime(token, adopted=True, background=True)


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine.enter_process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)  # the fast path; enter_process() is the rule
