"""The one class with a lock, and those who wait: it has a manager's token renewed and lets callers wait for it.

What is to be done, and when, is decided in :mod:`tokenkit.manager._schedule`; who runs it is the affair of
:mod:`tokenkit._refresh_thread`. The states of a token, and each race as a story, are in the docs under concurrency.
"""

from __future__ import annotations

import contextvars
import logging
import math
import os
import queue
import sys
import threading
from functools import partial
from typing import final

from tokenkit._guard import Guard
from tokenkit._per_process import PerProcess
from tokenkit._refresh_thread import Work, refresh_thread
from tokenkit.clock import Clock
from tokenkit.events import Announcer, facts_of
from tokenkit.manager._attempts import Attempt, Run
from tokenkit.manager._condition import RenewalCondition
from tokenkit.manager._journal import Journal, Line
from tokenkit.manager._schedule import Call, Schedule
from tokenkit.manager._source import SharedSource
from tokenkit.manager._state import Rejection
from tokenkit.manager.status import ManagerStatus
from tokenkit.options import FetchOptions
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Engine"]

logger: logging.Logger = logging.getLogger("tokenkit.manager")

_LONGEST_WAIT = 1.0  # seconds: a notification that an interrupt swallowed is made up for by then
_LANDINGS = 8  # tries: an interrupt may fall into each
_fork_gate = PerProcess(Guard)  # held only while an engine of a forked child is being set up


@final
class Engine:
    """Holds one token for any number of threads.

    Callers with a fresh or due token never wait. One attempt serves all who wait; a worker of the refresh thread runs
    it, so that a caller's time limit holds whatever the source does, and where there is no thread a caller leads.
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
        # Guarded by _lock:
        self._schedule = Schedule(name, policy, clock)
        self.state = self._schedule.state  # also read without it, but for its snapshot's sake only
        self._journal = Journal(name)
        self._begin_process()
        # A logger that is asked for a level for the first time takes the lock of all logging, which the end of the
        # interpreter waits for: a worker that stands still from then on must not be inside of it.
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logger.isEnabledFor(level)

    def _begin_process(self) -> None:
        """Make what a forked child must not inherit: its parent's lock may be held for ever, its threads are gone."""
        self._lock = Guard()  # entered by `with self._lock:` alone
        self._renewed = RenewalCondition()  # notified when a token or an attempt lands, and on stop
        # Guarded by _lock, and of this process alone:
        self._schedule.begin_process()
        self._tellers: set[int] = set()  # threads that tell listeners of what has landed
        self._asked_at = math.inf  # when the refresh thread will ask, at the latest; -inf: it has been told to, at once
        self._thread = refresh_thread(self._clock)
        self._ticket = self._thread.ticket(self)
        self._pid = os.getpid()  # set last: who sees it right sees all of the above

    def enter_process(self) -> None:
        """Be ready for this process; every way off the hot path begins here, before it touches a lock.

        uWSGI forks without running any hook.
        """
        if self._pid != os.getpid():
            with _fork_gate.get():
                if self._pid != os.getpid():
                    self._begin_process()

    # What callers ask for

    def acquire(self, timeout: float, limit: float, options: FetchOptions, *, forced: bool = False) -> Token:
        """Return a usable token: the held one at once, else one that is waited for until *timeout* is over.

        Where *forced*, one that the source is asked for from now on.
        """
        self.enter_process()
        offers = False
        try:
            with self._lock:
                now = self.state.used_at = self._clock.monotonic()
                held = self.state.usable(now)
                hit = None if options.renew_required else held
                after = self.state.generations if options.renew_required else -1
                if options.renew_required:
                    self.state.predecessor.force_out(held.token if held else None)
                missing = "renew_required" if held else "expired" if self.state.snapshot else "absent"
                reason = "forced" if held else self.state.reason(now)
                if hit is None:
                    self._schedule.refuse_reentry()
                elif self._background:
                    offers = self._needs_offer_locked(now, options.renew_synchronous)
        except RuntimeError:  # this very thread is inside, in a signal handler or a __del__, or calls back
            held = self.state.usable(self._clock.monotonic())
            if held is None or options.renew_required:
                raise
            return held.token
        if hit is not None:
            if offers:
                self._offer()
            self._announcer.tell("cache_hit", "due" if now >= hit.due_at else "fresh")
            return hit.token
        self._announcer.tell("cache_miss", missing, reason=reason)
        asked_after = now if forced else -math.inf
        return self._wait(
            Call(now + timeout, limit, after, options.report_error, options.renew_synchronous, asked_after)
        )

    def _needs_offer_locked(self, now: float, skip_back_off: bool) -> bool:
        """Return whether the thread must be told that there is something to do ahead of callers."""
        attempt = self._schedule.ahead(now) if skip_back_off else self._schedule.attempts.current
        if attempt is not None and attempt.needs_caller(now):
            self._asked_at = math.inf  # if it was told, it has not come
            return True
        is_told = self._asked_at <= now and self._thread.runs()
        return self._schedule.plan(now)[1] is not None and not is_told

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits, or an attempt is under way. No lock: a hint."""
        one = self._schedule.attempts.current  # unclaimed, with nobody waiting: an interrupted caller left it
        return self._renewed.waiters > 0 or (one is not None and not one.unclaimed)

    def request(self) -> None:
        """Have the thread renew as soon as the back-off allows; return at once."""
        self.enter_process()
        with self._lock:
            self.state.wanted = True
            stopped = self._schedule.stopped
        if not stopped:
            self._offer()  # in the back-off there is nothing to do yet, but somebody must be there when it is over

    def invalidate(self, rejection: Rejection) -> bool:
        """Give up the token held, as :meth:`TokenState.give_up` says; return False where it is too young for that."""
        self.enter_process()
        with self._lock:
            now = self._clock.monotonic()
            given_up = self.state.give_up(rejection, now)
            line = self._journal.refuse(self.state, now) if given_up is False else None
        self._log(line)
        if given_up:
            result = "requested" if rejection.token is None else "rejected"
            self._announcer.tell("cache_invalidate", result, reason=result)
        return given_up is not False

    def take(self, token: Token) -> None:
        """Hold *token*, which a person's sign-in has brought, in the place of whatever is held."""
        self.enter_process()
        with self._lock:
            now = self._clock.monotonic()
            self.state.publish(token, now, asked_at=now)
            self._renewed.notify_all()
            if self._background and not self._schedule.stopped:
                self._tell_locked(self._schedule.next_change(now))
            line = self._journal.sign_in()
        self._ensure_thread()
        self._log(line)
        left = token.expires_in(self._clock.now())
        self._announcer.tell("token_lifetime", "fetched", left, reason="requested")

    def stop(self) -> None:
        """Renew no more and fail who waits."""
        self.enter_process()
        with self._lock:
            self._schedule.stopped = True
            self._renewed.notify_all()
            if self._asked_at < math.inf:
                self._tell_locked(-math.inf)  # there is nothing to wait for any more

    def join(self, grace: float) -> None:
        """Wait at most *grace* seconds for the attempt under way, whoever runs it, and then a moment for listeners."""
        self.enter_process()
        until, ran = self._clock.monotonic() + grace, True
        while not sys.is_finalizing():  # no other thread runs any more, then
            with self._lock:
                now, runs = self._clock.monotonic(), self._schedule.attempts.runs_elsewhere
                if ran and not runs:  # it has landed
                    until = min(until, now + _LONGEST_WAIT)
                ran = runs
                if now >= until or not (runs or self._tellers - {threading.get_ident()}):
                    return
                mailbox = self._renewed.join()
            self._nap(mailbox, until - now)

    # Waiting

    def _wait(self, call: Call) -> Token:
        while True:
            leads = False
            with self._lock:
                now = self._clock.monotonic()
                found = self._schedule.consult(call, now)
                if isinstance(found, float):
                    mailbox = self._renewed.join()  # only who waits is listed
                elif isinstance(found, Attempt):
                    leads = found.offered  # here, for another may offer it in a moment
            if isinstance(found, Token):
                return found
            if isinstance(found, float):
                self._nap(mailbox, found - now)
            elif leads:
                self._run(found, until=call.deadline)
            else:
                self._offer()

    def _nap(self, mailbox: queue.SimpleQueue[None], seconds: float) -> None:
        try:
            self._clock.nap(mailbox, min(seconds, _LONGEST_WAIT))
        finally:
            self._renewed.leave(mailbox)

    # Attempts

    def _offer(self) -> None:
        """Have the thread see to what there is, starting it if need be; where none is to be had, a caller leads."""
        if not self._background or sys.is_finalizing():
            self.refuse()
            return
        try:
            with self._lock:
                self._schedule.attempts.offer(self._clock.monotonic(), to_thread=True)
                self._tell_locked(-math.inf)
            self._thread.ensure()
        except BaseException as error:
            self.refuse()
            if not isinstance(error, Exception):  # Ctrl-C; anything else is about the thread, and no caller's affair
                raise

    def refuse(self) -> None:
        """Have callers lead, for no thread is to be had."""
        with self._lock:
            self._schedule.attempts.offer(self._clock.monotonic(), to_thread=False)
            self._asked_at = math.inf  # the next who needs the thread tells it again
            self._renewed.notify_all()

    def _tell_locked(self, moment: float) -> None:
        if moment < self._asked_at:
            self._thread.tell(self._ticket, moment)
            self._asked_at = moment

    def _run(self, attempt: Attempt, until: float = math.inf, *, background: bool = False) -> None:
        """Run *attempt*, unless another thread does: fetch with no lock held, then land, or its waiters would hang."""
        try:
            try:
                self._fetch(attempt, until, background)
            finally:
                self._settle(attempt)
        finally:
            self._settle(attempt)  # an interrupt may have fallen in before the first one had begun

    def _fetch(self, attempt: Attempt, until: float, background: bool) -> None:
        with self._lock:
            if not self._schedule.may_start(attempt):
                return
            now = self._clock.monotonic()
            run = attempt.run = Run(
                attempt.request,
                now,
                self.state.generations,
                background=background,
                until=until,
                challenge=self.state.challenge,
                known=self.state.known,
                rejected=self.state.rejected,
            )
            line = self._journal.begin(attempt, now)
        self._log(line)
        # In an empty context: what a caller has set, such as a deadline or a span, is none of the source's.
        ask = self._source.renew if attempt.request.asks else self._source.look
        contextvars.Context().run(ask, run)

    def _settle(self, attempt: Attempt) -> None:
        """Land *attempt* if this thread ran it and it has not landed, however often an interrupt falls in."""
        interrupt: BaseException | None = None
        for _ in range(_LANDINGS):
            if not attempt.is_mine:
                break
            try:
                self._land(attempt)
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _land(self, attempt: Attempt) -> None:
        run = attempt.run
        assert run is not None
        with self._lock:
            now = self._clock.monotonic()
            try:
                landed = self._schedule.land(attempt, now)
            finally:
                self._renewed.notify_all()
            if self._background and not self._schedule.stopped:
                self._tell_locked(self._schedule.next_change(now))
            outcome = attempt.outcome
            line = None if outcome is None else self._journal.land(attempt, outcome, landed, self.state, now)
            self._tellers.add(threading.get_ident())
        try:
            if not run.background:
                self._ensure_thread()
            self._announce(attempt, run, now, landed)
        finally:
            try:
                self._log(line)
            finally:
                self._told()

    def _told(self) -> None:
        with self._lock:
            self._tellers.discard(threading.get_ident())
            self._renewed.notify_all()

    def _ensure_thread(self) -> None:
        """Ask for a thread, again where the last one could not be started; none is no harm to who has a token."""
        try:
            if self._background and not sys.is_finalizing():
                self._thread.ensure()
        except Exception as error:
            logger.debug("no thread is to be had for %s: %s", self._name, type(error).__name__)

    def _log(self, line: Line | None) -> None:
        if line is not None and not sys.is_finalizing():
            logger.log(*line)

    def _announce(self, attempt: Attempt, run: Run, now: float, landed: bool) -> None:
        tell = partial(self._announcer.tell, background=run.background, reason=attempt.request.reason)
        for name, result, seconds, failure in run.reports:
            tell(name, result, seconds, failure=failure)
        if run.request.asks:
            result = "superseded" if run.superseded else "success" if run.token else "error"
            error, retry_in = run.error, max(0.0, self.state.next_try_at(now) - now)
            failure = facts_of(error, retry_in) if error is not None and result == "error" else None
            tell("token_refresh", result, now - run.started_at, failure=failure)
        if landed and run.token is not None:
            left = run.token.expires_in(self._clock.now())
            result, reason = ("adopted", "adopted") if run.adopted else ("fetched", attempt.request.reason)
            tell("token_lifetime", result, left, reason=reason)

    def status(self) -> ManagerStatus:
        """Return what a health page may show."""
        self.enter_process()
        with self._lock:
            return self._journal.status(self._schedule, self._renewed.waiters, self._clock.monotonic())

    # For the refresh thread

    def tick(self, now: float) -> tuple[float, tuple[int, float] | None]:
        """Say when to ask again, and how urgent what is to be done now is, if there is anything."""
        with self._lock:
            again_at, rank = self._schedule.plan(now)
            self._asked_at = again_at if rank is None else -math.inf
            return again_at, rank

    def begin(self, now: float, may_supersede: bool) -> Work | None:
        """Return the attempt that is to be run now, if there still is one."""
        with self._lock:
            attempt = self._schedule.begin(now, may_supersede)
            if attempt is None:
                self._asked_at = math.inf
                self._tell_locked(max(self._schedule.next_change(now), now + _LONGEST_WAIT))
                return None
            again_at = self._asked_at = now + attempt.request.limit
            if attempt.request.asks:
                self._schedule.attempts.offer(now, to_thread=True)
        return Work(partial(self._run, attempt, background=True), again_at)
