"""What authorising a request costs, against an auth object that only sets a constant header.

Both run in turns in one process, over the same prepared requests, so that a busy machine slows both. Run by
``tox -e bench``; ends with status 1 where the design's promises are not kept.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

import requests
from requests.auth import AuthBase

from tokenkit.auth import BearerAuth
from tokenkit.fetchers.local import StaticTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token

REQUESTS = 100
ROUNDS = 400
SETS = 7  # with seconds between them: a machine that is busy for one is not for all
THREADS = 32
BATCHES = 50  # of each thread
MOST = 1.8  # times the constant header
LEAST_RATE = 0.5  # of the constant header's, with many threads

Auth = Callable[[requests.PreparedRequest], object]


class Constant(AuthBase):
    """The least that an auth object can do."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = "Bearer constant"
        return r


def prepared(number: int) -> list[requests.PreparedRequest]:
    urls = (f"https://api.example.com/v1/users/{user}?full=1" for user in range(number))
    return [requests.Request("GET", url, headers={"Accept": "*/*"}).prepare() for url in urls]


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
    with TokenManager(StaticTokenFetcher(Token("a-token"))) as manager:
        manager.get_token()
        bearer, constant = BearerAuth(manager), Constant()
        times, rates = [], []
        for _ in range(SETS):
            times.append(in_turns([constant, bearer]))
            rates.append((rate(bearer), rate(constant)))
    alone, ours = (min(each) for each in zip(*times, strict=True))
    ratio = ours / alone
    share = max(ours for ours, _ in rates) / max(bare for _, bare in rates)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print(f"constant header   {alone * 1e9:6.0f} ns")
    print(f"BearerAuth        {ours * 1e9:6.0f} ns")
    print(f"ratio             {ratio:6.2f}    at most {MOST}")
    print(f"{THREADS} threads, rate  {share:6.2f}    of the constant header's, at least {LEAST_RATE}")
    return 0 if ratio <= MOST and share >= LEAST_RATE else 1


if __name__ == "__main__":
    sys.exit(main())
