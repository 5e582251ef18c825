"""Many managers in one process: how much memory and how many threads, and whether each renews in time.

Peers have 200 clients, each with a token: they renew nothing of their own accord. tokenkit has 1,000 and 10,000
managers of a source that takes no time.
"""

import gc
import math
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.crowd import prepared, quantile
from benchmarks.peers import Peer
from benchmarks.realm import Realm
from tokenkit import Token, TokenManager
from tokenkit.fetchers import CallableTokenFetcher

PLAN: dict[str, dict[str, Any]] = {
    "200": {"number": 200},
    "1,000": {"number": 1000, "lifetime": 20.0},
    "10,000": {"number": 10_000, "lifetime": 30.0},
}
ROUNDS = 1
ONLY = {"1,000": ["tokenkit"], "10,000": ["tokenkit"]}
FRESH = True
PATIENCE = 80.0


def resident() -> float:
    """Return the KiB that this process has in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4.0


def measure(peer: Peer, realm: Realm, number: int, lifetime: float | None = None) -> dict[str, Any]:
    if lifetime is not None:
        return _renewing(number, lifetime)
    first = peer.make(realm)
    first.authorise(prepared())
    before, clients = resident(), []
    for _ in range(number):
        clients.append(peer.make(realm))
        clients[-1].authorise(prepared())
    return {"kib_each": (resident() - before) / number, "threads": threading.active_count() - 1}


class Source:
    """Gives tokens, and remembers when."""

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        self.given: list[float] = []

    def __call__(self) -> Token:
        now = datetime.now(timezone.utc)
        self.given.append(time.monotonic())
        return Token("a-token", issued_at=now, expires_at=now + timedelta(seconds=self.lifetime))


def _renewing(number: int, lifetime: float) -> dict[str, Any]:
    sources = [Source(lifetime) for _ in range(number)]
    fetchers = [CallableTokenFetcher(source) for source in sources]
    before = resident()
    managers = [TokenManager(fetcher) for fetcher in fetchers]
    for manager in managers:
        manager.get_token()
    each = (resident() - before) / number
    due = [time.monotonic() + (manager.status().next_renewal or 0.0) for manager in managers]
    fewest, most = _watched_until(max(due) + 0.5)
    taken = [source.given[1] if len(source.given) > 1 else math.inf for source in sources]
    late = [min(lifetime, when - moment) for when, moment in zip(taken, due, strict=True)]
    expired = sum(when > source.given[0] + lifetime for when, source in zip(taken, sources, strict=True))
    figures = {"late_ms_median": quantile(late, 0.5) * 1e3, "late_ms_most": max(late) * 1e3}
    return {"kib_each": each, "threads_idle": fewest, "threads_most": most, "expired": expired, **figures}


def _watched_until(end: float) -> tuple[int, int]:
    """Return the fewest and the most threads until then, but for this one."""
    seen = [threading.active_count() - 1]
    while time.monotonic() < end:
        seen.append(threading.active_count() - 1)
        time.sleep(0.02)
    return min(seen), max(seen)
