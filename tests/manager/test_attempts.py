"""Attempts and their thread: the records by themselves, and a thread with an owner of the test's own."""

import gc
import math
import threading

import pytest

from tokenkit import RenewalError
from tokenkit.manager._attempts import Attempt, Attempts, Look, RenewalThread
from tokenkit.testing import FakeClock


class Owner:
    """Does nothing but count, and say how long to nap."""

    def __init__(self, *naps: float | BaseException | None) -> None:
        self.naps = list(naps)
        self.ticks = 0

    def tick(self, thread: RenewalThread) -> float | None:
        self.ticks += 1
        nap = self.naps.pop(0) if self.naps else 1000.0
        if isinstance(nap, BaseException):
            raise nap
        return nap


def started(owner: Owner, clock: FakeClock) -> RenewalThread:
    thread = RenewalThread(owner, clock, "test")
    thread.start()
    return thread


def test_an_attempt_has_its_time_from_its_start() -> None:
    """Until a thread begins it, it does not hang, however old it is."""
    attempts = Attempts("service")
    attempt = attempts.request(0, 30)
    assert (attempt, True) == (attempts.under_way(1000), attempt.unclaimed)
    attempt.start(1000, 0, None)
    assert (attempt, None) == (attempts.under_way(1029.9), attempts.under_way(1030))


def test_an_attempt_that_nobody_begins_is_a_callers() -> None:
    """It is to be offered at first, and to be led after a second, by whoever has time left."""
    attempt = Attempt(0, 30)
    assert attempt.needs_caller(0, 10)
    attempt.offered = True
    assert [False, True, False] == [
        attempt.needs_caller(0.9, 10),
        attempt.needs_caller(1, 10),
        attempt.needs_caller(1, 1),
    ]
    assert 1 == attempt.next_change()
    attempt.start(1, 0, None)
    assert (False, 31) == (attempt.needs_caller(2, 10), attempt.next_change())


def test_three_may_be_abandoned() -> None:
    """The fifth attempt is refused while four hang, and allowed when one of them comes back."""
    attempts = Attempts("service")
    hung = []
    for number in range(4):
        hung.append(attempts.request(number * 30, 30))
        hung[-1].start(number * 30, 0, None)
    assert ([False, True, True, True], True) == ([one.supersedes for one in hung], attempts.are_exhausted)
    with pytest.raises(RenewalError, match="4 renewals of service hang"):
        attempts.request(120, 30)
    attempts.end(hung[1], 121)
    assert (True, False) == (attempts.request(122, 30).supersedes, hung[1].has_failed)


def test_a_lock_that_a_hung_one_holds_is_skipped() -> None:
    """And no longer when that has come back."""
    attempts = Attempts("service")
    hung = attempts.request(0, 30)
    hung.start(0, 0, None)
    hung.holds_lock = True
    second = attempts.request(30, 30)
    second.start(30, 0, None)
    attempts.end(second, 31)
    assert (True, True) == (second.skips_lock, attempts.request(32, 30).skips_lock)
    attempts.end(hung, 33)
    assert not attempts.request(34, 30).skips_lock


def test_a_storage_that_a_hung_one_is_in_is_skipped() -> None:
    """Also one that a look has not come back from in an attempt's time; it has lost its thread at once."""
    attempts, thread = Attempts("service"), RenewalThread(Owner(), FakeClock(), "test")
    hung = attempts.request(0, 30)
    hung.start(0, 0, None)
    hung.inside_storage = True
    assert attempts.request(30, 30).skips_storage
    attempts.end(hung, 31)
    attempts.look = Look(thread, 60)
    for now, skips in ((59, False), (60, True)):
        attempts.current = None
        assert (skips, True) == (attempts.request(now, 30).skips_storage, attempts.have_lost(thread))


@pytest.mark.parametrize(
    ("until", "ended_at", "failed"),
    [(math.inf, 5, True), (3, 2.9, True), (3, 3, False), (29.5, 29.5, False), (29.6, 29.6, True), (50, 31, True)],
)
def test_an_attempt_cut_short_by_its_leader_has_not_failed(until: float, ended_at: float, failed: bool) -> None:
    """One that ends without a token after its leader's time, which was less than an attempt's, says nothing."""
    attempt = Attempt(0, 30)
    attempt.start(0, 0, None, until)
    attempt.end(ended_at)
    assert (failed, min(29.5, until)) == (attempt.has_failed, attempt.deadline)


def test_an_attempt_knows_its_thread() -> None:
    """A callback from within it is recognised until it has ended."""
    attempts = Attempts("service")
    attempt = attempts.request(0, 30)
    assert not attempts.is_inside()
    attempt.start(0, 0, None)
    elsewhere: list[bool] = []
    other = threading.Thread(target=lambda: elsewhere.append(attempts.is_inside()))
    other.start()
    other.join(10)
    assert (True, [False]) == (attempts.is_inside(), elsewhere)
    attempts.end(attempt, 1)
    assert not attempts.is_inside()


def test_the_thread_ticks_and_naps(fake_clock: FakeClock) -> None:
    """It does what its owner says, when the time has come or when it is woken."""
    owner = Owner(5.0, 5.0, 5.0)
    thread = started(owner, fake_clock)
    fake_clock.wait_until_parked()
    fake_clock.advance(5)
    fake_clock.wait_until_parked()
    assert 2 == owner.ticks
    thread.wake()
    fake_clock.wait_until_parked()
    assert 3 == owner.ticks


def test_the_thread_ends_when_told(fake_clock: FakeClock) -> None:
    """A nap of None is the end."""
    thread = RenewalThread(owner := Owner(None), fake_clock, "test")
    thread.join(0)  # not started yet: nothing to wait for
    assert not thread.has_ended
    thread.start()
    thread.join(10)
    assert (True, 1) == (thread.has_ended, owner.ticks)


def test_the_thread_naps_a_minute_at_most(fake_clock: FakeClock) -> None:
    """Whatever its owner says: longer, for ever, or less than nothing."""
    owner = Owner(1e9, math.inf, -5.0)
    started(owner, fake_clock)
    for ticks in (1, 2):
        fake_clock.wait_until_parked()
        assert (ticks, 60) == (owner.ticks, fake_clock.until_next_wake)
        fake_clock.advance(60)
    fake_clock.wait_until_parked()
    assert 4 == owner.ticks


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_the_thread_survives_what_its_owner_raises(
    fake_clock: FakeClock, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    """It logs the type, waits a second and goes on."""
    owner = Owner(kind("secret"), 5.0)
    started(owner, fake_clock)
    fake_clock.wait_until_parked()
    fake_clock.advance(1)
    fake_clock.wait_until_parked()
    assert (2, True, False) == (owner.ticks, kind.__name__ in caplog.text, "secret" in caplog.text)


def test_the_thread_ends_with_its_owner(fake_clock: FakeClock) -> None:
    """It does not keep the owner, and is woken when that is collected."""
    owner = Owner()
    thread = started(owner, fake_clock)
    fake_clock.wait_until_parked()
    del owner
    gc.collect()
    thread.join(10)
    assert thread.has_ended
