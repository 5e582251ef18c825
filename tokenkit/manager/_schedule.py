"""What is to be done about a manager's token, and when: the decisions behind every wait and every renewal.

Decisions alone: no lock, no thread and no source. All of it is guarded by the lock of the engine that has it.
"""

from __future__ import annotations

import math
from typing import final

from tokenkit._dataclasses import dataclass
from tokenkit._refresh_thread import AT_ONCE
from tokenkit.clock import Clock
from tokenkit.errors import (
    AuthenticationError,
    ConfigurationError,
    RenewalStoppedError,
    RenewalTimeoutError,
    SignInRequiredError,
    TokenKitError,
    own_copy,
)
from tokenkit.manager._attempts import Attempt, Attempts, Run
from tokenkit.manager._state import TokenState
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Call", "Schedule"]

_SLOW = 2.0  # seconds: whose last attempt took longer gets a place behind all others
_LOOK_AGAIN = 1.0  # seconds: until what could not be stored is stored, and between two looks for another's sign-in
_LOOK_FOR_SECRET = 10.0  # seconds: between two looks whether a refused secret has been replaced
_REST = 3600.0  # seconds: how often the thread asks who has nothing for it to do, but may have
_AHEAD, _SLOWLY, _LOOK = 0, 1, 2  # ranks of what nobody waits for


@final
@dataclass(slots=True)
class Call:
    """One caller's wait; touched by its thread alone."""

    deadline: float
    limit: float  # seconds that an attempt started for it may take
    after: int  # only a token of a later generation will do
    report_error: bool
    skip_back_off: bool
    asked_after: float = -math.inf  # only a token that the source was asked for later will do, and none of a storage
    joined: Attempt | None = None


@final
class Schedule:
    """Knows what is held and what is under way, and says what follows from it. Guarded by the engine's lock."""

    def __init__(self, name: str, policy: RefreshPolicy, clock: Clock) -> None:
        self._name = name
        self._policy = policy
        self.state = TokenState(policy, clock)  # also read without the lock, but for its snapshot's sake only
        self._limit = policy.seconds("refresh_request_timeout")  # of an attempt that no caller has asked for
        self.stopped = False
        self._is_slow = False
        self._look_at = -math.inf  # when to look for another's sign-in or another secret, for who has no token
        self._is_mendable = False  # whether secrets given by reference were refused, which may change
        self._cut_short: Attempt | None = None  # the last one, if an interrupt fell into its worker
        self.begin_process()

    def begin_process(self) -> None:
        """Forget the attempts of the process that this one was forked from; what is held stays."""
        self.attempts = Attempts(self._name, self._policy.seconds("max_retry_timeout"))

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
        snapshot = self.state.usable(now)
        if snapshot is not None and snapshot.generation > call.after and snapshot.asked_at >= call.asked_after:
            return snapshot.token
        if self.stopped:
            raise RenewalStoppedError(f"the token manager of {self._name} is stopped")
        self._report(call, now)
        attempt = under_way or self._due(call, now)
        if attempt is not None and attempt.serves(call.asked_after):
            call.joined = attempt
        if attempt is not None and attempt.needs_caller(now, call.deadline):
            return attempt
        if now >= call.deadline:
            why = self.state.failure  # what a caller who waits through failures would not hear otherwise
            raise RenewalTimeoutError(f"no token of {self._name} in time") from why
        until = self.state.retry_at if attempt is None else attempt.next_change()
        return min(until, call.deadline)

    def _report(self, call: Call, now: float) -> None:
        """Raise the failure of the attempt that *call* waited for, if it has failed."""
        joined = call.joined
        outcome = None if joined is None else joined.outcome
        if outcome is None or (outcome.cut_short and now < call.deadline):
            return
        call.skip_back_off = False  # it has had the attempt that it asked for, or its time
        if outcome.error is not None and call.report_error:
            raise self._own(outcome.error, now)

    def _under_way(self, now: float) -> Attempt | None:
        """Return the attempt under way; where one hangs in storing its token, that is held before another begins."""
        attempt, hung = self.attempts.under_way(now), self.attempts.current
        if attempt is None and hung is not None and hung.run is not None and hung.run.token is not None:
            self._hold(hung.run, hung.run.token, now)
        return attempt

    def _due(self, call: Call, now: float) -> Attempt | None:
        """Return a new attempt; None where the back-off allows none yet and *call* waits for that."""
        if now < self.state.retry_at and not call.skip_back_off:
            look = self._look_for_help(call, now)
            if look is not None:
                return look
            if call.report_error and self.state.failure is not None:
                raise self._own(self.state.failure, now)
            return None
        reason = "forced" if call.after >= 0 else self.state.reason(now)
        return self.attempts.request(now, call.limit, reason=reason, forced=call.skip_back_off)

    def _look_for_help(self, call: Call, now: float) -> Attempt | None:
        """Return a look, where a person may have signed in elsewhere meanwhile, or a secret may have been replaced."""
        needs_person = isinstance(self.state.failure, SignInRequiredError)
        if not (needs_person or self._is_mendable) or self.state.usable(now) is not None:
            return None
        if call.asked_after > -math.inf or now >= call.deadline:  # it may not have what is stored, or may not wait
            return None
        look = self.attempts.look
        if look is None and now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN
            return self.attempts.begin_look(now, call.limit)
        return None if look is None or now >= look.hangs_at else look

    def _own(self, error: AuthenticationError, now: float) -> TokenKitError:
        # One instance raised in two threads would mix their tracebacks.
        if isinstance(error.__cause__, ConfigurationError):
            return own_copy(error.__cause__)  # not the source is wrong, but what it was given: the callers' own affair
        own = own_copy(error)
        own.service_name = own.service_name or self._name
        own.retry_after = max(0.0, self.state.retry_at - now)  # not what the endpoint said then, but what is left
        own.__cause__ = error.__cause__ or error
        return own

    # For the thread, and for callers who need not wait

    def plan(self, now: float) -> tuple[float, tuple[int, float] | None]:
        """Return when to ask again, and the rank of what is to be done by then, if there is anything."""
        self.state.see_wall(now)
        if self.stopped:
            return math.inf, None
        if self._unclaimed(now) is not None:
            return self._next_look(now), AT_ONCE
        if self._is_due(now):
            snapshot = self.state.snapshot
            most_urgent_first = math.inf if snapshot is None else snapshot.expired_at
            # Until there is a place for it only a look can come up: to be asked before then would be for nothing.
            return self._next_look(now), (_SLOWLY if self._is_slow else _AHEAD, most_urgent_first)
        return self.next_change(now), (_LOOK, now) if self._should_look(now) else None

    def begin(self, now: float, may_supersede: bool) -> Attempt | None:
        """Return what the thread shall have run now, if there is anything to do.

        Args:
            now: The monotonic time.
            may_supersede: Whether one may be begun beside one that hangs, though no caller waits for it.
        """
        if self.stopped:
            return None
        unclaimed = self._unclaimed(now)
        if unclaimed is not None:
            return unclaimed
        if self._is_due(now) and (may_supersede or not self.attempts.hang):
            return self.attempts.request(now, self._limit, reason=self.state.reason(now))
        if self._should_look(now):
            self.state.poll_at = now + (self._policy.seconds("storage_poll") or math.inf)
            self._look_for_secret(now)
            return self.attempts.begin_look(now, self._limit)
        return None

    def ahead(self, now: float) -> Attempt | None:
        """Return the attempt that a caller who need not wait for it asks for in spite of the back-off, if any."""
        if self.stopped or not self.state.wanted or self._under_way(now) or self.attempts.are_exhausted(now):
            return self.attempts.current
        return self.attempts.request(now, self._limit, reason=self.state.reason(now), forced=True)

    def _unclaimed(self, now: float) -> Attempt | None:
        """Return what somebody waits for and no thread runs yet."""
        attempt, look = self._under_way(now), self.attempts.look
        if attempt is not None and attempt.unclaimed:
            return attempt
        return look if look is not None and look.offered and look.unclaimed else None

    def _is_due(self, now: float) -> bool:
        is_free = self._under_way(now) is None and not self.attempts.are_exhausted(now)
        return is_free and now >= self.state.renew_at(now)

    def _should_look(self, now: float) -> bool:
        is_free = self.attempts.look is None  # one that is stuck in the storage is enough
        return is_free and now >= self.state.poll_at and not self.state.is_idle(now)

    def _look_for_secret(self, now: float) -> None:
        if self._is_mendable:
            self.state.poll_at = min(self.state.poll_at, now + _LOOK_FOR_SECRET)

    def _next_look(self, now: float) -> float:
        return self.state.poll_at if self.state.poll_at > now and not self.state.is_idle(now) else math.inf

    def next_change(self, now: float) -> float:
        """Return the moment at which the thread should ask again, unless it is told before."""
        attempt, wake_at = self.attempts.current, self.state.renew_at(now)
        if attempt is not None and attempt.unclaimed:
            wake_at = attempt.pick_up_by
        elif attempt is not None:  # it may be superseded, where a renewal is still due by then
            wake_at = max(wake_at, self.attempts.more_at())
        return min(wake_at, self._next_look(now), now + _REST)

    def renewal_at(self, now: float) -> float:
        """Return when a renewal begins that nobody waits for; infinite where none is to come."""
        return math.inf if self.stopped or self.state.is_idle(now) else self.state.renew_at(now)

    # Running one

    def may_start(self, attempt: Attempt) -> bool:
        """Return whether *attempt* is still to be run, and by nobody yet."""
        is_wanted = attempt is self.attempts.current or attempt is self.attempts.look
        return is_wanted and attempt.unclaimed and not self.stopped

    def land(self, attempt: Attempt, now: float) -> bool:
        """Take in what *attempt* has brought; return whether its token is held now. May be repeated."""
        run = attempt.run
        assert run is not None
        landed = run.token is not None and self._hold(run, run.token, now)
        if run.has_unsaved:
            self.state.poll_at = min(self.state.poll_at, now + _LOOK_AGAIN)
        if run.outdates:
            self.state.wanted = True
        if run.mended:
            self.state.end_pause()
        if run.request.asks:
            self._is_mendable = run.mendable
        outcome = attempt.judged(now, is_first_cut=self._cut_short in (None, attempt))
        self._cut_short = attempt if outcome.cut_short else None
        if outcome.error is not None:
            self.state.fail(outcome.error, now)
            self._look_at = now + _LOOK_AGAIN  # it has just looked
            self._look_for_secret(now)
        if attempt.request.asks and not run.superseded:
            self._is_slow = now - run.started_at > _SLOW
        self.attempts.end(attempt)
        attempt.outcome = outcome
        return landed

    def _hold(self, run: Run, token: Token, now: float) -> bool:
        was_alone = run.request.asks and not run.superseded and run.generation == self.state.generations
        if not (was_alone or self.state.is_improved_by(token)):
            return False
        asked_at = -math.inf if run.adopted else run.started_at
        self.state.publish(token, now, asked_at=asked_at, challenge=run.challenge, ahead=run.ahead)
        return True
