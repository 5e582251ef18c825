"""The one thread that knows when something is to be done: whom it asks and when, and what it survives."""

import gc
import math
import queue
import threading
import time
from collections.abc import Callable

import pytest

from tokenkit._refresh_thread import AT_ONCE, RefreshThread, Work, refresh_thread
from tokenkit.clock import SystemClock
from tokenkit.testing import FakeClock

PATIENCE = 10.0  # real seconds


class Owner:
    """Has one piece of work to be done at a moment of its clock, and says in its diary what happened."""

    def __init__(self, thread: RefreshThread, moment: float, run: Callable[[], object] = bool) -> None:
        self.diary: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._moment = moment
        self._run = run
        self._ticket = thread.ticket(self)  # type: ignore[arg-type]  # as an engine is one: by its methods
        thread.tell(self._ticket, moment)

    def tick(self, now: float) -> tuple[float, tuple[int, float] | None]:
        if now < self._moment:
            return self._moment, None
        self.diary.put(f"asked at {now:g}")
        return math.inf, AT_ONCE

    def begin(self, now: float, may_supersede: bool) -> Work | None:
        self._moment = math.inf
        return Work(self._work, now + 1000)

    def refuse(self) -> None:
        self.diary.put("refused")

    def _work(self) -> None:
        self.diary.put(threading.current_thread().name)
        self._run()


def wait_until_given_up(thread: RefreshThread) -> None:
    deadline = time.monotonic() + PATIENCE
    while thread.runs() and time.monotonic() < deadline:
        time.sleep(0.05)  # nobody tells of a birth that does not come


class BrokenOff(BaseException):
    pass


class BrokenClock(FakeClock):
    """Something is thrown into its first naps."""

    left = 3

    def nap(self, mailbox: "queue.SimpleQueue[None]", timeout: float | None) -> None:
        if self.left:
            self.left -= 1
            raise BrokenOff
        super().nap(mailbox, timeout)


def test_work_is_done_on_a_worker_when_its_moment_comes() -> None:
    """Not before; the thread itself does none."""
    clock = FakeClock()
    thread = RefreshThread(clock)
    began = clock.monotonic()
    owner = Owner(thread, began + 60)
    thread.ensure()
    clock.wait_until_parked()
    clock.advance(59)
    clock.wait_until_parked()
    assert owner.diary.empty()
    clock.advance(1)
    assert f"asked at {began + 60:g}" == owner.diary.get(timeout=PATIENCE)
    assert "tokenkit-worker" == owner.diary.get(timeout=PATIENCE)


def test_who_is_told_first_keeps_nobody_waiting_who_is_due_earlier() -> None:
    """The nearest moment is waited for, whoever named it, even while the thread naps for a later one."""
    clock = FakeClock()
    thread = RefreshThread(clock)
    late = Owner(thread, clock.monotonic() + 600)
    thread.ensure()
    clock.wait_until_parked()
    early = Owner(thread, clock.monotonic() + 5)
    clock.wait_until_parked()
    clock.advance(5)
    early.diary.get(timeout=PATIENCE)
    assert late.diary.empty()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_is_thrown_into_the_thread_ends_no_service() -> None:
    """Not even where it falls into the recovery from the one before: another thread takes over what is to be done."""
    clock = BrokenClock()
    thread = RefreshThread(clock)
    owner = Owner(thread, clock.monotonic() + 5)
    thread.ensure()
    clock.wait_until_parked()
    assert 0 == clock.left
    clock.advance(5)
    owner.diary.get(timeout=PATIENCE)
    assert "tokenkit-worker" == owner.diary.get(timeout=PATIENCE)


def test_work_that_breaks_off_leaves_its_worker() -> None:
    """Whatever comes out of it; the next piece of work is done."""

    def broken() -> None:
        raise BrokenOff

    clock = FakeClock()
    thread = RefreshThread(clock)
    for run in (broken, bool):
        owner = Owner(thread, clock.monotonic(), run)
        thread.ensure()
        owner.diary.get(timeout=PATIENCE)
        assert "tokenkit-worker" == owner.diary.get(timeout=PATIENCE)


class Interrupted(Owner):
    """Something is thrown into its first answer."""

    tried = False

    def begin(self, now: float, may_supersede: bool) -> Work | None:
        if not self.tried:
            self.tried = True
            raise BrokenOff
        return super().begin(now, may_supersede)


def test_who_was_asked_when_something_was_thrown_in_is_asked_again() -> None:
    """At once, and the worker that was to have its work does it: none is left behind."""
    before = set(threading.enumerate())
    thread = RefreshThread(FakeClock())
    owner = Interrupted(thread, 0.0)
    thread.ensure()
    assert "asked at 1000" == owner.diary.get(timeout=PATIENCE)
    assert "asked at 1000" == owner.diary.get(timeout=PATIENCE)
    assert "tokenkit-worker" == owner.diary.get(timeout=PATIENCE)
    assert 1 == len({one for one in threading.enumerate() if one.name == "tokenkit-worker"} - before)


def test_who_is_gone_before_the_thread_hears_of_it_is_no_hindrance() -> None:
    """A manager that was told of and collected at once: the thread serves all others."""
    clock = FakeClock()
    thread = RefreshThread(clock)
    Owner(thread, clock.monotonic())  # nobody keeps it
    gc.collect()
    owner = Owner(thread, clock.monotonic())
    thread.ensure()
    assert owner.diary.get(timeout=PATIENCE).startswith("asked")


def test_an_owner_hears_that_no_worker_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again; the thread goes on."""
    clock = FakeClock()
    thread = RefreshThread(clock)

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    owner = Owner(thread, clock.monotonic() + 5)
    thread.ensure()
    clock.wait_until_parked()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        clock.advance(5)
        owner.diary.get(timeout=PATIENCE)
        assert "refused" == owner.diary.get(timeout=PATIENCE)
    assert thread.runs()


def test_a_thread_that_dies_before_it_has_begun_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one into which something is thrown at once: whoever needs it a second later starts another."""
    clock = FakeClock()
    thread = RefreshThread(clock)
    owner = Owner(thread, clock.monotonic())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _: None)
        thread.ensure()
    assert thread.runs()
    wait_until_given_up(thread)
    thread.ensure()
    assert owner.diary.get(timeout=PATIENCE).startswith("asked")


class LateInbox(queue.SimpleQueue):  # type: ignore[type-arg]  # as it is made: of what, is the thread's affair
    """Gets a message while the thread asks whether it is empty, and something falls into that question."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = [tell]

    def empty(self) -> bool:
        if self._tell:
            self._tell.pop()()
            raise BrokenOff
        return super().empty()


def test_what_falls_into_the_thread_as_it_ends_leaves_no_message_behind() -> None:
    """It has not ended then: it goes on."""
    clock = FakeClock()
    thread, owners = RefreshThread(clock), queue.SimpleQueue[Owner]()
    thread._inbox = LateInbox(lambda: owners.put(Owner(thread, clock.monotonic())))
    thread.ensure()
    owner = owners.get(timeout=PATIENCE)
    assert owner.diary.get(timeout=PATIENCE).startswith("asked")


@pytest.mark.parametrize("dies", [True, False])
def test_a_worker_that_does_not_begin_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    """As one into which something is thrown at once, for which CPython waits for ever: another thread takes over."""
    start, starting, let_go = threading.Thread.start, queue.SimpleQueue[threading.Thread](), threading.Event()
    clock = FakeClock()
    thread = RefreshThread(clock)
    first, second = (Owner(thread, clock.monotonic() + seconds) for seconds in (5, 6))

    def start_late(newborn: threading.Thread) -> None:
        if newborn.name == "tokenkit-worker" and not let_go.is_set():
            starting.put(threading.current_thread())
            assert let_go.wait(PATIENCE)
            if dies:
                raise BrokenOff
        start(newborn)

    thread.ensure()
    clock.wait_until_parked()
    monkeypatch.setattr(threading.Thread, "start", start_late)
    clock.advance(5)
    stuck = starting.get(timeout=PATIENCE)
    assert thread.runs()  # so far it is but slow
    wait_until_given_up(thread)
    monkeypatch.setattr(threading.Thread, "start", start)
    thread.ensure()
    assert ["asked at 1005"] * 2 == [first.diary.get(timeout=PATIENCE) for _ in range(2)]
    assert "tokenkit-worker" == first.diary.get(timeout=PATIENCE)
    clock.wait_until_parked()
    let_go.set()
    stuck.join(PATIENCE)
    assert (False, True) == (stuck.is_alive(), thread.runs())
    clock.advance(1)
    assert "asked at 1006" == second.diary.get(timeout=PATIENCE)
    assert "tokenkit-worker" == second.diary.get(timeout=PATIENCE)
    assert first.diary.empty()


@pytest.mark.parametrize("has_begun", [True, False])
def test_who_is_interrupted_as_it_starts_the_thread_leaves_one_of_them(
    monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    """However far the newborn is: two would share one bell, and who wakes up to leave takes the ring of the other."""
    start, born = threading.Thread.start, list[threading.Thread]()
    clock = FakeClock()
    thread = RefreshThread(clock)
    owner = Owner(thread, clock.monotonic() + 5)

    def interrupted(newborn: threading.Thread) -> None:
        born.append(newborn)
        if has_begun:
            start(newborn)
            clock.wait_until_parked()
        raise BrokenOff

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(BrokenOff):
            thread.ensure()
        patched.setattr(threading.Thread, "start", lambda newborn: (born.append(newborn), start(newborn)))
        thread.ensure()
    if not has_begun:
        start(born[0])
        born[0].join(PATIENCE)
    assert [False, True][-len(born) :] == [one.is_alive() for one in born]
    assert thread.runs()
    clock.wait_until_parked()
    clock.advance(5)
    assert owner.diary.get(timeout=PATIENCE).startswith("asked")


def test_a_thread_with_nothing_to_wait_for_ends() -> None:
    """Its last owner is gone; nobody keeps it."""
    clock = FakeClock()
    before = set(threading.enumerate())
    thread = RefreshThread(clock)
    owner = Owner(thread, clock.monotonic() + 5)
    thread.ensure()
    (one,) = (new for new in set(threading.enumerate()) - before if new.name == "tokenkit-refresh")
    del owner
    for _ in range(100):
        clock.advance(1000)
        one.join(PATIENCE / 100)
        if not one.is_alive():
            break
    assert not one.is_alive()


def test_all_system_clocks_are_one() -> None:
    """Each fake clock has a thread of its own."""
    ours, theirs, fake = refresh_thread(SystemClock()), refresh_thread(SystemClock()), refresh_thread(FakeClock())
    assert (True, False) == (ours is theirs, ours is fake)
