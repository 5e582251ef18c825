"""What a call with a fresh token may not cost: a lock, a storage call, a log call, memory.

How long it takes is measured by ``benchmarks/hot_path.py``.
"""

import logging
import statistics
import sys
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
import requests
from support.protected import Issuer
from support.scripted import ask, outcomes
from support.steps import WatchedStorage

from tokenkit.auth import BearerAuth
from tokenkit.clock import SystemClock
from tokenkit.manager import TokenManager

CALLS = 200


def prepared(number: int = CALLS) -> list[requests.PreparedRequest]:
    urls = (f"https://api.example.com/v1/{user}" for user in range(number))
    return [requests.Request("GET", url, headers={"Accept": "*/*"}).prepare() for url in urls]


def answer_well(request: requests.PreparedRequest) -> requests.Response:
    """Give *request* an answer as requests does, hooks included."""
    response = requests.Response()
    response.status_code, response.request = 200, request
    return requests.hooks.dispatch_hook("response", request.hooks, response)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Leave out what measures coverage: under it each call of a function allocates a frame."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


def usual_bytes(call: Callable[[], object]) -> int:
    """Return how many bytes a call has in use at its height, most of the time: other threads allocate and free, too."""
    tracemalloc.start()
    ballast = bytearray(4096)  # so that no figure below is one of the small numbers that Python need not allocate
    heights = []
    try:
        for _ in range(CALLS):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            call()
            heights.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    del ballast
    return statistics.mode(heights)


def blocks_kept(call: Callable[[], object], times: int) -> int:
    """Return how many blocks of memory are in use after so many calls that were not before."""
    before = sys.getallocatedblocks()
    for _ in range(times):
        call()
    return sys.getallocatedblocks() - before


def test_authorising_takes_no_lock_and_asks_and_tells_nobody(mint: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """Requests get their token, and good answers are let through, while another thread keeps the manager's lock."""
    storage, requests_made = WatchedStorage(), prepared()
    with TokenManager(mint, storage) as manager:
        auth = BearerAuth(manager)
        manager.get_token()
        storage.wait_for("unlock", 1)
        asked = storage.calls.copy()
        with caplog.at_level(logging.DEBUG), manager._engine._lock:
            caplog.clear()
            done = outcomes(ask(lambda: [answer_well(auth(request)).status_code for request in requests_made]))
            told = [record.getMessage() for record in caplog.records if record.threadName == "caller"]
        assert ([[200] * CALLS], [], asked) == (done, told, storage.calls)
    assert {"Bearer token-1"} == {request.headers["Authorization"] for request in requests_made}


@pytest.mark.usefixtures("untraced")
def test_get_token_allocates_nothing(manager: TokenManager) -> None:
    """Its height is that of reading the clock, and it leaves nothing behind."""
    manager.get_token()
    assert usual_bytes(SystemClock().monotonic) == usual_bytes(manager.get_token)
    assert 1000 > min(blocks_kept(manager.get_token, 10_000) for _ in range(3))  # other threads again


@pytest.mark.usefixtures("untraced")
def test_authorising_allocates_the_header_and_the_slot(manager: TokenManager) -> None:
    """A request costs an entry among its headers and a place in its list of hooks; what goes there is shared."""
    auth, value, hook = BearerAuth(manager), "constant", print
    auth(prepared(1)[0])

    def fill(request: requests.PreparedRequest) -> None:
        request.hooks["response"].append(hook)
        request.headers["Authorization"] = value

    alone, ours = (iter(prepared()) for _ in range(2))
    assert usual_bytes(lambda: fill(next(alone))) >= usual_bytes(lambda: auth(next(ours))) - 128


def test_authorising_reads_one_clock(mint: Issuer) -> None:
    """That of its manager, once."""
    read = []

    class Counting(SystemClock):
        def monotonic(self) -> float:
            read.append(1)
            return super().monotonic()

    with TokenManager(mint, clock=Counting()) as manager:
        auth, (request,) = BearerAuth(manager), prepared(1)
        manager.get_token()
        read.clear()
        auth(request)
        assert [1] == read


@pytest.mark.usefixtures("untraced")
def test_a_good_answer_allocates_nothing(manager: TokenManager) -> None:
    """The hook looks at the status, and that is all."""
    request = prepared(1)[0]
    BearerAuth(manager)(request)
    (hook,), answer = request.hooks["response"], answer_well(request)
    assert usual_bytes(lambda: answer.status_code) == usual_bytes(lambda: hook(answer))


def test_requests_share_what_they_carry(manager: TokenManager) -> None:
    """Those with one token have the very same hook, and the very same text in their header."""
    auth, (one, other) = BearerAuth(manager), prepared(2)
    auth(one)
    auth(other)
    assert one.hooks["response"][0] is other.hooks["response"][0]
    assert one.headers["Authorization"] is other.headers["Authorization"]
