"""What many managers of one process cost: ``python tests/manager/proof/many.py [MANAGERS]``, 10,000 unless said.

Real threads, a minute or two in all; it prints a table, and ends with 1 where a figure is beyond
its limit. ``FIGURES`` may be called one by one: each takes the number of managers and returns rows.
"""

import gc
import os
import queue
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from tokenkit import RefreshPolicy, Token, TokenManager
from tokenkit.clock import Clock, SystemClock
from tokenkit.contracts import FetchContext, TokenProvider

LIFETIME = 300.0  # seconds
DUE = 0.8 * LIFETIME
POLICY = RefreshPolicy(jitter=0, lifetime_safe_fraction=0.8)
MARGIN = 10.0  # seconds before its expiry that a token is used no more
FAR = 200.0  # seconds until the first tokens are due


class SkippingClock(Clock):
    """The system's, with the time taken out that a test has no patience for."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead = 0.0

    def skip_to(self, moment: float) -> None:
        """Go on at that wall time; a token is asked for, so that the thread, which may be napping, sees it."""
        self._ahead += max(0.0, moment - self.time())
        with TokenManager(Source(self), policy=POLICY, clock=self) as manager:
            manager.get_token()

    def time(self) -> float:
        return self._system.time() + self._ahead

    def monotonic(self) -> float:
        return self._system.monotonic() + self._ahead

    def nap(self, mailbox: "queue.SimpleQueue[None]", timeout: float | None) -> None:
        self._system.nap(mailbox, timeout)


class Row(NamedTuple):
    """One line of the table."""

    what: str
    figure: float
    limit: float | None
    unit: str

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"at most {self.limit:,g}"
        return f"{self.what:<62} {self.figure:>10,.4g} {self.unit:<8} {limit}".rstrip()


class Source(TokenProvider):
    """Its first token is due at a moment that is given; it takes a while for each of the others."""

    service_name = "many"

    def __init__(self, clock: Clock, due_at: float = 0.0, seconds: float = 0.0) -> None:
        self.clock = clock
        self.due_at = due_at
        self.seconds = seconds
        self.asked_at: list[float] = []
        self.most_threads = 0

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        self.asked_at.append(self.clock.time())
        if len(self.asked_at) == 1:
            issued = self.due_at - DUE if self.due_at else self.clock.time()
        else:
            self.most_threads = threading.active_count()
            time.sleep(self.seconds)
            issued = self.clock.time()
        began = datetime.fromtimestamp(issued, timezone.utc)
        return Token(f"token-{len(self.asked_at)}", issued_at=began, expires_at=began + timedelta(seconds=LIFETIME))


def hold(sources: Sequence[Source]) -> list[TokenManager]:
    """Return a manager of each source, with its first token."""
    managers = [TokenManager(source, policy=POLICY, clock=source.clock) for source in sources]
    for manager in managers:
        manager.get_token()
    return managers


def close(managers: Sequence[TokenManager]) -> float:
    """Close all; return the seconds that it took."""
    began = time.perf_counter()
    for manager in managers:
        manager.stop()
    for manager in managers:
        manager.close()
    return time.perf_counter() - began


def settled() -> int:
    """Return how many threads there are besides this one when those that were lent out have ended."""
    deadline = time.monotonic() + 15  # a worker lingers for ten seconds
    while threading.active_count() > 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return threading.active_count() - 1


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def idle(number: int) -> list[Row]:
    """What those cost that have nothing to do for four minutes."""
    clock, before = SystemClock(), descriptors()
    sources = [Source(clock) for _ in range(number)]
    gc.collect()
    tracemalloc.start()
    managers = hold(sources)
    gc.collect()
    kib = tracemalloc.get_traced_memory()[0] / 1024 / number
    tracemalloc.stop()
    return [
        Row("idle: threads besides the main one", settled(), 1, ""),
        Row("idle: memory of each beyond its source, token included", kib, 6, "KiB"),
        Row("idle: descriptors", descriptors() - before, 0, ""),
        Row("idle: closing all", close(managers), None, "s"),
    ]


def due(number: int) -> list[Row]:
    """How those fare that are all due within one second, from a source that takes a tenth of one."""
    clock = SkippingClock()
    start = clock.time() + FAR
    sources = [Source(clock, start + one / number, 0.1) for one in range(number)]
    managers = hold(sources)
    clock.skip_to(start - 1)
    while clock.time() < start + LIFETIME and any(len(one.asked_at) < 2 for one in sources):
        time.sleep(0.1)
    took = clock.time() - start
    expired = sum(one.asked_at[1] + 0.1 > one.due_at + LIFETIME - DUE - MARGIN for one in sources)
    close(managers)
    return [
        Row("due within a second: threads", max(one.most_threads for one in sources), 66, ""),
        Row("due within a second: all renewed after", took, LIFETIME - DUE - MARGIN, "s"),
        Row("due within a second: tokens that expired", expired, 0, ""),
    ]


def on_time(number: int) -> list[Row]:
    """How late renewals begin where at most fifty are due at once, among others that are not."""
    clock, turns = SkippingClock(), min(20, number // 50)
    start = clock.time() + FAR
    sources = [Source(clock, start + turn * 0.3, 0.1) for turn in range(turns) for _ in range(50)]
    managers = hold([*sources, *(Source(clock, start + 60) for _ in range(number - len(sources)))])
    clock.skip_to(start - 1)
    time.sleep(turns * 0.3 + 2)
    late = sorted(one.asked_at[1] - one.due_at if len(one.asked_at) > 1 else float("inf") for one in sources)
    close(managers)
    return [
        Row("fifty due at once: the median begins late by", late[len(late) // 2] * 1000, None, "ms"),
        Row("fifty due at once: the last begins late by", late[-1] * 1000, 50, "ms"),
    ]


def after_fork(number: int) -> list[Row]:
    """What a forked child's first renewal costs beside so many managers that it does not use."""
    if not hasattr(os, "fork"):
        return []
    managers = hold([Source(SystemClock()) for _ in range(number)])
    settled()
    best = float("inf")
    for _ in range(5):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            began = time.perf_counter()
            managers[0].force_refresh(5)
            os.write(write, repr(time.perf_counter() - began).encode())
            os._exit(0)
        os.waitpid(child, 0)
        best = min(best, float(os.read(read, 64)))
        os.close(read)
        os.close(write)
    close(managers)
    return [Row("forked: a child's first renewal, the best of five", best * 1000, 50, "ms")]


def closing_amid(number: int) -> list[Row]:
    """How long it takes to close all while ten renewals are under way, of half a second each."""
    clock = SkippingClock()
    start = clock.time() + FAR
    busy = [Source(clock, start, 0.5) for _ in range(10)]
    managers = hold([*busy, *(Source(clock, start + 60) for _ in range(number - 10))])
    clock.skip_to(start)
    while any(len(one.asked_at) < 2 for one in busy):
        time.sleep(0.01)
    return [Row("closing all while ten renewals of 0.5 s are under way", close(managers), None, "s")]


FIGURES: list[Callable[[int], list[Row]]] = [idle, due, on_time, after_fork, closing_amid]


def main(number: int) -> int:
    print(f"{number:,} managers, Python {sys.version.split()[0]}")
    rows = []
    for figures in FIGURES:
        for row in figures(number):
            print(row, flush=True)
            rows.append(row)
    return int(any(row.limit is not None and row.figure > row.limit for row in rows))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else 10_000))
