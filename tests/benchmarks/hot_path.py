"""What authorising a request costs, beside a constant header and beside the fastest peer, Authlib, in one run.

All run in turns in one process, over the same prepared requests, so that a busy machine slows all. What one call asks
for is counted, too: locks, clocks and the storage. Run by ``.ci/run``; ends with status 1 where the design's
promises are not kept.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

import requests
from authlib.integrations.requests_client import OAuth2Session
from counts import Constant, World, costs, prepared

from tokenkit.auth import BearerAuth
from tokenkit.fetchers.local import StaticTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token

REQUESTS = 100
ROUNDS = 400
SETS = 7  # with seconds between them: a machine that is busy for one is not for all
THREADS = 32
BATCHES = 50  # of each thread
MOST = 2 / 3  # of the peer's cost
LEAST_RATE = 1.2  # times the peer's, with many threads; its loop and its clean-up count on both sides

Auth = Callable[[requests.PreparedRequest], object]


def peer() -> Auth:
    token = {"access_token": "a-token", "token_type": "Bearer", "expires_at": time.time() + 1e6}
    return OAuth2Session(token=token).token_auth


def once(auth: Auth, batch: list[requests.PreparedRequest]) -> float:
    """Return the seconds that one call takes, on the average of a batch."""
    began = time.perf_counter()
    for request in batch:
        auth(request)
    seconds = time.perf_counter() - began
    for request in batch:
        request.hooks["response"].clear()  # as a new request has it
    return seconds / len(batch)


def in_turns(auths: list[Auth]) -> list[float]:
    """Return the least seconds of each, the rounds interleaved: what takes longer is the machine's doing."""
    batch = prepared(REQUESTS)
    seconds: list[list[float]] = [[] for _ in auths]
    for _ in range(ROUNDS):
        for auth, spent in zip(auths, seconds, strict=True):
            spent.append(once(auth, batch))
    return [min(spent) for spent in seconds]


def rate(auth: Auth) -> float:
    """Return the calls a second of many threads together."""
    moments: list[float] = []
    gate = threading.Barrier(THREADS, action=lambda: moments.append(time.perf_counter()))

    def work() -> None:
        batch = prepared(REQUESTS)
        gate.wait()
        for _ in range(BATCHES):
            once(auth, batch)
        gate.wait()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return THREADS * BATCHES * REQUESTS / (moments[1] - moments[0])


def main() -> int:
    world = World()
    asked = costs(world.auth, world)
    locks, reads, stored = asked.locks, asked.clock_reads, asked.storage_calls
    with TokenManager(StaticTokenFetcher(Token("a-token"))) as manager:
        manager.get_token()
        bearer, constant, other = BearerAuth(manager), Constant(), peer()
        times, rates = [], []
        for _ in range(SETS):
            times.append(in_turns([constant, bearer, other]))
            rates.append((rate(bearer), rate(other)))
    alone, ours, peers = (min(each) for each in zip(*times, strict=True))
    faster = max(ours for ours, _ in rates) / max(peers for _, peers in rates)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print(f"constant header   {alone * 1e9:6.0f} ns")
    print(f"BearerAuth        {ours * 1e9:6.0f} ns")
    print(f"Authlib           {peers * 1e9:6.0f} ns")
    print(f"of Authlib's cost {ours / peers:6.2f}    at most {MOST:.2f}")
    print(f"{THREADS} threads, rate  {faster:6.2f}    times Authlib's, at least {LEAST_RATE}")
    print(f"locks {locks}, clock reads {reads}, storage calls {stored}; to be 0, 1 and 0")
    kept = ours <= peers * MOST and faster >= LEAST_RATE and (locks, reads, stored) == (0, 1, 0)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
