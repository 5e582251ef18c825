"""Any order of calls, time, answers and rejections: what must hold of a manager whatever happens.

Threads run until all are blocked, on the fake clock or in the source, before the next rule is drawn, so that each
sequence of rules has one outcome. Every run draws others; a failure prints how to reproduce its own.
"""

import itertools
import math
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.scripted import Gate, ScriptedSource, ask, down

from tokenkit import AuthenticationError, FetchOptions, RefreshPolicy, RenewalError, Token, TokenManager
from tokenkit.errors import RenewalStoppedError, RenewalTimeoutError
from tokenkit.testing import FakeClock

LIFETIME, LIMIT, PAUSE, MARGIN = 1000.0, 30.0, 5.0, 10.0
POLICY = RefreshPolicy(jitter=0, initial_retry_timeout=0.001, max_retry_timeout=PAUSE, refresh_request_timeout=LIMIT)
NUMBERS = itertools.count()


@dataclass
class Fetch:
    """One call of the source, from its start to its answer."""

    gate: Gate
    began_at: float
    is_open: bool = True


class Source(ScriptedSource):
    """Hangs at every call until the machine answers it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, LIFETIME)
        self.service_name = f"machine-{next(NUMBERS)}"
        self.fetches_begun: list[Fetch] = []

    def fetch_token(self, context: object = None) -> Token:
        gate = Gate()
        self.fetches_begun.append(Fetch(gate, self.clock.monotonic()))
        self.then(gate)
        return super().fetch_token(context)

    def refresh_token(self, current: Token, context: object = None) -> Token:
        return self.fetch_token(context)

    @property
    def open(self) -> list[Fetch]:
        return [one for one in self.fetches_begun if one.is_open]


@dataclass
class Waiting:
    """One call, until its answer was judged."""

    future: "Future[Any]"
    deadline: float
    required: bool = False
    synchronous: bool = False
    patient: bool = False


class ManagerMachine(RuleBasedStateMachine):
    """Drives a manager with a thread of its own."""

    background = True

    @initialize()
    def make(self) -> None:
        self.clock = FakeClock()
        self.source = Source(self.clock)
        self.manager = TokenManager(self.source, policy=POLICY, clock=self.clock, background=self.background)
        self.waiting: list[Waiting] = []
        self.stopped = False
        self.judged = 0  # fetches that the invariants have seen
        self.no_attempt_before = -math.inf
        self.may_skip = False  # whether an attempt of a synchronous call may be yet to come
        self.held: Token | None = None  # what must be held, unless something newer is
        self.given_up: Token | None = None

    # What happens. No rule has a precondition: it is open which of several callers leads, and what is drawn must not
    # depend on that.

    @rule(timeout=st.sampled_from([0.0, 1.0, 10.0, 100.0]), patient=st.booleans())
    def get(self, timeout: float, patient: bool) -> None:
        self._call(timeout, FetchOptions(report_error=not patient))

    @rule(timeout=st.sampled_from([1.0, 100.0]), synchronous=st.booleans(), patient=st.booleans())
    def require(self, timeout: float, synchronous: bool, patient: bool) -> None:
        self._call(timeout, FetchOptions(renew_required=True, renew_synchronous=synchronous, report_error=not patient))

    @rule(seconds=st.sampled_from([0.5, 1.0, PAUSE, 12.0, LIMIT]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._settle()

    @rule(seconds=st.sampled_from([895.0, 985.0, LIFETIME]))
    def let_the_token_age(self, seconds: float) -> None:
        self.let_time_pass(seconds)

    @rule(pick=st.integers(0, 3), fresh=st.booleans(), lifetime=st.sampled_from([20.0, LIFETIME]))
    def succeed(self, pick: int, fresh: bool, lifetime: float) -> None:
        if not self.source.open:
            return
        fetch = self.source.open[-1 - pick % len(self.source.open)]
        age = 0.0 if fresh else self.clock.monotonic() - fetch.began_at
        issued = datetime.fromtimestamp(self.clock.time() - age, timezone.utc)
        name = f"token-{len(self.source.fetches_begun)}-{self.clock.monotonic()}"
        self._answer(fetch, Token(name, issued_at=issued, expires_at=issued + timedelta(seconds=lifetime)))
        if self.manager.current is not self.held:
            self.no_attempt_before = -math.inf

    @rule(pick=st.integers(0, 3))
    def succeed_late(self, pick: int) -> None:
        """Let a fetch hang until another takes its place, and answer both, the younger first."""
        self.let_time_pass(LIMIT)
        self._call(10.0, FetchOptions(renew_required=True))
        self.succeed(0, True, LIFETIME)
        self.succeed(pick, False, LIFETIME)

    @rule(pick=st.integers(0, 3), permanent=st.booleans())
    def fail(self, pick: int, permanent: bool) -> None:
        if not self.source.open:
            return
        fetch = self.source.open[-1 - pick % len(self.source.open)]
        now = self.clock.monotonic()
        granted = fetch.gate.context.timeout
        granted = LIMIT if granted >= LIMIT - 0.5 else granted  # the landing's time, in which it may still fail
        counts = now - fetch.began_at < granted  # neither superseded nor cut short by its leader's limit
        self._answer(fetch, (lambda *_: None) if permanent else down(retry_after=PAUSE))
        if counts:
            self.no_attempt_before = now + PAUSE
            self._let_nobody_skip_again()

    @rule(very_one=st.booleans())
    def invalidate(self, very_one: bool) -> None:
        self.given_up = self.manager.current
        self.manager.invalidate_token(self.manager.current if very_one else None)
        self._settle()

    @rule()
    def invalidate_an_old_one(self) -> None:
        self.manager.invalidate_token(Token("long-gone"))

    @rule(timeout=st.sampled_from([0.0, 10.0]))
    def reject(self, timeout: float) -> None:
        held = self.given_up = self.manager.current
        if held is None:
            return
        self._call(timeout, FetchOptions(), lambda: self.manager.renew_rejected(held, timeout))

    @rule()
    def request(self) -> None:
        self.manager.request_renewal()
        self._settle()

    @rule(really=st.integers(0, 19))
    def stop(self, really: int) -> None:
        if really == 13:
            self.manager.stop()
            self.stopped = True
            self._settle()

    # What must hold

    @invariant()
    def what_must_hold(self) -> None:
        self._a_valid_token_beats_any_error()  # the first, as it asks for a token and so may begin a fetch
        self._never_two_attempts_unless_superseded()
        self._no_attempt_before_its_back_off()
        self._a_newer_token_is_never_displaced()
        self._every_waiter_is_answered()

    def _never_two_attempts_unless_superseded(self) -> None:
        fetches = self.source.fetches_begun
        assert len(self.source.open) <= 13
        for number in range(self.judged, len(fetches)):
            still_open = [earlier for earlier in fetches[:number] if earlier.is_open]
            pause = PAUSE if len(still_open) >= 4 else 0  # beyond three abandoned ones, one more each max_retry_timeout
            for earlier in still_open:
                assert fetches[number].began_at - earlier.began_at >= LIMIT + pause

    def _no_attempt_before_its_back_off(self) -> None:
        for one in self.source.fetches_begun[self.judged :]:
            assert self.may_skip or one.began_at >= self.no_attempt_before
            self.may_skip = False
        self.judged = len(self.source.fetches_begun)
        self.may_skip = any(one.synchronous for one in self.waiting)

    def _a_newer_token_is_never_displaced(self) -> None:
        current = self.manager.current
        if self.held is not None and self.held is not self.given_up:
            assert current is not None
            assert current.issued_at >= self.held.issued_at
        self.held, self.given_up = current, None

    def _every_waiter_is_answered(self) -> None:
        now = self.clock.monotonic()
        for one in self.waiting:
            if self.background or not self.source.open:  # else it may be the one that leads
                assert now < one.deadline
                assert not self.stopped
                assert one.required or not self._is_usable(self.manager.current)

    def _judge(self, one: Waiting, error: BaseException | None) -> None:
        assert error is None or one.required or not self._is_usable(self.manager.current)
        if error is None:
            token = one.future.result()
            assert token is None or token.expires_at.timestamp() > self.clock.time()
        elif isinstance(error, RenewalStoppedError):
            assert self.stopped
        elif isinstance(error, RenewalTimeoutError):
            assert self.clock.monotonic() >= one.deadline
        elif isinstance(error, AuthenticationError):
            assert not one.patient
        else:
            assert isinstance(error, RenewalError)
            assert len(self.source.open) >= 4

    def _a_valid_token_beats_any_error(self) -> None:
        held = self.manager.current
        if self._is_usable(held):
            assert held is self.manager.get_token(0)
            self._settle()

    # How

    def _call(self, timeout: float, options: FetchOptions, work: Any = None) -> None:
        (future,) = ask(work or (lambda: self.manager.get_token(timeout, options)))
        deadline = self.clock.monotonic() + timeout
        patient = not options.report_error
        self.may_skip |= options.renew_synchronous
        self.waiting.append(
            Waiting(future, deadline, options.renew_required or bool(work), options.renew_synchronous, patient)
        )
        self._settle()

    def _answer(self, fetch: Fetch, outcome: object) -> None:
        fetch.is_open = False
        fetch.gate.release(outcome)
        self._settle()

    def _let_nobody_skip_again(self) -> None:
        self.may_skip = False
        for one in self.waiting:
            one.synchronous = False

    def _is_usable(self, token: Token | None) -> bool:
        return token is not None and token.expires_at.timestamp() - self.clock.time() > MARGIN

    def _settle(self) -> None:
        """Wait until every thread is blocked, on the clock or in the source."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            before = self._alive()
            rests, counted = self._refresh_thread_rests()
            hung = sum(one.is_open and one.gate.entered.is_set() for one in self.source.fetches_begun)
            blocked = hung + self.clock.parked - counted
            # Counted twice: one may have started another, or be done by now.
            if rests and before == blocked == self._alive() and self._refresh_thread_rests() == (True, counted):
                self._judge_who_is_done()
                return
            time.sleep(0.0002)  # for threads that block anywhere there is no condition to wait on
        raise AssertionError("the threads did not come to rest")

    def _alive(self) -> int:
        """Count the callers and the workers; who they are there is no public way to tell."""
        thread = self.manager._engine._thread
        callers = sum(not one.future.done() for one in self.waiting)
        return callers + len(thread._doorbell.young) + len(thread._old)

    def _refresh_thread_rests(self) -> tuple[bool, bool]:
        """Return whether it has nothing to do, and whether the clock counts it among those who are parked."""
        thread, sleepers = self.manager._engine._thread, [one.mailbox for one in list(self.clock._sleepers)]
        if not thread.runs():
            return thread._inbox.empty(), False
        idle = thread._doorbell in sleepers and thread._inbox.empty() and thread._doorbell.empty()
        return idle, idle and not thread._doorbell.young

    def _judge_who_is_done(self) -> None:
        done = [one for one in self.waiting if one.future.done()]
        self.waiting = [one for one in self.waiting if one not in done]
        for one in done:
            self._judge(one, one.future.exception())

    def teardown(self) -> None:
        if not hasattr(self, "manager"):
            return
        self.manager.stop()
        for one in self.source.fetches_begun:
            one.gate.release(down())
        for waiting in self.waiting:
            waiting.future.exception(10)
        self.manager.close(10)


class LedManagerMachine(ManagerMachine):
    """Drives a manager whose callers fetch."""

    background = False


SETTINGS = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    derandomize=False,  # also in CI, where hypothesis would have it otherwise
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestManager = ManagerMachine.TestCase
TestManager.settings = SETTINGS
TestLedManager = LedManagerMachine.TestCase
TestLedManager.settings = SETTINGS
