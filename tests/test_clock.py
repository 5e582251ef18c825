import queue
import threading
import time
from datetime import datetime, timezone

import pytest

from tokenkit import clock as clock_module
from tokenkit.clock import SystemClock

FOREVER = [threading.TIMEOUT_MAX * 2, 1e300, None]


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


def test_wall_time(clock: SystemClock) -> None:
    """Wall time is the system's, in seconds since the epoch."""
    before = time.time()
    assert before <= clock.time() <= time.time()


def test_now(clock: SystemClock) -> None:
    """The same as an aware datetime."""
    before = datetime.now(timezone.utc)
    assert before <= clock.now() <= datetime.now(timezone.utc)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the platform has no clock that counts suspend")
def test_monotonic_counts_suspend(clock: SystemClock) -> None:
    """On Linux, monotonic time is CLOCK_BOOTTIME, which goes on while the machine is suspended."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert (time.CLOCK_BOOTTIME,) == clock.monotonic.args


def test_monotonic_where_no_clock_counts_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform does not have that clock, or the kernel refuses it, the plain monotonic clock serves."""
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 1_000_000, raising=False)  # a clock that no kernel has
    assert clock_module._monotonic_source() is None
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert clock_module._monotonic_source() is None


@pytest.mark.parametrize("timeout", [0, -1, -1e300])
def test_no_time_to_nap(clock: SystemClock, timeout: float) -> None:
    """A limit of nothing or less neither sleeps nor fails."""
    started = time.monotonic()
    clock.nap(queue.SimpleQueue(), timeout)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("timeout", [50, *FOREVER])
def test_nap_ends_on_an_item(clock: SystemClock, timeout: float | None) -> None:
    """A nap ends when an item arrives, and takes it."""
    mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()
    started = time.monotonic()
    timer = threading.Timer(0.02, mailbox.put, [None])
    timer.start()
    clock.nap(mailbox, timeout)
    timer.join()
    assert mailbox.empty()
    assert time.monotonic() - started < 25


def test_nap_takes_one_item(clock: SystemClock) -> None:
    """A nap with items waiting does not sleep and takes one of them."""
    mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()
    mailbox.put(None)
    mailbox.put(None)
    clock.nap(mailbox, 0)
    assert 1 == mailbox.qsize()


def test_nap_ends_by_itself(clock: SystemClock) -> None:
    """A nap that nobody ends lasts its time."""
    started = time.monotonic()
    clock.nap(queue.SimpleQueue(), 0.05)
    assert 0.04 < time.monotonic() - started < 20
