"""Many threads, one token: what revocations and stubborn resources cost."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from requests.adapters import HTTPAdapter
from support.protected import Issuer, Reply, Seen, managed, resource

from tokenkit.auth import BearerAuth
from tokenkit.clock import SystemClock
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy

clock = SystemClock()


def crowd(number: int, work: Callable[[], None]) -> None:
    """Run *work* in so many threads at once, and wait for all of them."""
    gate = threading.Barrier(number)

    def begin() -> None:
        gate.wait()
        work()

    threads = [threading.Thread(target=begin) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def connect(auth: BearerAuth) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # looking for proxies and for .netrc costs more than a request on loopback
    session.auth = auth
    session.mount("http://", HTTPAdapter(max_retries=2))
    return session


def test_a_hundred_threads_with_one_revoked_token_cost_one_renewal() -> None:
    """And no failed request."""
    mint, statuses = Issuer(), []
    with resource(mint) as api, managed(mint, RefreshPolicy()) as manager:
        auth = BearerAuth(manager)
        manager.get_token()
        mint.revoke()

        def work() -> None:
            with connect(auth) as session:
                statuses.append(session.get(api.url).status_code)

        crowd(100, work)
    assert ([200] * 100, 2) == (statuses, mint.given)


def test_rejections_in_chunks_cost_no_connection() -> None:
    """Twenty threads with one revoked token open twenty, and each sends its second request over its own."""
    mint, statuses = Issuer(), []
    with resource(mint) as api, managed(mint, RefreshPolicy()) as manager:

        def behave(seen: Seen) -> Reply:
            if seen.token in mint.good:
                return Reply()
            all_sent.wait(10)
            return Reply(401, {"Transfer-Encoding": "chunked"}, b"2\r\nno\r\n0\r\n\r\n")

        api.behave, all_sent = behave, threading.Barrier(20)
        auth = BearerAuth(manager)
        manager.get_token()
        mint.revoke()

        def work() -> None:
            with connect(auth) as session:
                statuses.append(session.get(api.url).status_code)

        crowd(20, work)
        assert (20, 40) == (api.connections, len(api.seen))
    assert [200] * 20 == statuses


def test_a_source_that_returns_the_rejected_token_gives_everybody_the_401() -> None:
    """At once, and nothing is sent a second time."""
    mint, statuses = Issuer(), []
    with resource(mint) as api, managed(mint, RefreshPolicy()) as manager:
        auth = BearerAuth(manager)
        manager.get_token()
        mint.stuck, mint.good = True, set()

        def work() -> None:
            with connect(auth) as session:
                statuses.append(session.get(api.url).status_code)

        crowd(20, work)
        assert 20 == len(api.seen)
    assert [401] * 20 == statuses


def test_a_resource_that_always_rejects_costs_renewals_at_intervals() -> None:
    """Not one a request: at most one per interval, which doubles."""
    mint = Issuer()
    with resource(mint) as api, managed(mint, RefreshPolicy(min_renewal_interval=0.1)) as manager:
        api.behave = lambda seen: Reply(401)
        auth, end = BearerAuth(manager), clock.monotonic() + 1.5

        def work() -> None:
            with connect(auth) as session:
                while clock.monotonic() < end:
                    assert 401 == session.get(api.url).status_code

        crowd(8, work)
        assert len(api.seen) > 50
    assert 3 <= mint.given <= 7  # the first two, then after 0.1, 0.2, 0.4 and 0.8 s


class Revoking(threading.Thread):
    """Revokes the good token every so many seconds, where there is one, until told to stop."""

    def __init__(self, mint: Issuer, every: float) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.times = 0
        self._mint = mint
        self._every = every

    def run(self) -> None:
        while not self.done.wait(self._every):
            if self._mint.good:  # else the last one revoked has not been replaced yet: a slow machine
                self._mint.revoke()
                self.times += 1


@contextmanager
def revoking(mint: Issuer, every: float) -> Iterator[Revoking]:
    thread = Revoking(mint, every)
    thread.start()
    yield thread
    thread.done.set()
    thread.join()


def serve(manager: TokenManager, url: str, revoking: Revoking, *, stubborn: str | None = None) -> Counter[int]:
    """Send 3,000 requests from 32 threads, and more until tokens were revoked twice; return their statuses.

    A tenth as many go to *stubborn*, and are not counted.
    """
    # Of the first three tokens none lives for long: on a slow machine one request may see the end of all of them.
    auth, statuses = BearerAuth(manager, max_refresh_attempts=5), []

    def work() -> None:
        with connect(auth) as session:
            for number in itertools.count():
                if number >= 94 and revoking.times >= 2:
                    return
                statuses.append(session.get(url).status_code)
                if stubborn and number % 10 == 0:
                    assert 401 == session.get(stubborn).status_code

    crowd(32, work)
    return Counter(statuses)


def renewals_allowed(seconds: float, interval: float = 0.5, longest: float = 60.0) -> int:
    """Return how many renewals a resource that rejects everything may cost: one an interval, which doubles."""
    renewals, next_at = 0, interval
    while next_at <= seconds:
        renewals += 1
        interval = min(interval * 2, longest)
        next_at += interval
    return renewals


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_thousands_of_requests_survive_revocations() -> None:
    """32 threads, a token revoked again and again: no failure, and a renewal for each revocation."""
    mint = Issuer()
    with resource(mint) as api, managed(mint, RefreshPolicy()) as manager, revoking(mint, 1.5) as revoked:
        statuses = serve(manager, f"{api.url}/x", revoked)
    assert {200} == set(statuses)
    assert statuses[200] >= 3_000
    assert 2 <= revoked.times <= mint.given <= revoked.times + 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_stubborn_resource_does_not_harm_another() -> None:
    """The same beside a resource that always answers 401: still no failure, and its renewals come ever more rarely.

    Besides the first token, and the one in its place, which every rejection of a first token is worth.
    """
    mint = Issuer()
    with resource(mint) as api, managed(mint, RefreshPolicy(min_renewal_interval=0.5)) as manager:
        api.behave = lambda seen: Reply(401) if seen.path == "/stubborn" else api.protect(seen)
        began = clock.monotonic()
        with revoking(mint, 1.5) as revoked:
            statuses = serve(manager, f"{api.url}/x", revoked, stubborn=f"{api.url}/stubborn")
        seconds = clock.monotonic() - began
    assert {200} == set(statuses)
    assert statuses[200] >= 3_000
    assert 2 <= revoked.times <= mint.given <= 2 + revoked.times + renewals_allowed(seconds)
