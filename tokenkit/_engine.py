"""The one class with a lock, a condition and a thread: it has a manager's token renewed and lets callers wait for it.

What is held and when it is due is in :mod:`tokenkit._holding`, attempts and the thread's life in
:mod:`tokenkit._renewal`. The states of a token, and each race as a story, are in the docs under concurrency.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import weakref
from dataclasses import dataclass
from typing import NoReturn, final

from tokenkit._asking import as_token_error, wall_time
from tokenkit._forks import PerProcess
from tokenkit._holding import Holding
from tokenkit._renewal import Attempt, Attempts, RenewalThread
from tokenkit._shared import SharedSource
from tokenkit.clock import Clock
from tokenkit.errors import AuthenticationError, RenewalError, RenewalStoppedError, RenewalTimeoutError, own_copy
from tokenkit.events import Announcer
from tokenkit.options import FetchOptions
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Engine"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Call:
    """One caller's wait; touched by its thread alone."""

    deadline: float
    limit: float  # seconds that an attempt started for it may take
    after: int  # only a token of a later generation will do
    report_error: bool
    skip_back_off: bool
    joined: Attempt | None = None


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
        self._policy = policy
        self._clock = clock
        self._announcer = announcer
        self._name = name
        self._background = background
        self._fork_gate = PerProcess(threading.Lock)  # held only while a forked child is being set up
        # Guarded by _renewed, and kept over a fork:
        self.holding = Holding(policy, clock)  # also read without it, but for its snapshot's sake only
        self._stopped = False
        self._begin_process()
        _engines.add(self)

    def _begin_process(self) -> None:
        """Make what a forked child must not inherit: its parent's lock may be held for ever, its thread is gone."""
        self._renewed = threading.Condition(threading.Lock())  # notified when a token or an attempt lands, and on stop
        # Guarded by _renewed, and of this process alone:
        self._attempts = Attempts(self._name)
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
            self._refuse_reentry_locked()
            now = self._clock.monotonic()
            snapshot = self.holding.usable(now)
            after = self.holding.generations if options.renew_required else -1
            missing = "renew_required" if snapshot else "expired" if self.holding.known else "absent"
            hit = snapshot is not None and not options.renew_required
            ahead = self._ahead_locked(now) if hit and self._background else None
        if snapshot is not None and hit:
            self._offer(ahead)
            self._announcer.tell("cache_hit", "due" if now >= snapshot.due_at else "fresh")
            return snapshot.token
        self._announcer.tell("cache_miss", missing)
        return self._wait(_Call(now + timeout, limit, after, options.report_error, options.renew_synchronous))

    def request(self) -> None:
        """Have the thread renew as soon as the back-off allows; return at once."""
        self.enter_process()
        with self._renewed:
            self.holding.wanted = True
            ahead = self._ahead_locked(self._clock.monotonic())
            thread = self._thread
        self._offer(ahead)
        if thread is not None:
            thread.wake()

    def invalidate(self, rejected: Token | None, *, counted: bool, trusted: bool = False) -> bool:
        """Give up the token held, as :meth:`Holding.give_up` says; return False where it is too young for that."""
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
            self._stopped = True
            thread = self._thread
            self._renewed.notify_all()
        if thread is not None:
            thread.wake()

    def join(self, grace: float) -> None:
        """Wait at most *grace* seconds for the thread's end."""
        self.enter_process()
        with self._renewed:
            thread = self._thread
        if thread is not None:
            thread.join(grace)

    # Waiting

    def _wait(self, call: _Call) -> Token:
        while True:
            with self._renewed:
                found = self._pursue_locked(call)
            if isinstance(found, Token):
                return found
            if not found.offered:
                self._offer(found)
            elif self._claim(found, background=False):
                self._run(found)

    def _pursue_locked(self, call: _Call) -> Token | Attempt:
        """Wait for a token; return early with an attempt that *call*'s thread has to offer or to run itself."""
        while True:
            now = self._clock.monotonic()
            snapshot = self.holding.usable(now)
            if snapshot is not None and snapshot.generation > call.after:
                return snapshot.token
            if self._stopped:
                raise RenewalStoppedError(f"the token manager of {self._name} is stopped")
            self._report_locked(call)
            attempt = call.joined = self._joinable_locked(call, now)
            if attempt is not None and attempt.needs_caller(now, call.deadline):
                return attempt
            if now >= call.deadline:
                raise RenewalTimeoutError(f"no token of {self._name} in time; its renewal goes on")
            until = self.holding.retry_at if attempt is None else attempt.next_change()
            self._clock.wait(self._renewed, min(until, call.deadline) - now)

    def _report_locked(self, call: _Call) -> None:
        """Raise the failure of the attempt that *call* waited for, if it has failed."""
        if call.joined is None or call.joined.error is None or not call.joined.done:
            return
        call.skip_back_off = False  # it has had the attempt that it asked for
        if call.report_error:
            self._raise_own(call.joined.error)

    def _joinable_locked(self, call: _Call, now: float) -> Attempt | None:
        """Return the attempt to wait for; None where the back-off allows none yet and *call* waits for that."""
        attempt = self._attempts.under_way(now)
        if attempt is not None:
            return attempt
        if now < self.holding.retry_at and not call.skip_back_off:
            if call.report_error and self.holding.failure is not None:
                self._raise_own(self.holding.failure)
            return None
        return self._request_locked(now, call.limit)

    def _raise_own(self, error: AuthenticationError) -> NoReturn:
        # One instance raised in two threads would mix their tracebacks.
        own = own_copy(error)
        own.service_name = own.service_name or self._name
        raise own from (error.__cause__ or error)

    def _refuse_reentry_locked(self) -> None:
        if self._attempts.is_inside():
            raise RuntimeError(f"the source of {self._name} called back into the manager that is asking it")

    # Attempts

    def _request_locked(self, now: float, limit: float) -> Attempt:
        hung = self._attempts.current
        attempt = self._attempts.request(now, limit)
        if hung is not None and hung.background:
            self._thread = None  # it ends when its attempt comes back
        return attempt

    def _ahead_locked(self, now: float) -> Attempt | None:
        """Return the attempt that should be begun although no caller waits for it, if there is one."""
        attempt = self._attempts.under_way(now)
        if attempt is not None:
            return attempt if attempt.unclaimed else None
        if self._stopped or now < self.holding.renew_at():
            return None
        try:
            return self._request_locked(now, self._policy.seconds("refresh_request_timeout"))
        except RenewalError as error:
            logger.warning("%s", error)
            return None

    def _offer(self, attempt: Attempt | None) -> None:
        """Hand *attempt* to the thread, starting one if there is none; where none is to be had, a caller leads."""
        if attempt is None or attempt.offered:
            return
        with self._renewed:
            attempt.offered = True
            thread = self._thread
            is_new = thread is None or thread.has_ended
            if not self._background or sys.is_finalizing():
                thread, is_new = None, False
            elif is_new:
                thread = self._thread = RenewalThread(self, self._clock, f"tokenkit {self._name}")
            if thread is None:
                attempt.pick_up_by = -math.inf
        if thread is not None and not is_new:
            thread.wake()
        elif thread is not None:
            self._start(thread, attempt)

    def _start(self, thread: RenewalThread, attempt: Attempt) -> None:
        try:
            thread.start()  # without the lock: it waits until the new thread runs
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            with self._renewed:
                if self._thread is thread:
                    self._thread = None
                attempt.pick_up_by = -math.inf
                self._renewed.notify_all()

    def _claim(self, attempt: Attempt, *, background: bool) -> bool:
        """Make the calling thread the one that runs *attempt*, unless another does."""
        with self._renewed:
            if attempt is not self._attempts.current or not attempt.unclaimed:
                return False
            attempt.start(self._clock.monotonic(), background=background)
            return True

    def _run(self, attempt: Attempt) -> None:
        """Fetch with no lock held, then land: an attempt always lands, or its waiters hang."""
        try:
            with self._renewed:
                known, rejected = self.holding.known, self.holding.rejected
            attempt.token, attempt.adopted = self._source.renew(attempt, known, rejected)
        except Exception as error:
            attempt.error = as_token_error(error)
        except BaseException as error:  # KeyboardInterrupt while a caller leads: it is his, the failure is everyone's
            attempt.error = AuthenticationError(f"the renewal was cut short by {type(error).__name__}", transient=True)
            if not attempt.background:
                raise
        finally:
            self._land(attempt)

    def _land(self, attempt: Attempt) -> None:
        with self._renewed:
            now = self._clock.monotonic()
            landed = self._land_locked(attempt, now)
            thread = self._thread
            self._renewed.notify_all()
        if thread is not None and not attempt.background:
            thread.wake()  # its schedule has changed
        result = "superseded" if attempt.superseded else "error" if attempt.error else "success"
        self._announcer.tell("token_refresh", result, now - attempt.started_at, background=attempt.background)
        if landed:
            self._tell_lifetime(attempt.token, adopted=attempt.adopted, background=attempt.background)

    def _land_locked(self, attempt: Attempt, now: float) -> bool:
        self._attempts.end(attempt)
        if attempt.token is None:
            if not attempt.superseded:
                self.holding.fail(attempt.error, now)
            return False
        if attempt.superseded:
            return self.holding.improve(attempt.token, now, adopted=attempt.adopted)
        self.holding.publish(attempt.token, now, adopted=attempt.adopted)
        return True

    def _tell_lifetime(self, token: Token | None, *, adopted: bool, background: bool) -> None:
        if token is not None:
            left = token.expires_in(wall_time(self._clock))
            self._announcer.tell("token_lifetime", "adopted" if adopted else "fetched", left, background=background)

    # The thread

    def tick(self, thread: RenewalThread) -> float | None:
        """Do what is to be done ahead of callers; return the seconds to nap, or None where *thread* should end."""
        with self._renewed:
            if self._stopped or self._thread is not thread:
                return None
            now = self._clock.monotonic()
            attempt = self._ahead_locked(now)
            polls = attempt is None and now >= self.holding.poll_at
        if attempt is not None and self._claim(attempt, background=True):
            self._run(attempt)
        elif polls:
            self._poll()
        with self._renewed:
            if self._stopped or self._thread is not thread:
                return None
            return self._nap_locked()

    def _poll(self) -> None:
        with self._renewed:
            known, rejected = self.holding.known, self.holding.rejected
            self.holding.poll_at = self._clock.monotonic() + self._policy.seconds("storage_poll")
        token = self._source.look(known, rejected)
        if token is None:
            return
        with self._renewed:
            landed = self.holding.improve(token, self._clock.monotonic(), adopted=True)
            self._renewed.notify_all()
        if landed:
            self._tell_lifetime(token, adopted=True, background=True)

    def _nap_locked(self) -> float:
        now = self._clock.monotonic()
        attempt = self._attempts.current
        if attempt is None:
            wake_at = self.holding.renew_at()
        elif attempt.unclaimed:
            wake_at = now
        else:  # a caller leads; should it hang, look again now and then
            wake_at = max(attempt.deadline, now + 1.0)
        return min(wake_at, self.holding.poll_at) - now


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine.enter_process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)  # the fast path; enter_process() is the rule
