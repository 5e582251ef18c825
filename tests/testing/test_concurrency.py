"""Threads and children that work at once: what each came to, and that none is waited for without end."""

import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from tokenkit.testing._contract.concurrency import in_child, in_children, in_threads, killed_in_child

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def test_threads_give_what_they_returned_or_raised() -> None:
    """Each in its own slot, whatever the others came to."""
    returned, raised = in_threads(2, lambda number: 1 // (1 - number))
    assert (1, ZeroDivisionError) == (returned, type(raised))


def test_a_thread_that_hangs_is_no_thread_that_returned_nothing() -> None:
    """Its slot holds a TimeoutError once the patience is over; the slots of the others are theirs."""
    over = threading.Event()
    hung, done = in_threads(2, lambda number: number or over.wait(10), patience=1)
    over.set()
    assert (TimeoutError, 1) == (type(hung), done)


@needs_fork
def test_children_tell_true_from_false() -> None:
    """A child fails by what it returns, by what it raises, and by how it ends."""
    works = [lambda: True, lambda: False, lambda: 1 // 0, lambda: os.kill(os.getpid(), signal.SIGKILL)]
    assert [True, False, False, False] == in_children(4, lambda number: works[number]())


@needs_fork
def test_a_child_that_hangs_is_killed_and_has_failed(capfd: pytest.CaptureFixture[str]) -> None:
    """As one does that meets a lock which another thread held at the fork."""
    lock = threading.Lock()
    with lock:
        assert not in_child(lock.acquire, patience=0.2)
    assert "hung" in capfd.readouterr().err


@needs_fork
@pytest.mark.parametrize(
    ("work", "killed"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), True),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), False),
        (lambda: sys.exit(9), False),
        (lambda: 1 // 0, False),
        (lambda: True, False),
    ],
    ids=["killed", "terminated", "left", "failed", "returned"],
)
def test_a_kill_of_its_own_is_told_from_every_other_end(work: Callable[[], object], killed: bool) -> None:
    """Only the child that came to its SIGKILL counts as killed."""
    assert killed == killed_in_child(work)


@needs_fork
def test_a_child_killed_for_hanging_did_not_kill_itself() -> None:
    """It never came to what it was to do."""
    assert not killed_in_child(lambda: threading.Event().wait(20), patience=0.2)
