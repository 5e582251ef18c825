"""Attempts to renew: records without a lock of their own, guarded by the lock of the engine that has them."""

from __future__ import annotations

import math
import sys
import threading
from typing import NamedTuple, final

from tokenkit._dataclasses import dataclass, replace
from tokenkit.contracts import Challenge
from tokenkit.errors import AuthenticationError, RenewalError
from tokenkit.events import FailureFacts
from tokenkit.tokens import Token

__all__ = ["Attempt", "Attempts", "Outcome", "Request", "Run"]

_MOST_ABANDONED = 3  # hung attempts that may go on at once
_MOST_EVER = 12  # however long they have hung
_LANDING = 0.5  # seconds, or a twentieth, left of an attempt when the source's time is over: it fails rather than hangs
_PICK_UP = 1.0  # seconds: an attempt that no thread has begun by then is led by a caller


@final
@dataclass(frozen=True, slots=True)
class Request:
    """What an attempt is asked."""

    limit: float  # seconds that it may take from its start
    reason: str = "due"  # why a token is wanted: a word of TokenEvent
    asks: bool = True  # False: it looks into the storage and never asks the source
    forced: bool = False  # whether the user asked for it, back-off or not
    adopts: bool = True  # whether a token that another has stored will do
    supersedes: bool = False  # whether another hung when it was made
    skips_lock: bool = False  # a hung predecessor of this process may hold the storage's lock for ever
    skips_storage: bool = False  # one of this process hangs inside the storage


@final
class Run:
    """Where an attempt stands. Written by the thread that runs it; read by others once it hangs."""

    def __init__(
        self,
        request: Request,
        now: float,
        generation: int = 0,
        *,
        background: bool = False,
        until: float = math.inf,
        challenge: Challenge | None = None,
        known: Token | None = None,
        rejected: Token | None = None,
    ) -> None:
        self.request = request
        self.started_at = now
        self.generation = generation  # how many tokens had landed when it began
        self.hangs_at = now + request.limit
        # Until when the source may take; *until* is when the time of the caller who leads is over.
        self.deadline = min(self.hangs_at - min(_LANDING, request.limit / 20), until)
        self.until = until
        self.background = background  # whether no caller leads it
        self.thread = threading.get_ident()
        self.challenge = challenge  # of who was rejected, for the source
        self.known = known  # the newest token known, usable or not, when it began
        self.rejected = rejected  # never to be adopted
        self.ahead = request.adopts and request.reason in ("due", "adopted")  # the token held is as good as ever
        self.superseded = False  # written by the engine: another has taken its place
        self.holds_lock = False
        self.inside_storage = False  # rather than with the source
        self.token: Token | None = None  # from when the source gave it, so before it is stored
        self.adopted = False
        self.has_unsaved = False  # a refresh token could not be stored yet: a look, soon, tries again
        self.outdates = False  # a look has found that another token is wanted
        self.mendable = False  # the refusal is of secrets given by reference, which may change
        self.mended = False  # a look has found that they have
        self.error: AuthenticationError | None = None
        self.cut_short = False  # by an interrupt, or the time limit, of the caller who led it: nobody else's failure
        self.reports: list[tuple[str, str, float, FailureFacts | None]] = []  # for the listeners, once it has landed

    def report(self, name: str, result: str, seconds: float, failure: FailureFacts | None = None) -> None:
        """Keep what the listeners are to hear."""
        self.reports.append((name, result, seconds, failure))

    def is_late(self, now: float) -> bool:
        """Return whether it may not ask the source any more: a successor does, or may by the time it has an answer."""
        return self.superseded or now >= self.deadline


class Outcome(NamedTuple):
    """How an attempt ended."""

    error: AuthenticationError | None
    """Why it failed, if it did and that concerns those who waited for it."""
    cut_short: bool
    """Whether who led it ended it, which concerns nobody else."""


@final
class Attempt:
    """One run of the source, shared by all who wait for it."""

    __slots__ = ("offered", "outcome", "pick_up_by", "request", "run")

    def __init__(self, request: Request, now: float) -> None:
        self.request = request
        self.pick_up_by = now + _PICK_UP
        self.offered = False  # whether the thread has been told, or is known not to be had
        self.run: Run | None = None  # none until a thread has begun it
        self.outcome: Outcome | None = None  # set once, after all else that landing does: it may be repeated till then

    @property
    def hangs_at(self) -> float:
        """When another may take its place."""
        return math.inf if self.run is None else self.run.hangs_at

    @property
    def unclaimed(self) -> bool:
        """Whether no thread runs it yet."""
        return self.run is None

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is the one that runs it."""
        return self.run is not None and self.outcome is None and self.run.thread == threading.get_ident()

    def serves(self, asked_after: float) -> bool:
        """Whether its token will do for who wants one that the source is asked for after *asked_after*."""
        if self.run is not None:
            return self.run.started_at >= asked_after
        if asked_after > -math.inf:
            self.request = replace(self.request, adopts=False)
        return True

    def judged(self, now: float, *, is_first_cut: bool) -> Outcome:
        """Return how it ended, which is set as :attr:`outcome` when all that follows from it is done.

        What is thrown into a worker is nobody's failure; but a source that throws such things itself is asked no second
        time without a back-off (*is_first_cut*).
        """
        run = self.run
        assert run is not None
        if run.token is not None or run.superseded:
            return Outcome(None, False)
        error, cut_short = run.error, run.cut_short or run.deadline == run.until <= now
        if error is None and run.request.asks:  # interrupted outside of what the source does
            error, cut_short = AuthenticationError("the renewal broke off", transient=True), True
        if cut_short and (is_first_cut or not run.background):
            return Outcome(None, True)
        return Outcome(error, False)

    def needs_caller(self, now: float, deadline: float = math.inf) -> bool:
        """Whether a caller must hand this attempt to the thread, or, until *deadline*, run what no thread will."""
        nobody_comes = self.pick_up_by <= now or sys.is_finalizing()
        return self.unclaimed and (not self.offered or (nobody_comes and now < deadline))

    def next_change(self) -> float:
        """Return the moment at which a waiter should look again, unless it is notified before."""
        return self.pick_up_by if self.unclaimed else self.hangs_at


@final
class Attempts:
    """The attempt under way and those that hang. Guarded by the engine's lock; of one process alone."""

    def __init__(self, service_name: str, one_more_each: float = math.inf) -> None:
        self._service_name = service_name
        self._one_more_each = one_more_each  # seconds
        self.current: Attempt | None = None  # under way, or requested and not yet begun
        self.look: Attempt | None = None  # into the storage, beside that
        self._abandoned: list[Attempt] = []  # hung, superseded, and not back yet

    def under_way(self, now: float) -> Attempt | None:
        """Return the current attempt unless it hangs, or froze with its thread when the interpreter began to end."""
        one = self.current
        if one is None or now >= one.hangs_at or (sys.is_finalizing() and not (one.unclaimed or one.is_mine)):
            return None
        return one

    def offer(self, now: float, *, to_thread: bool) -> None:
        """Note that the thread is told of the current attempt and look; where there is none, a caller leads at once."""
        for one in (self.current, self.look):
            if one is not None:
                one.offered = True
                one.pick_up_by = now + _PICK_UP if to_thread else -math.inf

    @property
    def runs_elsewhere(self) -> bool:
        """Whether another thread than the calling one runs the current attempt."""
        one = self.current
        return one is not None and one.run is not None and not one.is_mine

    def request(self, now: float, limit: float, *, reason: str = "due", forced: bool = False) -> Attempt:
        """Make the next attempt; one that hangs is superseded by it.

        Raises:
            RenewalError: Too many hang already, each with a thread.
        """
        hung = self.current
        if hung is not None:
            if self.are_exhausted(now):
                count = len(self._abandoned) + 1
                raise RenewalError(f"{count} renewals of {self._service_name} hang; no other is started")
            self._abandoned.append(hung)
            if hung.run is not None:
                hung.run.superseded = True
        request = Request(
            limit,
            reason,
            forced=forced,
            supersedes=hung is not None,
            skips_lock=any(one.run is not None and one.run.holds_lock for one in self._abandoned),
            skips_storage=self._has_hung_storage(now),
        )
        self.current = Attempt(request, now)
        return self.current

    def begin_look(self, now: float, limit: float) -> Attempt:
        """Make an attempt that does not ask."""
        self.look = Attempt(Request(limit, "adopted", asks=False), now)
        return self.look

    def _has_hung_storage(self, now: float) -> bool:
        if self.look is not None and self.look.hangs_at <= now:
            return True
        return any(one.run is not None and one.run.inside_storage for one in self._abandoned)

    def are_exhausted(self, now: float) -> bool:
        """Whether one that hangs may not be superseded yet: four of them are enough, then one more now and then."""
        return self.current is not None and len(self._abandoned) >= _MOST_ABANDONED and now < self.more_at()

    def more_at(self) -> float:
        """Return when the current attempt may be superseded."""
        hangs_at = math.inf if self.current is None else self.current.hangs_at
        if len(self._abandoned) < _MOST_ABANDONED:
            return hangs_at
        return hangs_at + self._one_more_each if len(self._abandoned) < _MOST_EVER else math.inf

    @property
    def hang(self) -> bool:
        """Whether there is one that hangs, or may; asked only where none may be waited for."""
        return self.current is not None or bool(self._abandoned)

    def end(self, attempt: Attempt) -> None:
        """Forget *attempt*, which has come back, superseded or not."""
        if attempt is self.current:
            self.current = None
        elif attempt is self.look:
            self.look = None
        elif attempt in self._abandoned:
            self._abandoned.remove(attempt)

    def is_inside(self) -> bool:
        """Return whether the calling thread is running one of them, that is, whether the source called back."""
        return any(one is not None and one.is_mine for one in (self.current, self.look, *self._abandoned))
