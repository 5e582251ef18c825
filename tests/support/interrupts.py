"""Real signals whose handler raises, as the soft time limits of job queues do; they fall anywhere into what runs."""

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def _is_measured() -> bool:
    coverage = sys.modules.get("coverage")
    return coverage is not None and coverage.Coverage.current() is not None


# How many times as much the proofs try as they do by default; CI says 10.
DEPTH = int(os.environ.get("TOKENKIT_DEPTH", "1"))

# An interrupt may fall into coverage, too, and leaves its lock locked for ever: CI runs these once more without it.
unmeasured = pytest.mark.skipif(_is_measured(), reason="an interrupt would leave coverage's own lock locked")
needs_timer = pytest.mark.skipif(
    _is_measured() or not hasattr(signal, "setitimer"), reason="coverage measures, or there is no interval timer"
)

_AGAIN = 0.02  # seconds after which there is another one, where a ``__del__`` has swallowed the first


class Interrupt(BaseException):
    """What the handler raises."""


def _raise(*_: object) -> None:
    raise Interrupt


def _report(unraisable: Any) -> None:
    if unraisable.exc_type is not Interrupt:  # which may fall into a __del__, too
        sys.__unraisablehook__(unraisable)


@contextmanager
def _handled() -> Iterator[None]:
    # pytest-timeout uses the same timer; it gets it back as it was.
    remaining, theirs = signal.setitimer(signal.ITIMER_REAL, 0), signal.signal(signal.SIGALRM, _raise)
    hook, sys.unraisablehook = sys.unraisablehook, _report
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGALRM, theirs)
        signal.setitimer(signal.ITIMER_REAL, *remaining)


def storm(
    work: Callable[[], object], times: int, *, longest: float = 0.0003, after: Callable[[], object] = int
) -> None:
    """Call *work* again and again, in the main thread, while signals fall into it.

    Args:
        work: What is to be interrupted.
        times: How many signals.
        longest: Seconds until the next one, at most; drawn at random.
        after: Called after each, undisturbed.
    """
    with _handled():
        for _ in range(times):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, longest), _AGAIN)
                    while True:
                        work()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                pass
            after()
