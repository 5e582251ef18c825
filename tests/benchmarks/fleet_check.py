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

__all__ = ["LIFETIMES", "PROCESSES", "check"]

PROCESSES, LIFETIME, LIFETIMES = 64, 3.0, 20
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


def real(places: dict[str, str | None]) -> dict[str, int]:
    """Return how many fetches the processes make that share each of *places*; all live at the same time."""
    end, pipes = time.monotonic() + LIFETIMES * LIFETIME, []
    for name, folder in [*places.items()] * PROCESSES:
        reading, writing = os.pipe()
        if os.fork() == 0:
            fetches = -1
            try:
                fetches = child(folder, end)
            finally:
                os.write(writing, str(fetches).encode())
                os._exit(0)
        os.close(writing)
        pipes.append((name, reading))
    counts = dict.fromkeys(places, 0)
    for name, pipe in pipes:
        with os.fdopen(pipe, "rb") as reader:
            fetches = int(reader.read() or b"-1")
        os.wait()
        if fetches < 0:
            raise RuntimeError("a process failed")
        counts[name] += fetches
    return counts


def modelled(name: str) -> int:
    """Return how many the model makes, of one host."""
    span = LIFETIMES * LIFETIME
    one = Day(1, PROCESSES, span, LIFETIME, POLICY, calls=2.0, latency=(LATENCY, LATENCY), started_within=0.2)
    return len(Fleet(one, SHARINGS[name]).run().issued)


def check() -> dict[str, tuple[int, int]]:
    """Return the fetches of the processes and those of the model, by what they share."""
    with tempfile.TemporaryDirectory() as folder:
        counts = real({"no storage": None, "a file on each host": folder})
    return {name: (fetches, modelled(name)) for name, fetches in counts.items()}
