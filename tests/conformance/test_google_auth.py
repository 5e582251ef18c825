"""What google-auth documents of its AuthorizedSession, as scenarios of our own against ours.

The table in the docs (how-to, requests) says what is the same and what differs.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, Timeout
from support.protected import Issuer, Reply, Resource, Seen, managed
from support.raw_server import hangs, raw_server
from support.scripted import ask, outcomes
from support.tls_server import tls_resource

from tokenkit.auth import AuthorizedSession
from tokenkit.clock import SystemClock
from tokenkit.contracts import FetchContext
from tokenkit.errors import AuthenticationError, RenewalTimeoutError
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token

clock = SystemClock()


@pytest.fixture
def session(manager: TokenManager) -> Iterator[AuthorizedSession]:
    with AuthorizedSession(manager) as session:
        yield session


def test_same_a_good_token_is_sent_once(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """One request, one header, no renewal."""
    assert 200 == session.request("GET", api.url, headers={"X-Own": "1"}).status_code
    assert (1, 1, "1") == (len(api.seen), mint.given, api.seen[0].headers["x-own"])


def test_same_a_rejected_request_is_sent_again_to_the_same_url(
    session: AuthorizedSession, api: Resource, mint: Issuer
) -> None:
    """Two requests, the second with the renewed token, method and body as before."""
    session.get(api.url)
    mint.revoke()
    assert 200 == session.post(f"{api.url}/a?b=c", data=b"body").status_code
    again = [(seen.method, seen.path, seen.body) for seen in api.seen[1:]]
    assert [("POST", "/a?b=c", b"body")] * 2 == again


def test_same_attempts_and_statuses_can_be_set(manager: TokenManager, api: Resource) -> None:
    """By the same two names."""
    api.behave = lambda seen: Reply(403)
    with AuthorizedSession(manager, refresh_status_codes=(403,), max_refresh_attempts=4) as session:
        assert 403 == session.get(api.url).status_code
    assert 5 == len(api.seen)


def test_same_there_is_a_default_time_out(session: AuthorizedSession) -> None:
    """120 seconds, where requests has none."""
    assert 120 == session.timeout


def test_same_a_short_time_out_does_not_shorten_the_call(session: AuthorizedSession, api: Resource) -> None:
    """Timeout is for each read; max_allowed_time for the whole."""
    assert 200 == session.get(api.url, timeout=2, max_allowed_time=60).status_code


def test_same_the_time_allowed_covers_everything(session: AuthorizedSession) -> None:
    """And is over with a Timeout of requests."""
    with raw_server(hangs) as server, pytest.raises(Timeout):
        session.get(server.url, timeout=60, max_allowed_time=0.2)


def test_same_a_response_that_is_final_comes_as_it_is(session: AuthorizedSession, api: Resource) -> None:
    """After the last attempt the caller gets the rejection, not an exception."""
    api.behave = lambda seen: Reply(401, body=b"no")
    assert b"no" == session.get(api.url).content


def test_same_a_client_certificate_is_shown(manager: TokenManager, mint: Issuer, tmp_path: Path) -> None:
    """Mutual TLS, by requests' own ``cert``; on a new connection, too, when a rejected request is sent again."""
    with tls_resource(tmp_path, mint, demanding=True) as api, AuthorizedSession(manager) as session:
        with pytest.raises(RequestException):
            session.get(api.secure, verify=api.trusted)
        session.cert = api.cert
        manager.get_token()
        mint.revoke()
        api.behave = lambda seen: hang_up(api.protect(seen))
        assert 200 == session.get(api.secure, verify=api.trusted).status_code
    assert [("https", "Bearer token-1"), ("https", "Bearer token-2")] == api.hops


def hang_up(reply: Reply) -> Reply:
    """Have the connection closed after *reply*."""
    reply.headers["Connection"] = "close"
    return reply


def test_same_tokens_are_fetched_by_another_session() -> None:
    """What is set on this one for the API, such as an adapter or a header, is not used to get a token."""
    sent: list[str] = []

    class Watching(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:  # type: ignore[override]
            sent.append(str(request.url))
            return super().send(request, **options)  # type: ignore[arg-type]

    with LocalIdP() as idp:
        source = ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret="secret")
        with TokenManager(source) as manager, AuthorizedSession(manager) as session:
            session.mount("http://", Watching())
            session.headers["X-Own"] = "1"
            assert 200 == session.get(f"{idp.url}/api/users").status_code
        assert ([f"{idp.url}/api/users"], False) == (sent, "X-Own" in idp.last_request("token").headers)


def test_same_closing_may_be_left_to_with(manager: TokenManager, api: Resource) -> None:
    """A session is a context manager."""
    with AuthorizedSession(manager) as session:
        assert 200 == session.get(api.url).status_code


def test_differs_the_token_is_an_auth_object(session: AuthorizedSession, api: Resource) -> None:
    """So .netrc does not replace it, auth= of one request does, and a prepared request is sent with it."""
    session.get(api.url, auth=("joe", "secret"))
    assert str(api.tokens[0]).startswith("Basic ")
    session.send(session.prepare_request(requests.Request("GET", api.url)))
    assert "Bearer token-1" == api.tokens[1]


def test_differs_a_failed_renewal_leaves_the_rejection(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """There an error of the renewal is raised; here the caller gets the 401 that the API gave."""
    session.get(api.url)
    mint.revoke()
    mint.failing = True
    assert 401 == session.get(api.url).status_code


def test_differs_a_first_failure_is_an_error_of_requests(
    session: AuthorizedSession, api: Resource, mint: Issuer
) -> None:
    """There it is an error of google-auth's own, which `except RequestException` misses."""
    mint.failing = True
    with pytest.raises(requests.exceptions.RequestException) as caught:
        session.get(api.url)
    assert isinstance(caught.value, AuthenticationError)


def test_differs_a_spent_body_is_not_sent_again(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """There it goes out a second time, empty."""
    session.get(api.url)
    mint.revoke()
    assert 401 == session.post(api.url, data=iter([b"a", b"b"])).status_code
    assert 2 == len(api.seen)


def test_differs_the_time_allowed_holds_while_an_answer_drips(session: AuthorizedSession) -> None:
    """There it is looked at between requests only."""
    from support.raw_server import drips

    with raw_server(drips(b"x" * 500, 0.02, head=b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) as server:
        began = clock.monotonic()
        with pytest.raises(Timeout):
            session.get(server.url, max_allowed_time=0.2)
    assert clock.monotonic() - began < 2


def test_differs_one_renewal_serves_all(mint: Issuer, api: Resource) -> None:
    """There each thread that gets a 401 refreshes; here twenty that get one together cost one renewal."""
    rejected = threading.Barrier(20)

    def behave(seen: Seen) -> Reply:
        reply = api.protect(seen)
        if reply.status == 401:
            rejected.wait(20)
        return reply

    api.behave = behave
    with managed(mint, RefreshPolicy()) as manager, AuthorizedSession(manager) as session:
        manager.get_token()
        mint.revoke()
        answers = outcomes(ask(lambda: session.get(api.url, timeout=30).status_code, 20))
    assert ([200] * 20, 2) == (answers, mint.given)


def test_differs_the_refresh_timeout_bounds_the_wait(mint: Issuer, api: Resource) -> None:
    """There it is the time-out of the refresh request; here the renewal goes on behind, and serves the next call."""
    release = threading.Event()

    def slowly(context: FetchContext | None = None) -> Token:
        release.wait(20)
        return Issuer.fetch_token(mint, context)

    mint.fetch_token = slowly  # type: ignore[method-assign]
    with managed(mint) as manager, AuthorizedSession(manager, refresh_timeout=0.05) as session:
        try:
            with pytest.raises(Timeout) as caught:
                session.get(api.url)
        finally:
            release.set()
        manager.get_token()
        assert 200 == session.get(api.url).status_code
    assert isinstance(caught.value, RenewalTimeoutError)
    assert ["Bearer token-1"] == api.tokens
