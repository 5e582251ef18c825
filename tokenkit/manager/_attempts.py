"""Attempts to renew: records without a lock of their own, guarded by the lock of the engine that has them."""

from __future__ import annotations

import math
import sys
import threading
from typing import NamedTuple, final

from tokenkit.errors import AuthenticationError, RenewalError
from tokenkit.manager._thread import RenewalThread
from tokenkit.tokens import Token

__all__ = ["Attempt", "Attempts", "Look"]

_MOST_ABANDONED = 3  # hung attempts that may go on at once
_LANDING = 0.5  # seconds, or a twentieth, left of an attempt when the source's time is over: it fails rather than hangs
_PICK_UP = 1.0  # seconds: an attempt that no thread has begun by then is led by a caller


@final
class Attempt:
    """One run of the source, shared by all who wait for it. Guarded by the engine's lock, but for what is said."""

    __slots__ = (
        "_limit",
        "_runner",
        "_until",
        "adopted",
        "background",
        "cut_short",
        "deadline",
        "done",
        "error",
        "generation",
        "hangs_at",
        "holds_lock",
        "inside_storage",
        "interrupt",
        "offered",
        "pick_up_by",
        "skips_lock",
        "skips_storage",
        "started_at",
        "superseded",
        "supersedes",
        "thread",
        "token",
    )

    def __init__(
        self,
        now: float,
        limit: float,
        *,
        supersedes: bool = False,
        skips_lock: bool = False,
        skips_storage: bool = False,
    ) -> None:
        self._limit = limit  # seconds that it may take from its start
        self.supersedes = supersedes  # whether another hung when it was made
        self.skips_lock = skips_lock  # a hung predecessor of this process may hold the storage's lock for ever
        self.skips_storage = skips_storage  # one of this process hangs inside the storage
        self.pick_up_by = now + _PICK_UP
        self.offered = False  # whether the thread has been told, or is known not to be had
        # Known from its start on:
        self.started_at = now
        self.generation = 0
        self.hangs_at = math.inf
        self.deadline = math.inf  # until when the source may take
        self.thread: RenewalThread | None = None  # what runs it; None: a caller
        self.background = False
        # How it ended:
        self.done = False
        self.superseded = False
        self.cut_short = False  # by the time limit of the caller who led it: nobody else's failure
        self._until = math.inf  # that limit
        # Written by the runner alone before it lands the attempt, and read of one that hangs:
        self.holds_lock = False
        self.inside_storage = False  # rather than with the source
        self.token: Token | None = None  # from when the source gave it, so before it is stored
        self.adopted = False
        self.error: AuthenticationError | None = None
        self.interrupt: BaseException | None = None  # from a listener, for the caller who leads
        self._runner: int | None = None

    def start(self, now: float, generation: int, thread: RenewalThread | None, until: float = math.inf) -> None:
        """Note that the calling thread runs it from *now* on.

        Args:
            now: The monotonic time.
            generation: How many tokens have landed so far.
            thread: The renewal thread, where that is the one.
            until: When the caller's own time is over, where a caller leads.
        """
        self.started_at = now
        self.generation = generation
        self.hangs_at = now + self._limit
        self.deadline = min(self.hangs_at - min(_LANDING, self._limit / 20), until)
        self._until = until
        self.thread = thread
        self.background = thread is not None
        self._runner = threading.get_ident()

    def end(self, now: float) -> None:
        """Note that it has come back."""
        self.done = True
        self.cut_short = self.token is None and not self.superseded and self.deadline == self._until <= now
        if self.token is None and self.error is None:  # interrupted outside of what the source does
            self.error = AuthenticationError("the renewal broke off", transient=True)

    @property
    def has_failed(self) -> bool:
        """Whether it came back without a token and that concerns those who waited for it."""
        return self.done and self.token is None and not self.superseded and not self.cut_short

    @property
    def unclaimed(self) -> bool:
        """Whether no thread runs it yet."""
        return self._runner is None

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is the one that runs it."""
        return self._runner == threading.get_ident() and not self.done

    def needs_caller(self, now: float, deadline: float) -> bool:
        """Whether a caller must see to it: offer it to the thread, or run it, time permitting, as no thread does."""
        nobody_comes = self.pick_up_by <= now or sys.is_finalizing()
        return self.unclaimed and (not self.offered or (nobody_comes and now < deadline))

    def next_change(self) -> float:
        """Return the moment at which a waiter should look again, unless it is notified before."""
        return self.pick_up_by if self.unclaimed else self.hangs_at


class Look(NamedTuple):
    """The thread's look into the storage, which may hang as an attempt may."""

    thread: RenewalThread
    hangs_at: float


@final
class Attempts:
    """The attempt under way and those that hang. Guarded by the engine's lock; of one process alone."""

    def __init__(self, service_name: str) -> None:
        self._service_name = service_name
        self.current: Attempt | None = None  # under way, or requested and not yet begun
        self._abandoned: list[Attempt] = []  # hung, superseded, and not back yet
        self.look: Look | None = None  # under way

    def under_way(self, now: float) -> Attempt | None:
        """Return the current attempt unless it hangs, or froze with its thread when the interpreter began to end."""
        one = self.current
        if one is None or now >= one.hangs_at or (sys.is_finalizing() and not (one.unclaimed or one.is_mine)):
            return None
        return one

    def offer(self, *, to_thread: bool) -> None:
        """Note that the thread is told of the current attempt; where there is none, a caller leads at once."""
        if self.current is not None:
            self.current.offered = True
            if not to_thread:
                self.current.pick_up_by = -math.inf

    @property
    def runs_on_another_caller(self) -> bool:
        """Whether another thread than the calling one leads the current attempt, and no renewal thread."""
        one = self.current
        return one is not None and not (one.unclaimed or one.background or one.is_mine)

    def request(self, now: float, limit: float) -> Attempt:
        """Make the next attempt; one that hangs is superseded by it.

        Raises:
            RenewalError: Too many hang already, each with a thread.
        """
        hung = self.current
        if hung is not None:
            if self.are_exhausted:
                raise RenewalError(f"{_MOST_ABANDONED + 1} renewals of {self._service_name} hang; no other is started")
            hung.superseded = True
            self._abandoned.append(hung)
        self.current = Attempt(
            now,
            limit,
            supersedes=hung is not None,
            skips_lock=any(one.holds_lock for one in self._abandoned),
            skips_storage=self._has_hung_storage(now),
        )
        return self.current

    def _has_hung_storage(self, now: float) -> bool:
        if self.look is not None and self.look.hangs_at <= now:
            return True
        return any(one.inside_storage for one in self._abandoned)

    @property
    def are_exhausted(self) -> bool:
        """Whether one that hangs could not be superseded."""
        return self.current is not None and len(self._abandoned) >= _MOST_ABANDONED

    def have_lost(self, thread: RenewalThread) -> bool:
        """Return whether *thread* is stuck in one that was superseded, or busy with a look, which may be the same."""
        return any(one is not None and one.thread is thread for one in (self.look, *self._abandoned))

    def end(self, attempt: Attempt, now: float) -> None:
        """Note that *attempt* has come back, superseded or not."""
        attempt.end(now)
        if attempt is self.current:
            self.current = None
        elif attempt in self._abandoned:
            self._abandoned.remove(attempt)

    def is_inside(self) -> bool:
        """Return whether the calling thread is running one of them, that is, whether the source called back."""
        return any(one is not None and one.is_mine for one in (self.current, *self._abandoned))
