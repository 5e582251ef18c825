"""max_allowed_time and the default time-out of AuthorizedSession."""

import io
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
import requests
from requests.exceptions import Timeout
from support.addresses import deaf_port, resolve_localhost_to
from support.protected import Issuer, Reply, Resource, managed
from support.raw_server import Script, answer, drips, hangs, raw_server, says
from urllib3.util import Retry
from urllib3.util import Timeout as Limits

from tokenkit.auth import AuthorizedSession
from tokenkit.clock import SystemClock
from tokenkit.errors import ConfigurationError
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token

clock = SystemClock()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture
def session(manager: TokenManager) -> Iterator[AuthorizedSession]:
    with AuthorizedSession(manager) as session:
        yield session


SLOW: dict[str, Script] = {
    "no answer": hangs,
    "a head that drips": drips(answer(b"{}"), 0.02),
    "a body that drips": drips(b"x" * 1000, 0.02, head=HEAD),
    "chunks that drip": drips(b"1\r\nx\r\n" * 200, 0.02, head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "a rejection that drips": drips(b"x" * 1000, 0.02, head=HEAD.replace(b"200 OK", b"401 No")),
    "a redirect that drips": drips(b"x" * 1000, 0.02, head=HEAD.replace(b"200 OK", b"302 Found\r\nLocation: /")),
}


@pytest.mark.parametrize("case", SLOW)
def test_the_whole_call_ends_in_time(session: AuthorizedSession, case: str) -> None:
    """However the server keeps the client waiting; requests' own time-out is for each read alone."""
    with raw_server(SLOW[case]) as server:
        began = clock.monotonic()
        with pytest.raises(Timeout) as caught:
            session.get(server.url, timeout=30, max_allowed_time=0.3)
        assert 0.25 < clock.monotonic() - began < 1
    assert caught.value.request is not None


def test_a_rejection_that_stalls_leaves_time_for_the_next_request(session: AuthorizedSession) -> None:
    """Its body is waited for a second at most, however long the call may take."""

    def stalls(connection: socket.socket) -> None:
        connection.sendall(HEAD.replace(b"200 OK", b"401 No"))
        hangs(connection)

    with raw_server(stalls, says(answer(b"{}"))) as server:
        began = clock.monotonic()
        assert 200 == session.get(server.url, max_allowed_time=6).status_code
        assert clock.monotonic() - began < 4


def test_several_slow_hops_share_the_time(session: AuthorizedSession, api: Resource) -> None:
    """Each is quick enough; together they are not."""
    pause = threading.Event()

    def behave(seen: object) -> Reply:
        pause.wait(0.1)
        return Reply(302, {"Location": "/again"})

    api.behave = behave
    began = clock.monotonic()
    with pytest.raises(Timeout):
        session.get(api.url, max_allowed_time=0.35)
    assert clock.monotonic() - began < 1


def test_a_call_in_time_is_left_alone(session: AuthorizedSession, api: Resource) -> None:
    """With a limit as a timedelta too."""
    assert 200 == session.get(api.url, max_allowed_time=timedelta(seconds=10)).status_code


def test_waiting_for_a_token_counts(mint: Issuer, api: Resource) -> None:
    """A source that hangs is not waited for longer."""
    release = threading.Event()
    mint.fetch_token = lambda context=None: release.wait(20) and Token("late")  # type: ignore[method-assign]
    with managed(mint) as manager, AuthorizedSession(manager) as session:
        began = clock.monotonic()
        try:
            with pytest.raises(Timeout) as caught:
                session.get(api.url, max_allowed_time=0.2)
            assert clock.monotonic() - began < 1
        finally:
            release.set()
    assert caught.value.request is not None


def test_a_renewal_after_a_rejection_counts(mint: Issuer, api: Resource) -> None:
    """The caller gets a Timeout, not the 401 of a request that was to be sent again."""
    release, first = threading.Event(), Token("first")
    mint.fetch_token = lambda context=None: first  # type: ignore[method-assign]
    mint.refresh_token = lambda current, context=None: release.wait(20) and Token("late")  # type: ignore[method-assign]
    with managed(mint) as manager, AuthorizedSession(manager) as session:
        try:
            with pytest.raises(Timeout) as caught:
                session.get(api.url, max_allowed_time=0.2)
        finally:
            release.set()
    assert f"{api.url}/" == caught.value.request.url


def test_a_shorter_refresh_timeout_gives_the_401(mint: Issuer, api: Resource) -> None:
    """Only the whole call's limit is an error; a renewal's own leaves the answer that there is."""
    release, first = threading.Event(), Token("first")
    mint.fetch_token = lambda context=None: first  # type: ignore[method-assign]
    mint.refresh_token = lambda current, context=None: release.wait(20) and Token("late")  # type: ignore[method-assign]
    with managed(mint) as manager, AuthorizedSession(manager, refresh_timeout=0.1) as session:
        try:
            assert 401 == session.get(api.url, max_allowed_time=10).status_code
        finally:
            release.set()


@pytest.mark.parametrize("header", [{"Retry-After": "30"}, {}])
def test_a_pause_before_a_retry_is_not_begun_in_vain(manager: TokenManager, api: Resource, header: object) -> None:
    """Where it would outlast the time allowed the caller gets the answer that asked for it, at once."""
    api.behave = lambda seen: Reply(503, dict(header))  # type: ignore[call-overload]
    policy = Retry(3, status_forcelist=[503], backoff_factor=30)
    with AuthorizedSession(manager, retries=policy) as session:
        began = clock.monotonic()
        response = session.get(api.url, max_allowed_time=2)
    assert (503, b"{}") == (response.status_code, response.content)
    assert clock.monotonic() - began < 1.5


def test_short_pauses_are_kept(manager: TokenManager, api: Resource) -> None:
    """What fits into the time is done as the policy says."""
    api.behave = lambda seen: Reply(503 if len(api.seen) < 2 else 200, {"Retry-After": "1"})
    with AuthorizedSession(manager, retries=Retry(3, status_forcelist=[503])) as session:
        assert 200 == session.get(api.url, max_allowed_time=10).status_code


def test_what_is_read_later_has_no_deadline(session: AuthorizedSession) -> None:
    """With stream=True the limit is over when the call returns; a pause may be longer, up to the time-out's own."""
    go_on = threading.Event()

    def pauses(connection: socket.socket) -> None:
        connection.sendall(HEAD.replace(b"1000", b"2"))
        go_on.wait(10)
        connection.sendall(b"ok")

    with raw_server(pauses) as server:
        response = session.get(server.url, stream=True, timeout=30, max_allowed_time=1.5)
        threading.Timer(1.6, go_on.set).start()
        assert b"ok" == response.content


def test_the_time_out_of_a_read_later_is_the_caller_s(session: AuthorizedSession) -> None:
    """Once there is no deadline, timeout= is what there was to keep."""

    def pauses(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"x")
        hangs(connection)

    with raw_server(pauses) as server:
        response = session.get(server.url, stream=True, timeout=1.5, max_allowed_time=30)
        began = clock.monotonic()
        with pytest.raises(requests.exceptions.ConnectionError, match="timed out"):
            response.content  # noqa: B018  # reads it
        assert clock.monotonic() - began < 4


@pytest.mark.parametrize("body", [lambda: io.BytesIO(b"x" * 8_000_000), lambda: iter([b"x" * 80_000] * 100)])
def test_sending_a_body_counts(session: AuthorizedSession, body: Callable[[], object]) -> None:
    """However slowly the server takes it; a time-out of requests is for each piece."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        over = threading.Event()
        reader = pool.submit(reads_slowly, listener, over)
        began = clock.monotonic()
        with pytest.raises(Timeout) as caught:
            session.post(f"http://127.0.0.1:{listener.getsockname()[1]}", data=body(), max_allowed_time=0.4)
        assert 0.35 < clock.monotonic() - began < 2
        over.set()
        reader.result()
    assert caught.value.request is not None


def reads_slowly(listener: socket.socket, over: threading.Event) -> None:
    """Take a little of what comes, now and then, until the client leaves or it is over."""
    listener.settimeout(10)  # on a busy machine the time may be over before it has come
    with suppress(OSError), listener.accept()[0] as connection:
        while connection.recv(4096) and not over.wait(0.02):
            pass


def test_an_error_before_the_end_stays_what_it_is(session: AuthorizedSession) -> None:
    """Not every failure is a matter of time."""
    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        session.get("http://127.0.0.1:1/", max_allowed_time=10)
    assert not isinstance(caught.value, Timeout)


def test_a_call_within_a_call_has_no_more_time(session: AuthorizedSession) -> None:
    """A hook that asks for more does not outlive the call that it belongs to."""
    with raw_server(says(answer(b"{}", headers=("Connection: close",))), hangs) as server:
        url = server.url
        began = clock.monotonic()
        hook = {"response": lambda response, **options: response.content and session.get(url, max_allowed_time=30)}
        with pytest.raises(Timeout):
            session.get(server.url, hooks=hook, max_allowed_time=0.3)
    assert clock.monotonic() - began < 2


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 10**400, "5", True], ids=lambda seconds: str(seconds)[:10])
def test_a_wrong_limit_is_refused(session: AuthorizedSession, api: Resource, seconds: object) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="max_allowed_time"):
        session.get(api.url, max_allowed_time=seconds)  # type: ignore[arg-type]
    assert [] == api.seen


@pytest.mark.parametrize("allowed", [1e10, 1e300, timedelta.max], ids=str)
def test_a_limit_longer_than_a_socket_knows_is_none(manager: TokenManager, api: Resource, allowed: float) -> None:
    """Whatever is finite is taken."""
    with AuthorizedSession(manager, timeout=None) as session:
        assert 200 == session.get(api.url, max_allowed_time=allowed).status_code


@pytest.mark.parametrize("timeout", [0.1, (5, 0.1)])
def test_the_session_has_a_time_out(manager: TokenManager, timeout: object) -> None:
    """Used where a request gives none, of session.send() too."""
    with raw_server(hangs) as server, AuthorizedSession(manager, timeout=timeout) as session:  # type: ignore[arg-type]
        with pytest.raises(Timeout):
            session.get(server.url)
        with pytest.raises(Timeout):
            session.send(session.prepare_request(requests.Request("GET", server.url)))


@pytest.mark.parametrize("timeout", [0.1, (5, 0.1), Limits(connect=5, read=0.1), Limits(total=0.1)])
@pytest.mark.parametrize("allowed", [None, 20])
def test_a_request_has_its_own(session: AuthorizedSession, timeout: object, allowed: float | None) -> None:
    """A number, a pair, or urllib3's object, with a limit for the whole call or without."""
    with raw_server(hangs) as server:
        began = clock.monotonic()
        with pytest.raises(Timeout):
            session.get(server.url, timeout=timeout, max_allowed_time=allowed)  # type: ignore[arg-type]
    assert clock.monotonic() - began < 2


def test_the_default_time_out_is_two_minutes(session: AuthorizedSession) -> None:
    """As that of the peer that many come from."""
    assert 120 == session.timeout


def test_connecting_counts(session: AuthorizedSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses a host has; urllib3 would give the whole time to each."""
    resolve_localhost_to(monkeypatch, *["127.0.0.1"] * 6)
    with deaf_port() as port:
        began = clock.monotonic()
        with pytest.raises(Timeout):
            session.get(f"http://localhost:{port}", max_allowed_time=0.3)
        assert 0.25 < clock.monotonic() - began < 1
