"""Work done by many at once, in tests: threads that start together, and forked children."""

from __future__ import annotations

import os
import threading
import traceback
import warnings
from collections.abc import Callable
from functools import partial

__all__ = ["in_child", "in_children", "in_threads"]

_PATIENCE = 20.0  # seconds


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """Run *work* with 0, 1, ... in *count* threads that start together; return what each returned or raised."""
    barrier = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(number: int) -> None:
        barrier.wait(_PATIENCE)
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * _PATIENCE)
    return results


def in_child(work: Callable[[], object]) -> bool:
    """Run *work* in a forked child; return whether it returned something true. What it raised goes to stderr."""
    return in_children(1, lambda _: work()) == [True]


def in_children(count: int, work: Callable[[int], object]) -> list[bool]:
    """Run *work* with 0, 1, ... in *count* forked children at once; return of each what :func:`in_child` does."""
    pids = [_fork(partial(work, number)) for number in range(count)]
    return [os.waitpid(pid, 0)[1] == 0 for pid in pids]


def _fork(work: Callable[[], object]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork beside threads; that is the test
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() else 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid
