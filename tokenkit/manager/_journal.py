"""What is counted of a manager's renewals, and which of it is worth a line in the log.

Rules without a lock, guarded by that of the engine that has it. Who calls writes the line, once the lock is free.
"""

from __future__ import annotations

import logging
import math
from typing import final

from tokenkit.errors import AuthenticationError
from tokenkit.events import FailureFacts, facts_of
from tokenkit.manager._attempts import Attempt, Outcome, Run
from tokenkit.manager._schedule import Schedule
from tokenkit.manager._state import TokenState
from tokenkit.manager.status import ManagerStatus

__all__ = ["Journal", "Line"]

_SAY_AGAIN = 60.0  # seconds between two warnings of one row of failures

Line = tuple[int, str]
"""A level, and what is to be logged."""


@final
class Journal:
    """Counts, and remembers what has been said. The counts go on over a fork."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.attempts = self.renewals = self.failures = self.adopted = 0
        self.row = 0  # failures, and attempts that hung, since the last token
        self.last_failure: FailureFacts | None = None
        self.last_at = -math.inf
        self._began_at = self._said_at = -math.inf  # the row, and the last warning of it
        self._refused = 0  # the generation of the last token whose rejection cost no renewal

    def begin(self, attempt: Attempt, now: float) -> Line | None:
        """Note that *attempt* begins."""
        if not attempt.request.asks:
            return None
        self.attempts += 1
        if not attempt.request.supersedes:
            return None
        return self._trouble(now), f"a renewal of {self._name} hangs; another one starts beside it [renewal-hangs]"

    def land(self, attempt: Attempt, outcome: Outcome, landed: bool, state: TokenState, now: float) -> Line | None:
        """Note how *attempt* ended, of which *state* has been told."""
        run = attempt.run
        assert run is not None
        if outcome.error is not None:
            self.failures += 1
            self.last_at = now
            self.last_failure = facts_of(outcome.error, retry_in=max(0.0, state.next_try_at(now) - now))
            return self._trouble(now), self._failed(outcome.error, state, now)
        if not landed:
            return None
        if run.adopted:
            self.adopted += 1
        else:
            self.renewals += 1
        return self._held(attempt, run, state, now)

    def refuse(self, state: TokenState, now: float) -> Line | None:
        """Note that the token held was rejected by a resource, and was too young for that to cost a renewal."""
        held = state.snapshot
        if held is None or held.generation == self._refused:
            return None
        self._refused = held.generation
        wait = max(0.0, state.limit.counts_at(held.landed_at) - now)
        said = f"a resource rejects the new token of {self._name}"
        return logging.WARNING, f"{said}; no renewal is made for that in the next {wait:.3g} s [token-rejected]"

    def sign_in(self) -> Line:
        """Note that a person has signed in."""
        self.row = 0
        return logging.INFO, f"a person has signed in for {self._name}"

    def status(self, schedule: Schedule, waiters: int, now: float) -> ManagerStatus:
        """Return what a health page may show."""
        state, under_way = schedule.state, schedule.attempts.current is not None
        held, next_at = state.snapshot, now if under_way else schedule.renewal_at(now)
        left = math.inf if held is None else held.expired_at - now
        return ManagerStatus(
            service_name=self._name,
            state=state.name(now),
            seconds_left=None if left == math.inf else max(0.0, left),
            next_renewal=None if next_at == math.inf else max(0.0, next_at - now),
            is_renewing=under_way,
            is_stopped=schedule.stopped,
            attempts=self.attempts,
            renewals=self.renewals,
            failures=self.failures,
            failures_in_a_row=self.row,
            adopted=self.adopted,
            waiters=waiters,
            last_failure=self.last_failure,
            last_failure_age=None if self.last_failure is None else now - self.last_at,
        )

    def _trouble(self, now: float) -> int:
        """Count a failure; return the level at which it is told."""
        if not self.row:
            self._began_at = now
        self.row += 1
        if self.row > 1 and now - self._said_at < _SAY_AGAIN:
            return logging.DEBUG
        self._said_at = now
        return logging.WARNING

    def _failed(self, error: AuthenticationError, state: TokenState, now: float) -> str:
        facts = self.last_failure
        assert facts is not None
        step = f" in {error.step_name}" if error.step_name not in (None, self._name) else ""
        where = f"{step} at {facts.host}" if facts.host else step
        held = state.usable(now)
        left = "there is no usable token" if held is None else f"the token held is good {_for(held.expired_at - now)}"
        after = f"{left}; the next try is in {facts.retry_in or 0.0:.3g} s"
        return f"a renewal of {self._name}{where} failed ({facts}): {error.message}; {after} [renewal-failed]"

    def _held(self, attempt: Attempt, run: Run, state: TokenState, now: float) -> Line:
        held = state.snapshot
        good = "" if held is None else f", good {_for(held.expired_at - now)}"
        whence = "adopted from the storage" if run.adopted else f"fetched in {now - run.started_at:.3g} s"
        row, self.row = self.row, 0
        if row:
            lasted = now - self._began_at
            said = f"renewals of {self._name} work again after {row} that failed or hung, for {lasted:.3g} s"
            return logging.INFO, f"{said}: a token was {whence}{good}"
        if state.generations == 1:
            return logging.INFO, f"the first token of {self._name} was {whence}{good}"
        return logging.DEBUG, f"a token of {self._name} was {whence} ({attempt.request.reason}){good}"


def _for(seconds: float) -> str:
    return "for ever" if seconds == math.inf else f"for {seconds:.0f} s"
