"""FakeClock: time that only a test moves."""

import math
import queue
import threading
import time

import pytest

from tokenkit.testing import FakeClock


class Sleepers:
    """Threads that wait, each on a mailbox of its own, until `done`, as the package's own waiters do."""

    def __init__(self, clock, count, timeout):
        self.clock = clock
        self.mailboxes = [queue.SimpleQueue() for _ in range(count)]
        self.done = False
        self.woke_at = []
        self.threads = [threading.Thread(target=self.sleep, args=(one, timeout), daemon=True) for one in self.mailboxes]
        for thread in self.threads:
            thread.start()

    def sleep(self, mailbox, timeout):
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        while not self.done:
            remaining = None if deadline is None else deadline - self.clock.monotonic()
            if remaining is not None and remaining <= 0:
                break
            self.clock.nap(mailbox, remaining)
        self.woke_at.append(self.clock.monotonic())

    def finish(self):
        self.done = True
        for mailbox in self.mailboxes:
            mailbox.put(None)

    def join(self):
        for thread in self.threads:
            thread.join(5)
            assert not thread.is_alive()


class Napper:
    """A thread that naps again and again, counting, until it is stopped."""

    def __init__(self, clock, timeout):
        self.clock = clock
        self.timeout = timeout
        self.mailbox = queue.SimpleQueue()
        self.naps = 0
        self.stopped = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            self.clock.nap(self.mailbox, self.timeout)
            self.naps += 1

    def stop(self):
        self.stopped = True
        self.mailbox.put(None)
        self.thread.join(5)
        assert not self.thread.is_alive()


def test_it_stands_still(fake_clock):
    """Both readings stay what they are until somebody moves them."""
    before = (fake_clock.time(), fake_clock.monotonic())
    assert before == (fake_clock.time(), fake_clock.monotonic())


def test_the_start_is_what_the_wall_clock_shows():
    """The wall clock starts where it is told to."""
    assert 12.5 == FakeClock(12.5).time()


def test_the_start_is_now_unless_it_is_told():
    """What is dated by the system's time is as good here; whole seconds keep sums exact."""
    before = time.time()
    shown = FakeClock().time()
    assert math.floor(before) <= shown <= time.time()
    assert shown.is_integer()


def test_advance_moves_both_readings(fake_clock):
    """Many small steps add up exactly."""
    wall, monotonic = fake_clock.time(), fake_clock.monotonic()
    for _ in range(1000):
        fake_clock.advance(0.1)
    assert (wall + 100, monotonic + 100) == (fake_clock.time(), fake_clock.monotonic())


@pytest.mark.parametrize("move", ["advance", "suspend"])
def test_time_does_not_run_backwards(fake_clock, move):
    """A negative step or a NaN is a ValueError."""
    for seconds in (-1, float("nan")):
        with pytest.raises(ValueError):
            getattr(fake_clock, move)(seconds)


def test_a_step_moves_the_wall_alone(fake_clock):
    """An NTP step leaves the monotonic reading where it is and wakes nobody."""
    wall, monotonic = fake_clock.time(), fake_clock.monotonic()
    sleepers = Sleepers(fake_clock, 1, 60)
    fake_clock.wait_until_parked(1)
    fake_clock.step_wall(-3600)
    assert (wall - 3600, monotonic, 1) == (fake_clock.time(), fake_clock.monotonic(), fake_clock.parked)
    sleepers.finish()
    sleepers.join()


def test_advance_wakes_those_whose_time_has_come(fake_clock):
    """The due ones return at their deadline, the others stay parked."""
    early, late = Sleepers(fake_clock, 8, 10), Sleepers(fake_clock, 8, 20)
    fake_clock.wait_until_parked(16)
    fake_clock.advance(10)
    assert 8 == fake_clock.parked
    early.join()
    assert ([fake_clock.monotonic()] * 8, []) == (early.woke_at, late.woke_at)
    fake_clock.advance(10)
    late.join()


def test_a_wait_shorter_than_its_deadline_goes_on(fake_clock):
    """A thread is not woken before its time, however often the clock moves."""
    sleepers = Sleepers(fake_clock, 1, 10)
    for _ in range(99):
        fake_clock.wait_until_parked(1)
        fake_clock.advance(0.1)
    assert 1 == fake_clock.parked
    assert fake_clock.until_next_wake == pytest.approx(0.1)
    fake_clock.advance(0.1)
    sleepers.join()


def test_waiting_for_threads_that_never_come_fails(fake_clock):
    """`wait_until_parked` gives up and says how many there were."""
    sleepers = Sleepers(fake_clock, 1, None)
    with pytest.raises(AssertionError, match=r"1 of 2 threads were parked after 0.2 s"):
        fake_clock.wait_until_parked(2, timeout=0.2)
    sleepers.finish()
    sleepers.join()


def test_a_lost_wake_up_hangs_no_test():
    """The nap of a thread that nobody wakes ends after some real time."""
    clock = FakeClock(patience=0.05)
    clock.nap(queue.SimpleQueue(), 60)
    assert 0 == clock.parked


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_nap_of_nothing_returns_at_once(fake_clock, timeout):
    """Zero or less neither parks nor takes time."""
    now = fake_clock.monotonic()
    fake_clock.nap(queue.SimpleQueue(), timeout)
    assert now == fake_clock.monotonic()


def test_what_floats_leave_over_passes(fake_clock):
    """A loop until a deadline ends although a nap below a nanosecond cannot be told from none."""
    deadline = fake_clock.monotonic() + 2e-10
    while (remaining := deadline - fake_clock.monotonic()) > 0:
        fake_clock.nap(queue.SimpleQueue(), remaining)


def test_a_nap_ends_when_its_time_is_over(fake_clock):
    """A nap that nobody disturbs takes its seconds, and nothing is left in the mailbox."""
    napper = Napper(fake_clock, 60)
    for expected in (0, 1, 2):
        fake_clock.wait_until_parked(1)
        assert expected == napper.naps
        fake_clock.advance(60)
    fake_clock.wait_until_parked(1)
    assert napper.mailbox.empty()
    napper.stop()


def test_an_item_ends_a_nap(fake_clock):
    """One item ends one nap, and `wait_until_parked` does not take the woken thread for a parked one."""
    napper = Napper(fake_clock, None)
    for expected in range(50):
        fake_clock.wait_until_parked(1)
        assert expected == napper.naps
        napper.mailbox.put(None)
    fake_clock.wait_until_parked(1)
    assert (50, None) == (napper.naps, fake_clock.until_next_wake)
    napper.stop()


def test_an_item_that_is_there_already_ends_a_nap_at_once(fake_clock):
    """A nap of no time takes an item, too, and does not wait for one."""
    mailbox = queue.SimpleQueue()
    mailbox.put(None)
    fake_clock.nap(mailbox, 0)
    assert mailbox.empty()
    fake_clock.nap(mailbox, 0)


def test_a_suspend_does_not_shorten_a_wait(fake_clock):
    """Both readings count a suspend; parked threads still have the rest of their wait before them."""
    wall, monotonic = fake_clock.time(), fake_clock.monotonic()
    napper = Napper(fake_clock, 60)
    fake_clock.wait_until_parked(1)
    fake_clock.suspend(3600)
    assert (wall + 3600, monotonic + 3600) == (fake_clock.time(), fake_clock.monotonic())
    assert (1, 60) == (fake_clock.parked, fake_clock.until_next_wake)
    fake_clock.advance(60)
    fake_clock.wait_until_parked(1)
    assert 1 == napper.naps
    napper.stop()


def test_a_crowd_of_threads_keeps_time(fake_clock):
    """Every one of 50 threads with deadlines of their own wakes in the step that reaches it, never later."""
    crowd = [Sleepers(fake_clock, 1, seconds) for seconds in range(1, 51)]
    start = fake_clock.monotonic()
    for parked_before, sleepers in zip(range(50, 0, -1), crowd, strict=True):
        fake_clock.wait_until_parked(parked_before)
        fake_clock.advance(1)
        sleepers.join()
    assert [[start + seconds] for seconds in range(1, 51)] == [sleepers.woke_at for sleepers in crowd]


def test_the_repr_tells_the_time():
    """A failing assertion shows what the clock shows."""
    assert "FakeClock(time=1800000000.000, parked=0)" == repr(FakeClock(1_800_000_000))
