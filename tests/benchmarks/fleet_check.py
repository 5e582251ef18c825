"""The model beside the machine: 64 real processes over 20 lifetimes, with tokens of three seconds."""

import os
import queue
import tempfile
import time

from fleet_model import SHARINGS, Day, Fleet

from tokenkit.clock import SystemClock
from tokenkit.contracts import FetchContext, TokenProvider
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy
from tokenkit.storage import FileTokenStorage
from tokenkit.tokens import Token

__all__ = ["check"]

PROCESSES, LIFETIME, LIFETIMES = 64, 3.0, 20
MOST = 0.1
POLICY = RefreshPolicy(storage_poll=0.25)  # as a poll of five minutes is to tokens of an hour
LATENCY = 0.05
CLOCK = SystemClock()


class Source(TokenProvider):
    """Takes a moment, and counts."""

    service_name = "fleet"
    fetches = 0

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        self.fetches += 1
        rest(LATENCY)
        return Token.of(f"{os.getpid()}-{self.fetches}", expires_in=LIFETIME)


def rest(seconds: float) -> None:
    CLOCK.nap(queue.SimpleQueue(), seconds)


def child(folder: str | None, end: float) -> int:
    """Call once every half a second, as a program at work; return how often the source was asked."""
    source = Source()
    with TokenManager(source, None if folder is None else FileTokenStorage(folder), policy=POLICY) as manager:
        while time.monotonic() < end:
            manager.get_token()
            rest(0.5)
    return source.fetches


def real(folder: str | None) -> int:
    """Return how many fetches the processes make."""
    end, pipes = time.monotonic() + LIFETIMES * LIFETIME, []
    for _ in range(PROCESSES):
        reading, writing = os.pipe()
        if os.fork() == 0:
            fetches = -1
            try:
                fetches = child(folder, end)
            finally:
                os.write(writing, str(fetches).encode())
                os._exit(0)
        os.close(writing)
        pipes.append(reading)
    counts = []
    for pipe in pipes:
        with os.fdopen(pipe, "rb") as reader:
            counts.append(int(reader.read() or b"-1"))
        os.wait()
    if min(counts) < 0:
        raise RuntimeError("a process failed")
    return sum(counts)


def modelled(name: str) -> int:
    """Return how many the model makes, of one host."""
    span = LIFETIMES * LIFETIME
    one = Day(1, PROCESSES, span, LIFETIME, POLICY, calls=2.0, latency=(LATENCY, LATENCY), started_within=0.2)
    return len(Fleet(one, SHARINGS[name]).run().issued)


def check() -> int:
    """Print both, and return 1 where they differ too much."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, place in {"a file on each host": folder, "no storage": None}.items():
            ours, theirs = modelled(name), real(place)
            worst = max(worst, abs(ours / theirs - 1))
            print(f"{name}: {theirs} fetches of {PROCESSES} processes in {LIFETIMES} lifetimes, {ours} in the model")
    print(f"apart by {worst:.1%} at most; to be within {MOST:.0%}")
    return 0 if worst <= MOST else 1
