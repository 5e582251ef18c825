import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tokenkit._per_process import PerProcess

THREADS = 16


def test_made_once() -> None:
    """The value is made at its first use and is the same at every later one."""
    made: list[object] = []
    value = PerProcess(lambda: made.append(object()) or made[-1])
    assert [] == made
    assert value.get() is value.get()
    assert 1 == len(made)


def test_peek_and_pop() -> None:
    """A look never makes a value; one that was forgotten is made anew."""
    value: PerProcess[object] = PerProcess(object)
    assert (None, None) == (value.peek(), value.pop())
    first = value.get()
    assert first is value.peek() is value.pop()
    assert value.peek() is None
    assert first is not value.get()


def test_threads_that_race_get_the_same() -> None:
    """Threads that all make a value at the same moment all get the same one."""
    barrier = threading.Barrier(THREADS)

    def make() -> object:
        barrier.wait(10)  # every thread is past the look that found nothing
        return object()

    value: PerProcess[object] = PerProcess(make)
    with ThreadPoolExecutor(THREADS) as pool:
        got = list(pool.map(lambda _: value.get(), range(THREADS)))
    assert {id(value.peek())} == {id(one) for one in got}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a test run in parallel has threads of its own
def test_a_forked_child_makes_its_own() -> None:
    """A child inherits no value: it finds none, and makes another, while the parent keeps its own."""
    value = PerProcess(lambda: f"made in {os.getpid()}")
    mine = value.get()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, f"{value.peek()}, {value.get()}, {value.get() is value.peek()}".encode())
        finally:
            os._exit(0)  # never into the test run that it has a copy of
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert f"None, made in {child}, True" == pipe.read()
    assert 0 == os.waitpid(child, 0)[1]
    assert mine is value.get()
