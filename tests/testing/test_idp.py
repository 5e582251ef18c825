"""LocalIdP as a server: addresses, life, counting, and what its output must not show."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tokenkit.testing import FakeClock, LocalIdP
from tokenkit.testing._idp.http_server import HttpServer


def get_token(idp, **fields):
    """Ask the token endpoint as the client that is always there."""
    form = {"grant_type": "client_credentials", **fields}
    return requests.post(idp.token_url, data=form, auth=("client", "secret"), timeout=10)


def call_api(idp, token, path="", **kwargs):
    """Ask the protected resource with *token*."""
    return requests.get(idp.api(path), headers={"Authorization": f"Bearer {token}"}, timeout=10, **kwargs)


def test_addresses_are_on_loopback(local_idp):
    """Every address is below the URL, which is a port of 127.0.0.1."""
    url = local_idp.url
    assert url.startswith("http://127.0.0.1:")
    assert [f"{url}/token", f"{url}/revoke", f"{url}/introspect", f"{url}/api/", f"{url}/api/orders"] == [
        local_idp.token_url,
        local_idp.revoke_url,
        local_idp.introspect_url,
        local_idp.api_url,
        local_idp.api("/orders"),
    ]


def test_it_listens_on_loopback_alone():
    """The socket is bound to 127.0.0.1: no other machine gets in."""
    server = HttpServer()
    assert ("127.0.0.1", server.port) == server._listener.getsockname()
    server._listener.close()


def test_localhost_is_another_name_for_it():
    """`host` changes the name in the URL, which requests takes for another host."""
    with LocalIdP(host="localhost") as idp:
        assert idp.url.startswith("http://localhost:")
        assert 200 == get_token(idp).status_code


def test_there_is_no_url_before_the_start():
    """An address that does not exist yet is an error, not a guess; the repr still works."""
    idp = LocalIdP()
    assert "<LocalIdP not started>" == repr(idp)
    with pytest.raises(RuntimeError, match="start"):
        _ = idp.url


def test_it_starts_once(local_idp):
    """A second start of a running server is an error."""
    with pytest.raises(RuntimeError, match="running"):
        local_idp.start()


def test_stop_leaves_no_thread_and_no_connection(capfd):
    """After stop() all its threads are gone, keep-alive connections are closed, and nothing was printed."""
    before = set(threading.enumerate())
    with LocalIdP() as idp, requests.Session() as session:
        assert 401 == session.get(idp.api_url, timeout=10).status_code
        url = idp.url
        idp.stop()
        assert set() == set(threading.enumerate()) - before
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=10)
    assert ("", "") == capfd.readouterr()


def test_it_comes_back_where_it_was():
    """A server that is started again has its port and its tokens still."""
    with LocalIdP() as idp:
        url, token = idp.url, idp.issue()
        idp.stop()
        idp.start()
        assert (url, 200) == (idp.url, call_api(idp, token.access_token).status_code)


def test_requests_are_counted_by_endpoint_and_below(local_idp):
    """Each request counts for its endpoint, and for its grant or path."""
    token = get_token(local_idp).json()["access_token"]
    call_api(local_idp, token, "orders/1")
    call_api(local_idp, token, "orders/1")
    requests.get(local_idp.url + "/nowhere", timeout=10)
    assert {
        "token": 1,
        "token:client_credentials": 1,
        "api": 2,
        "api:orders/1": 2,
        "unknown": 1,
    } == local_idp.counts
    assert (2, 0) == (local_idp.count("api"), local_idp.counts["revoke"])


def test_a_urn_is_counted_by_its_last_part(local_idp):
    """A grant whose name is a URN counts under its last part."""
    get_token(local_idp, grant_type="urn:ietf:params:oauth:grant-type:token-exchange")
    assert 1 == local_idp.count("token:token-exchange")


def test_counts_can_start_anew(local_idp):
    """reset_counts() forgets what came in, and a test that looks for the last request is told so."""
    get_token(local_idp)
    local_idp.reset_counts()
    assert ({}, {}, [], 0) == (
        local_idp.counts,
        local_idp.max_in_flight,
        local_idp.requests,
        local_idp.connections,
    )
    with pytest.raises(AssertionError, match="no request to token"):
        local_idp.last_request()


def test_connections_are_counted_and_kept_alive(local_idp):
    """A session uses one connection for all its requests, POST and HEAD included."""
    with requests.Session() as session:
        session.get(local_idp.api_url, timeout=10)
        session.post(local_idp.api_url, data=b"x" * 100_000, timeout=10)
        session.head(local_idp.api_url, timeout=10)
        session.get(local_idp.metadata_url, timeout=10)
    assert 1 == local_idp.connections


def test_the_last_request_is_kept_for_assertions(local_idp):
    """Form and headers of the last request are there in full, repeated fields included."""
    get_token(local_idp, resource=["https://a.example", "https://b.example"], scope="read")
    assert ["https://a.example", "https://b.example"] == local_idp.last_form["resource"]
    assert local_idp.last_headers["authorization"].startswith("Basic ")
    assert "/token" == local_idp.last_request("token:client_credentials").path


def test_no_repr_shows_a_secret(local_idp):
    """Whatever a failing assertion prints, it is no credential."""
    token = get_token(local_idp, password="canary-password").json()["access_token"]
    call_api(local_idp, token)
    shown = repr([local_idp, local_idp.requests, local_idp.last_request(), local_idp.last_request("api")])
    assert "grant_type" in shown
    for secret in (token, "canary-password", "secret'", "Basic "):
        assert secret not in shown


def test_the_most_requests_at_once_are_known(local_idp):
    """Requests that overlap are seen to; requests one after the other are not."""
    for _ in range(3):
        get_token(local_idp)
    assert 1 == local_idp.max_in_flight["token"]
    local_idp.fail("token", kind="hang", times=None)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(get_token, local_idp) for _ in range(4)]
        local_idp.wait_for_requests("token", 7)
        local_idp.heal("token")
        assert [200] * 4 == [answer.result().status_code for answer in answers]
    assert 4 == local_idp.max_in_flight["token"]


def test_waiting_for_a_request_that_never_comes_fails(local_idp):
    """wait_for_requests() gives up and says how many came."""
    with pytest.raises(AssertionError, match="0 of 1 requests to token"):
        local_idp.wait_for_requests("token", timeout=0.05)


def test_latency_delays_every_answer(local_idp):
    """An endpoint's own latency goes before the general one."""
    local_idp.latency = 5
    local_idp.latencies["token"] = 0.05
    assert get_token(local_idp).elapsed.total_seconds() >= 0.05
    with pytest.raises(requests.Timeout):
        requests.get(local_idp.api_url, timeout=0.05)


def test_tokens_expire_on_the_given_clock():
    """With a FakeClock a token is good until the clock says otherwise."""
    clock = FakeClock()
    with LocalIdP(clock=clock, lifetime=60) as idp:
        token = get_token(idp).json()["access_token"]
        clock.advance(59.9)
        assert 200 == call_api(idp, token).status_code
        clock.advance(0.1)
        answer = call_api(idp, token)
    assert 'error_description="expired"' in answer.headers["WWW-Authenticate"]


def test_thirty_two_threads_are_served_at_once(local_idp):
    """Many threads with a connection each all get their own answers."""
    token = local_idp.issue().access_token

    def work(number):
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            answers = [session.post(local_idp.api_url, data=f"{number}-{i}", timeout=30) for i in range(10)]
        return [answer.json()["body"] for answer in answers]

    with ThreadPoolExecutor(32) as pool:
        echoed = list(pool.map(work, range(32)))
    assert [[f"{number}-{i}" for i in range(10)] for number in range(32)] == echoed
    assert (320, 32) == (local_idp.count("api"), local_idp.connections)
