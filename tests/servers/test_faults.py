"""A network that loses, delays and breaks what passes between tokenkit and each server: what comes of it, and when."""

import time
from typing import Any

import pytest
from support.fault_proxy import Fault, FaultProxy, fault_proxy
from support.oauth_servers import OAuthServer

from tokenkit import TokenManager
from tokenkit.errors import RenewalTimeoutError, TransportError
from tokenkit.fetchers import PasswordFetcher

pytestmark = pytest.mark.server

LIMIT = 0.4  # seconds, for a connection and for each read; a try has both together
SLACK = 1.5  # seconds that a busy machine may add

# What happens, and how long until the caller knows, in limits.
FAULTS: dict[Fault, float] = {
    "refuse": 0,
    "black_hole": 1,
    "latency": 1,
    "cut_headers": 0,
    "cut_body": 0,
    "reset": 0,
    "drip": 2,
}
in_each_way = pytest.mark.parametrize("fault", FAULTS)


def impatient(server: OAuthServer, proxy: FaultProxy, **options: Any) -> PasswordFetcher:
    return server.app(proxy.url, timeout=(LIMIT, LIMIT), retries=0, **options)


@in_each_way
def test_a_fault_is_a_transient_transport_error_in_time(server: OAuthServer, proxy: FaultProxy, fault: Fault) -> None:
    """The server has done its part; the caller learns that no answer came, within the limit, and may try again."""
    proxy.fail(fault, seconds=10)
    before = time.monotonic()
    with pytest.raises(TransportError) as caught:
        impatient(server, proxy).fetch()
    # A server that is slow to answer is a black hole for a while: one limit, where its answer would have dripped.
    assert min(FAULTS[fault], 1) * LIMIT * 0.9 <= time.monotonic() - before < FAULTS[fault] * LIMIT + SLACK
    assert (True, "password") == (caught.value.transient, caught.value.step_name)
    proxy.heal()
    assert server.app(proxy.url).fetch().access_token


@pytest.mark.parametrize("fault", ["cut_body", "reset"])
def test_a_fault_that_passes_is_not_noticed(server: OAuthServer, proxy: FaultProxy, fault: Fault) -> None:
    """What does not spend a refresh token is asked for again, up to twice."""
    proxy.fail(fault, times=2)
    assert server.app(proxy.url).fetch().access_token
    assert {200: 3} == proxy.statuses


@pytest.mark.parametrize("fault", ["black_hole", "cut_headers"])
def test_a_refresh_token_is_shown_once_whatever_happens(server: OAuthServer, proxy: FaultProxy, fault: Fault) -> None:
    """It may have arrived, and a second use would end the whole family of tokens."""
    token = server.app().fetch()
    proxy.fail(fault)
    with pytest.raises(TransportError):
        server.app(proxy.url, timeout=LIMIT).refresh(token)
    assert 1 == proxy.connections


def test_a_late_answer_within_the_limit_is_an_answer(server: OAuthServer, proxy: FaultProxy) -> None:
    """Latency alone is no fault."""
    proxy.fail("latency", seconds=0.3)
    assert server.app(proxy.url).fetch().access_token


@in_each_way
def test_a_managers_caller_waits_no_longer_than_it_said(oidc_provider: OAuthServer, fault: Fault) -> None:
    """However the fetch fails or hangs, the caller's own limit holds."""
    with fault_proxy(oidc_provider.port) as proxy, TokenManager(oidc_provider.app(proxy.url, timeout=LIMIT)) as manager:
        proxy.fail(fault, seconds=10)
        before = time.monotonic()
        with pytest.raises((TransportError, RenewalTimeoutError)):
            manager.get_token(timeout=0.2)
        assert time.monotonic() - before < 0.2 + SLACK
        proxy.heal()
