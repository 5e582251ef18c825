import signal
import subprocess
import sys
import threading

import pytest
from support.interrupts import needs_timer, storm

from tokenkit._guard import Guard

SIGNALS = 1000

AT_THE_END = r"""
import os, threading, time
from tokenkit._guard import Guard

guard, inside = Guard(), threading.Event()
elsewhere = {"guard": guard, "inside": inside, "never": threading.Event()}  # the thread's frame keeps its globals alive
exec("def keep():\n  with guard: inside.set(); never.wait()", elsewhere)

class Late:
    def __del__(self, guard=guard, clock=time.monotonic, say=os.write):
        began = clock()
        try:
            with guard:
                say(1, b"entered")
        except RuntimeError:
            say(1, b"refused in time" if clock() - began < 5 else b"refused late")

threading.Thread(target=elsewhere["keep"], daemon=True).start()
inside.wait()
late = Late()
"""


def enter(guard: Guard) -> None:
    with guard:
        pass


@needs_timer
def test_no_signal_leaves_it_locked() -> None:
    """A handler that raises, at any moment of entering, being inside and leaving, finds the lock free afterwards."""
    guard = Guard()
    left: list[str] = []

    def in_another_thread() -> None:
        if not guard.acquire(timeout=0):
            left.append("locked")
        else:
            guard.release()

    def look() -> None:
        other = threading.Thread(target=in_another_thread)
        other.start()
        other.join()
        enter(guard)  # a RuntimeError, if this thread were inside still

    storm(lambda: enter(guard), SIGNALS, after=look)
    assert [] == left


@needs_timer
def test_a_signal_may_fall_into_the_wait() -> None:
    """While another thread keeps taking it, an interrupted thread leaves nothing behind, and releases nobody else's."""
    guard = Guard()
    over = threading.Event()
    failures: list[BaseException] = []
    inside = 0

    def take() -> None:
        nonlocal inside
        try:
            while not over.is_set():
                with guard:
                    inside += 1
                    assert 1 == inside
                    inside -= 1
        except BaseException as error:
            failures.append(error)

    def here() -> None:
        nonlocal inside
        with guard:
            inside += 1
            try:
                assert 1 == inside
            finally:
                inside -= 1

    other = threading.Thread(target=take)
    other.start()
    try:
        storm(here, SIGNALS // 10)
    finally:
        over.set()
        other.join(10)
    assert not other.is_alive()
    assert [] == failures


def test_a_thread_that_is_inside_is_refused() -> None:
    """It would find what is guarded half-written; it is told, and the lock stays held until its block ends."""
    guard = Guard()
    with guard:
        with pytest.raises(RuntimeError):
            enter(guard)
        assert guard._is_owned()
    assert not guard._is_owned()


def test_it_keeps_other_threads_out() -> None:
    """Of eight threads one at a time is inside."""
    guard, total = Guard(), 0

    def add() -> None:
        nonlocal total
        for _ in range(2000):
            with guard:
                seen = total
                total = seen + 1

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 16000 == total


def test_at_the_end_nobody_waits_for_a_thread_that_stands_still() -> None:
    """A daemon thread that froze inside while the interpreter ends costs a second, and the process ends."""
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=30, check=False)
    assert ("refused in time", "", 0) == (done.stdout, done.stderr, done.returncode)


class Interrupt(BaseException):
    """What the handler raises."""


@pytest.mark.posix
def test_an_interrupt_that_ends_the_wait_releases_nobody_elses() -> None:
    """It goes on to the caller; who holds the lock goes on holding it."""
    guard = Guard()
    inside, over = threading.Event(), threading.Event()

    def hold() -> None:
        with guard:
            inside.set()
            over.wait(10)
            for _ in range(400):  # one that falls in just before the wait does not end that
                signal.pthread_kill(main, signal.SIGUSR1)
                if released.wait(0.05):
                    break

    def let_go_and_enter() -> None:
        over.set()
        enter(guard)

    def interrupt(*_: object) -> None:
        if not fallen:
            fallen.append(True)
            raise Interrupt

    main, fallen = threading.get_ident(), list[bool]()
    released = threading.Event()
    before = signal.signal(signal.SIGUSR1, interrupt)
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert inside.wait(10)
        with pytest.raises(Interrupt):
            let_go_and_enter()
        assert not guard.acquire(timeout=0)
    finally:
        released.set()
        holder.join(10)
        signal.signal(signal.SIGUSR1, before)
    enter(guard)


def test_while_the_interpreter_ends_a_lock_is_waited_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it counts as one of a thread that never runs again."""
    guard, inside, over = Guard(), threading.Event(), threading.Event()

    def hold() -> None:
        with guard:
            inside.set()
            over.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert inside.wait(10)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "is_finalizing", lambda: True)
            with pytest.raises(RuntimeError, match="a thread that stands still has kept this lock"):
                enter(guard)
    finally:
        over.set()
        holder.join(10)
