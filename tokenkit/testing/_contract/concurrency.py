"""Work done by many at once, in tests: threads that start together, and forked children. Each has an end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import pytest

__all__ = ["in_child", "in_children", "in_threads", "killed_in_child"]

_PATIENCE = 40.0  # seconds


def in_threads(count: int, work: Callable[[int], object], *, patience: float = _PATIENCE) -> list[object]:
    """Run *work* with 0, 1, ... in *count* threads that start together; return what each returned or raised.

    Args:
        count: How many.
        work: What each runs.
        patience: Seconds to wait for all of them. A thread that still runs then counts as one that raised a
            ``TimeoutError``; it is a daemon, and goes on.
    """
    barrier = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(number: int) -> None:
        try:
            barrier.wait(patience)
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for number, thread in enumerate(threads):
        if thread.is_alive():
            results[number] = TimeoutError(f"still running after {patience} s")
    return results.copy()  # a thread that goes on changes it no more


def in_child(work: Callable[[], object], *, patience: float = _PATIENCE) -> bool:
    """Run *work* in a forked child; return whether it returned something true. What it raised goes to stderr.

    Args:
        work: What the child runs.
        patience: Seconds to wait for it. A child that still runs then is killed, and has failed.
    """
    return in_children(1, lambda _: work(), patience=patience) == [True]


def in_children(count: int, work: Callable[[int], object], *, patience: float = _PATIENCE) -> list[bool]:
    """Run *work* with 0, 1, ... in *count* forked children at once; return of each what :func:`in_child` does."""
    deadline = time.monotonic() + patience
    pids = [_fork(partial(work, number)) for number in range(count)]
    return [_end(pid, deadline) == 0 for pid in pids]


def killed_in_child(work: Callable[[], object], *, patience: float = _PATIENCE) -> bool:
    """Run *work*, which is to kill its own process, in a forked child; return whether it came to ``SIGKILL``.

    Args:
        work: What the child runs.
        patience: As for :func:`in_child`: a child that has to be killed for hanging has not come to it.
    """
    deadline = time.monotonic() + patience
    status = _end(_fork(work), deadline)
    return status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _end(pid: int, deadline: float) -> int | None:
    """Wait for a child; return its status as ``os.waitpid`` does, or None where it hung and was killed."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            sys.stderr.write(f"the child {pid} hung and was killed\n")
            return None
        time.sleep(0.005)


def _fork(work: Callable[[], object]) -> int:
    if not hasattr(os, "fork"):
        pytest.skip("this platform has no os.fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork beside threads; that is the test
        pid = os.fork()
    if pid == 0:
        _live(work)
    return pid


def _live(work: Callable[[], object]) -> NoReturn:
    status = 1
    try:
        status = 0 if work() else 2
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
