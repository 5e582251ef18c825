"""The main job: many threads, short tokens, no failed request, and no more renewals than lifetimes."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import requests
from support.fault_proxy import FaultProxy
from support.oauth_servers import RENEWED_AFTER, OAuthServer

from tokenkit import BearerAuth, Token, TokenManager
from tokenkit.fetchers import ClientCredentialsFetcher, PasswordFetcher
from tokenkit.testing._contract.concurrency import in_threads

pytestmark = pytest.mark.server

THREADS = 16
REQUESTS = 240


def source_of(server: OAuthServer, proxy: FaultProxy) -> ClientCredentialsFetcher | PasswordFetcher:
    """Return a service's fetcher here, and there one that refreshes: glewlwyd's resource is for people."""
    return server.service(proxy.url) if server.name == "oidc-provider" else server.app(proxy.url)


def run_batch(
    url: str, manager: TokenManager, *, pause: float, before_each: Callable[[int], object] = lambda _number: None
) -> Counter[int]:
    """Send the requests from all threads, each resting for *pause* seconds between two; return the statuses."""
    statuses: Counter[int] = Counter()
    lock = threading.Lock()
    numbers = count()

    def work(_thread: int) -> None:
        with requests.Session() as session:
            session.auth = BearerAuth(manager)
            while (number := next(numbers)) < REQUESTS:
                before_each(number)
                status = session.get(url, timeout=10).status_code
                with lock:
                    statuses[status] += 1
                time.sleep(pause)  # a client at work

    assert [None] * THREADS == in_threads(THREADS, work)
    return statuses


@pytest.mark.slow
def test_a_batch_costs_one_token_a_lifetime(server: OAuthServer, proxy: FaultProxy) -> None:
    """Sixteen threads, fifteen requests each, tokens of 3 seconds: all answered, at most two renewals to spare."""
    began = time.monotonic()
    with TokenManager(source_of(server, proxy)) as manager:
        statuses = run_batch(server.resource_url, manager, pause=0.35)
        lives = (time.monotonic() - began) / RENEWED_AFTER
    assert {200: REQUESTS} == statuses
    assert {200} == set(proxy.statuses)
    assert 1 < proxy.connections <= lives + 2


def test_a_token_revoked_in_the_middle_costs_one_renewal(server: OAuthServer, proxy: FaultProxy) -> None:
    """Whoever is on the way with it gets the next one, which one thread fetches."""
    lasting = server.lasting
    source = lasting.app(proxy.url) if server.name == "glewlwyd" else lasting.service(proxy.url)

    def revoke_in_the_middle(number: int) -> None:
        if number == REQUESTS // 2:
            source.revoke(manager.current.access_token)

    with TokenManager(source) as manager:
        statuses = run_batch(lasting.resource_url, manager, pause=0, before_each=revoke_in_the_middle)
    assert {200: REQUESTS} == statuses
    assert {200: 2} == proxy.statuses


def test_a_storm_of_renewals_spends_a_refresh_token_once(server: OAuthServer, proxy: FaultProxy) -> None:
    """All threads want a newer token at once: with rotation, a second use would end everything."""
    with TokenManager(server.lasting.app(proxy.url)) as manager:
        first = manager.get_token()
        tokens: list[Any] = in_threads(THREADS, lambda _thread: manager.force_refresh())
        newest = manager.current
    assert {Token} == {type(token) for token in tokens}, tokens
    assert first not in [*tokens, newest]
    assert {200} == set(proxy.statuses)
    assert 200 == server.lasting.visit(newest.access_token).status_code
