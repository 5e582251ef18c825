"""What is to be done about a manager's token, and when: the decisions behind every wait and every renewal.

Decisions alone: no lock, no thread and no source. All of it is guarded by the lock of the engine that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tokenkit.clock import Clock
from tokenkit.errors import (
    AuthenticationError,
    ConfigurationError,
    RenewalStoppedError,
    RenewalTimeoutError,
    TokenKitError,
    own_copy,
)
from tokenkit.manager._attempts import Attempt, Attempts, Look
from tokenkit.manager._state import TokenState
from tokenkit.manager._thread import RenewalThread
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Call", "Schedule"]

_LOOK_AGAIN = 1.0  # seconds: how often the thread looks after an attempt that should have landed


@final
@dataclass(slots=True)
class Call:
    """One caller's wait; touched by its thread alone."""

    deadline: float
    limit: float  # seconds that an attempt started for it may take
    after: int  # only a token of a later generation will do
    report_error: bool
    skip_back_off: bool
    joined: Attempt | None = None


@final
class Schedule:
    """Knows what is held and what is under way, and says what follows from it. Guarded by the engine's lock."""

    def __init__(self, name: str, policy: RefreshPolicy, clock: Clock) -> None:
        self._name = name
        self._policy = policy
        self.holding = TokenState(policy, clock)  # also read without the lock, but for its snapshot's sake only
        self.stopped = False
        self.attempts = Attempts(name)

    def begin_process(self) -> None:
        """Forget the attempts of the process that this one was forked from; what is held stays."""
        self.attempts = Attempts(self._name)

    # For callers

    def refuse_reentry(self) -> None:
        """Raise a RuntimeError where the calling thread runs an attempt, for which it would wait itself."""
        if self.attempts.is_inside():
            raise RuntimeError(f"the source of {self._name} called back into the manager that is asking it")

    def consult(self, call: Call, now: float) -> Token | Attempt | float:
        """Say how *call* is to go on.

        Returns:
            The token it waits for; or an attempt that its thread has to offer or to run; or the moment to ask again,
            unless it is notified before.

        Raises:
            AuthenticationError: The attempt that it waited for failed, or the back-off allows none.
            RenewalTimeoutError: Its time is over.
            RenewalStoppedError: There is no token, and no more renewals.
            RenewalError: Too many attempts hang.
        """
        under_way = self._under_way(now)
        snapshot = self.holding.usable(now)
        if snapshot is not None and snapshot.generation > call.after:
            return snapshot.token
        if self.stopped:
            raise RenewalStoppedError(f"the token manager of {self._name} is stopped")
        self._report(call, now)
        attempt = call.joined = under_way or self._due(call, now)
        if attempt is not None and attempt.needs_caller(now, call.deadline):
            return attempt
        if now >= call.deadline:
            why = self.holding.failure  # what a caller who waits through failures would not hear otherwise
            raise RenewalTimeoutError(f"no token of {self._name} in time") from why
        until = self.holding.retry_at if attempt is None else attempt.next_change()
        return min(until, call.deadline)

    def _report(self, call: Call, now: float) -> None:
        """Raise the failure of the attempt that *call* waited for, if it has failed."""
        joined = call.joined
        if joined is None or not joined.done or joined.cut_short:
            return
        call.skip_back_off = False  # it has had the attempt that it asked for
        if joined.has_failed and joined.error is not None and call.report_error:
            raise self._own(joined.error, now)

    def _under_way(self, now: float) -> Attempt | None:
        """Return the attempt under way; where one hangs in storing its token, that is held before another begins."""
        attempt, hung = self.attempts.under_way(now), self.attempts.current
        if attempt is None and hung is not None and hung.token is not None:
            self._hold(hung, hung.token, now)
        return attempt

    def _due(self, call: Call, now: float) -> Attempt | None:
        """Return a new attempt; None where the back-off allows none yet and *call* waits for that."""
        if now < self.holding.retry_at and not call.skip_back_off:
            if call.report_error and self.holding.failure is not None:
                raise self._own(self.holding.failure, now)
            return None
        return self.attempts.request(now, call.limit)

    def _own(self, error: AuthenticationError, now: float) -> TokenKitError:
        # One instance raised in two threads would mix their tracebacks.
        if isinstance(error.__cause__, ConfigurationError):
            return own_copy(error.__cause__)  # not the source is wrong, but what it was given: the callers' own affair
        own = own_copy(error)
        own.service_name = own.service_name or self._name
        own.retry_after = max(0.0, self.holding.retry_at - now)  # not what the endpoint said then, but what is left
        own.__cause__ = error.__cause__ or error
        return own

    # For the thread, and for callers who need not wait

    def ahead(self, now: float, skip_back_off: bool = False) -> Attempt | None:
        """Return the attempt that should be begun although no caller waits for it, if there is one.

        Args:
            now: The monotonic time.
            skip_back_off: Begin one that was requested even if the back-off puts it off.
        """
        if self.stopped:
            return None
        attempt = self._under_way(now)
        if attempt is not None:
            return attempt if attempt.unclaimed else None
        at_once = skip_back_off and self.holding.wanted
        if (now < self.holding.renew_at() and not at_once) or self.attempts.are_exhausted:
            return None
        return self.attempts.request(now, self._policy.seconds("refresh_request_timeout"))

    def should_look(self, now: float) -> bool:
        """Return whether it is time to look into the storage; if so, note that it is done."""
        if now < self.holding.poll_at:
            return False
        self.holding.poll_at = now + self._policy.seconds("storage_poll")
        return self.attempts.look is None  # else another thread is stuck in one, and that is enough

    def look_soon(self, now: float) -> None:
        """Note that a refresh token waits to be stored, which a look does."""
        self.holding.poll_at = min(self.holding.poll_at, now + _LOOK_AGAIN)

    def begin_look(self, now: float, thread: RenewalThread) -> None:
        """Note that *thread* looks; it is lost until that is over."""
        self.attempts.look = Look(thread, now + self._policy.seconds("refresh_request_timeout"))

    def next_change(self, now: float) -> float:
        """Return the moment at which the thread should look again, unless it is woken before."""
        attempt = self.attempts.current
        if attempt is None:
            wake_at = self.holding.renew_at()
        elif attempt.unclaimed:
            wake_at = now
        else:  # a caller leads, or more hang than may be superseded
            wake_at = max(attempt.hangs_at, now + _LOOK_AGAIN)
        return min(wake_at, self.holding.poll_at)

    # Running one

    def may_start(self, attempt: Attempt) -> bool:
        """Return whether *attempt* is still to be run, and by nobody yet."""
        return attempt is self.attempts.current and attempt.unclaimed and not self.stopped

    def land(self, attempt: Attempt, now: float) -> bool:
        """Take in what *attempt* has brought; return whether its token is held now."""
        self.attempts.end(attempt, now)
        if attempt.token is None:
            if attempt.has_failed:
                self.holding.fail(attempt.error, now)
            return False
        return self._hold(attempt, attempt.token, now)

    def _hold(self, attempt: Attempt, token: Token, now: float) -> bool:
        if attempt.superseded or attempt.generation != self.holding.generations:  # it was not alone
            return self.holding.improve(token, now, adopted=attempt.adopted)
        self.holding.publish(token, now, adopted=attempt.adopted)
        return True
