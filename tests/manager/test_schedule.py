"""What follows from what a manager holds and what is under way: decisions alone, without a thread or a source."""

import math
from datetime import datetime, timedelta, timezone

import pytest
from support.scripted import STEADY, down

from tokenkit import AuthenticationError, RenewalError, Token
from tokenkit._refresh_thread import AT_ONCE
from tokenkit.errors import RenewalStoppedError, RenewalTimeoutError
from tokenkit.manager._attempts import Attempt, Run
from tokenkit.manager._schedule import Call, Schedule
from tokenkit.testing import FakeClock

LIFETIME, LIMIT, PAUSE = 1000.0, 30.0, 60.0


class Desk:
    """A schedule at a moment that its test sets, and attempts that come back as the test says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.schedule = Schedule("desk", STEADY, self.clock)

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def call(self, timeout: float = 100, *, after: int = -1, patient: bool = False, synchronous: bool = False) -> Call:
        return Call(self.now + timeout, LIMIT, after, not patient, synchronous)

    def consult(self, call: Call) -> Token | Attempt | float:
        return self.schedule.consult(call, self.now)

    def wait_for_attempt(self, call: Call) -> Attempt:
        """Have *call* ask for an attempt, which the thread then begins."""
        attempt = self.consult(call)
        assert isinstance(attempt, Attempt)
        self.begin(attempt)
        assert min(attempt.hangs_at, call.deadline) == self.consult(call)
        return attempt

    def begin(self, attempt: Attempt) -> None:
        attempt.offered = True
        attempt.run = Run(attempt.request, self.now, self.schedule.state.generations, background=True)

    def token(self, name: str = "token") -> Token:
        issued = datetime.fromtimestamp(self.clock.time(), timezone.utc)
        return Token(name, issued_at=issued, expires_at=issued + timedelta(seconds=LIFETIME))

    def succeed(self, attempt: Attempt, token: Token | None = None) -> bool:
        attempt.run.token = token or self.token()
        return self.schedule.land(attempt, self.now)

    def fail(self, attempt: Attempt, error: AuthenticationError | None = None) -> None:
        attempt.run.error = error or down(retry_after=PAUSE)
        assert not self.schedule.land(attempt, self.now)

    def hold(self) -> Token:
        """Have a token be held."""
        attempt = self.schedule.attempts.request(self.now, LIMIT)
        self.begin(attempt)
        assert self.succeed(attempt)
        return attempt.run.token

    def back_off(self) -> None:
        """Have an attempt have failed."""
        attempt = self.schedule.attempts.request(self.now, LIMIT)
        self.begin(attempt)
        self.fail(attempt)

    def hang(self) -> Attempt:
        """Have an attempt run for longer than it may; it supersedes another that does."""
        attempt = self.schedule.attempts.request(self.now, LIMIT)
        self.begin(attempt)
        self.clock.advance(LIMIT)
        return attempt


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_token_beats_the_failure_that_its_caller_waited_for(desk: Desk) -> None:
    """An attempt failed, and before its caller woke another one, long given up, brought a token: that is returned."""
    late = desk.hang()
    call = desk.call()
    desk.fail(desk.wait_for_attempt(call))
    assert desk.succeed(late)
    assert late.run.token is desk.consult(call)


def test_a_token_beats_the_end_of_the_time(desk: Desk) -> None:
    """A caller who wakes too late is given what landed in the meantime."""
    call = desk.call(timeout=5)
    attempt = desk.wait_for_attempt(call)
    desk.succeed(attempt)
    desk.clock.advance(6)
    assert attempt.run.token is desk.consult(call)


def test_a_token_beats_stop_and_back_off(desk: Desk) -> None:
    """Neither is of any concern as long as the token is usable."""
    token = desk.hold()
    desk.back_off()
    desk.schedule.stopped = True
    assert token is desk.consult(desk.call(timeout=0))


def test_a_source_that_breaks_off_time_and_again_backs_off(desk: Desk) -> None:
    """An attempt that brought neither token nor error is nobody's failure once, and a failure where the next does."""
    for pauses in (False, True):
        attempt = desk.schedule.attempts.request(desk.now, LIMIT)
        desk.begin(attempt)
        desk.schedule.land(attempt, desk.now)
        assert pauses == (desk.schedule.state.failure is not None)


def test_a_token_that_will_not_do_beats_nothing(desk: Desk) -> None:
    """Who wants a later one than is held hears why there is none."""
    desk.hold()
    call = desk.call(after=desk.schedule.state.generations)
    desk.fail(desk.wait_for_attempt(call), down("no other"))
    with pytest.raises(AuthenticationError, match="no other"):
        desk.consult(call)


def test_each_caller_raises_an_error_of_its_own(desk: Desk) -> None:
    """It is a copy with the service's name, caused by what the attempt failed with."""
    calls = [desk.call(), desk.call()]
    attempt = desk.wait_for_attempt(calls[0])
    desk.consult(calls[1])
    desk.fail(attempt)
    errors = []
    for call in calls:
        with pytest.raises(AuthenticationError) as caught:
            desk.consult(call)
        errors.append(caught.value)
    assert [("desk", attempt.run.error)] * 2 == [(error.service_name, error.__cause__) for error in errors]
    assert 3 == len({id(error) for error in (attempt.run.error, *errors)})


def test_stop_ends_every_wait(desk: Desk) -> None:
    """Also that for an attempt under way."""
    call = desk.call()
    desk.wait_for_attempt(call)
    desk.schedule.stopped = True
    with pytest.raises(RenewalStoppedError, match="desk is stopped"):
        desk.consult(call)


def test_a_patient_caller_is_told_at_last_what_failed(desk: Desk) -> None:
    """When its time is over, the last failure is the cause."""
    call = desk.call(timeout=5, patient=True)
    attempt = desk.wait_for_attempt(call)
    desk.fail(attempt)
    desk.clock.advance(5)
    with pytest.raises(RenewalTimeoutError) as caught:
        desk.consult(call)
    assert attempt.run.error is caught.value.__cause__


def test_when_too_many_hang_no_other_is_begun(desk: Desk) -> None:
    """Four attempts hang, so a fifth is refused, to callers and to the thread."""
    for _ in range(4):
        desk.hang()
    desk.schedule.state.wanted = True
    with pytest.raises(RenewalError, match="4 renewals of desk hang"):
        desk.consult(desk.call())
    assert desk.schedule.begin(desk.now, True) is None


def test_a_back_off_fails_who_comes_during_it(desk: Desk) -> None:
    """The last failure is everyone's, without another attempt, until the moment is there."""
    desk.back_off()
    desk.clock.advance(PAUSE - 0.001)
    with pytest.raises(AuthenticationError, match="down") as caught:
        desk.consult(desk.call())
    assert (None, True) == (desk.schedule.attempts.current, caught.value is not desk.schedule.state.failure)
    desk.clock.advance(0.001)
    assert isinstance(desk.consult(desk.call()), Attempt)


def test_a_patient_caller_waits_for_the_end_of_the_back_off(desk: Desk) -> None:
    """And no longer than its own time."""
    desk.back_off()
    assert desk.now + PAUSE == desk.consult(desk.call(timeout=PAUSE + 1, patient=True))
    assert desk.now + 5 == desk.consult(desk.call(timeout=5, patient=True))


def test_a_synchronous_caller_skips_the_back_off_once(desk: Desk) -> None:
    """It has the one attempt that it asks for; when that has failed, it waits like any other."""
    desk.back_off()
    call = desk.call(patient=True, synchronous=True)
    desk.fail(desk.wait_for_attempt(call))
    assert desk.now + PAUSE == desk.consult(call)
    assert desk.schedule.attempts.current is None


@pytest.mark.parametrize("timeout", [1, 100])
def test_a_leader_whose_attempt_was_superseded_skips_no_other_back_off(desk: Desk, timeout: float) -> None:
    """It has had the attempt that it asked for, and the back-off is that of the one which took its place.

    That holds for one whose own time is over too: a waiting caller would run what it asked for.
    """
    call = desk.call(timeout, synchronous=True)
    led = desk.consult(call)
    led.run = Run(led.request, desk.now, until=call.deadline)
    desk.clock.advance(LIMIT)
    desk.back_off()
    desk.fail(led)
    with pytest.raises(AuthenticationError, match="down"):
        desk.consult(call)
    assert desk.schedule.attempts.current is None


def test_callers_share_the_attempt_under_way(desk: Desk) -> None:
    """Whoever comes waits for it until it would hang, or as long as there is time."""
    attempt = desk.wait_for_attempt(desk.call())
    assert desk.now + LIMIT == desk.consult(desk.call())
    assert desk.now + 5 == desk.consult(desk.call(timeout=5))
    assert attempt is desk.schedule.attempts.current


def test_one_that_hangs_is_superseded(desk: Desk) -> None:
    """Its callers ask for another, and its failure, when it comes, is nobody's."""
    call = desk.call()
    hung = desk.wait_for_attempt(call)
    desk.clock.advance(LIMIT)
    attempt = desk.consult(call)
    assert (True, True, True) == (attempt is not hung, attempt.request.supersedes, hung.run.superseded)
    desk.begin(attempt)
    desk.fail(hung)
    assert attempt.hangs_at == desk.consult(call)


def test_an_attempt_that_nobody_begins_is_led_by_a_caller(desk: Desk) -> None:
    """It is offered to the thread, waited for a second, and then run by whoever still has time."""
    call, hasty = desk.call(), desk.call(timeout=1)
    attempt = desk.consult(call)
    attempt.offered = True
    assert desk.now + 1 == desk.consult(call)
    desk.consult(hasty)
    desk.clock.advance(1)
    assert attempt is desk.consult(call)
    with pytest.raises(RenewalTimeoutError):
        desk.consult(hasty)


def test_the_time_limit_of_who_leads_is_nobody_elses_failure(desk: Desk) -> None:
    """An attempt that was cut short by it brings no back-off, and who waited for it asks for another."""
    call = desk.call()
    attempt = desk.consult(call)
    attempt.offered = True
    attempt.run = Run(attempt.request, desk.now, until=desk.now + 5)
    desk.consult(call)
    desk.clock.advance(5)
    desk.fail(attempt)
    assert isinstance(desk.consult(call), Attempt)
    assert -math.inf == desk.schedule.state.retry_at


def test_a_late_token_never_displaces_a_newer_one(desk: Desk) -> None:
    """What a superseded attempt brings counts only if it was issued later."""
    hung, late = desk.hang(), desk.token("late")
    attempt = desk.schedule.attempts.request(desk.now, LIMIT)
    desk.begin(attempt)
    assert desk.succeed(attempt)
    assert not desk.succeed(hung, late)
    assert attempt.run.token is desk.schedule.state.snapshot.token


def test_a_forked_child_has_no_attempts(desk: Desk) -> None:
    """What its parent runs never lands there; what its parent holds is good there too."""
    token = desk.hold()
    desk.hang()
    desk.schedule.begin_process()
    assert (None, token) == (desk.schedule.attempts.current, desk.consult(desk.call()))


def test_nothing_is_begun_ahead_of_its_time(desk: Desk) -> None:
    """Not before there is a token, not until it is due, not in a back-off, and not once stopped."""
    schedule = desk.schedule
    assert schedule.begin(desk.now, True) is None
    desk.hold()
    schedule.state.poll_at = math.inf
    desk.clock.advance(799)
    assert schedule.begin(desk.now, True) is None
    desk.clock.advance(1)
    attempt = schedule.begin(desk.now, True)
    desk.begin(attempt)
    desk.fail(attempt)
    desk.clock.advance(PAUSE - 1)
    assert schedule.begin(desk.now, True) is None
    desk.clock.advance(1)
    schedule.stopped = True
    assert schedule.begin(desk.now, True) is None


def test_the_thread_asks_again_when_there_is_something_to_do(desk: Desk) -> None:
    """That is a look into the storage, a due token, or the end of a back-off."""
    desk.hold()
    landed = desk.now
    assert (landed + 300, None) == desk.schedule.plan(desk.now)
    desk.clock.advance(700)
    assert not desk.schedule.begin(desk.now, True).request.asks
    assert (landed + 800, None) == desk.schedule.plan(desk.now)
    desk.clock.advance(100)
    desk.back_off()
    assert (landed + 800 + PAUSE, None) == desk.schedule.plan(desk.now)


def test_what_a_caller_waits_for_is_begun_at_once(desk: Desk) -> None:
    """Before all that nobody waits for; beside one that runs there is none."""
    asked_for = desk.consult(desk.call())
    assert AT_ONCE == desk.schedule.plan(desk.now)[1]
    assert asked_for is desk.schedule.begin(desk.now, True)
    desk.begin(asked_for)
    assert desk.schedule.plan(desk.now)[1] is None
    assert desk.schedule.begin(desk.now, True) is None


def test_the_most_urgent_token_is_renewed_first(desk: Desk) -> None:
    """That is the one that expires first; whose last attempt was slow stands behind all others."""
    desk.hold()
    desk.clock.advance(900)
    first = desk.schedule.plan(desk.now)[1]
    attempt = desk.schedule.begin(desk.now, True)
    desk.begin(attempt)
    desk.clock.advance(2.1)
    desk.succeed(attempt)
    desk.clock.advance(900)
    assert first < desk.schedule.plan(desk.now)[1]


def test_one_that_hangs_is_superseded_ahead_of_callers_where_there_is_room(desk: Desk) -> None:
    """Where many hang in this process nobody begins a second one that no caller waits for."""
    desk.hold()
    desk.clock.advance(900)
    desk.begin(desk.schedule.begin(desk.now, True))
    desk.clock.advance(LIMIT)
    desk.schedule.state.poll_at = math.inf
    assert desk.schedule.begin(desk.now, False) is None
    assert desk.schedule.begin(desk.now, True).request.supersedes


def test_of_many_that_hang_one_more_is_begun_now_and_then(desk: Desk) -> None:
    """Four hung attempts are enough at once; a minute later there is a fifth, up to thirteen."""
    for _ in range(4):
        desk.hang()
    desk.clock.advance(60)
    desk.begin(attempt := desk.consult(desk.call()))
    assert attempt.request.supersedes
