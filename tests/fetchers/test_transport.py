"""The transport against real sockets: time limits, retries, odd answers, and what it takes from the environment."""

import gc
import json
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from support.addresses import deaf_port, resolve_localhost_to
from support.raw_server import RawServer, answer, drips, floods, hangs, raw_server, resets, says
from urllib3.util import Retry

from tokenkit import BearerAuth, TokenManager
from tokenkit._net.deadline import deadline
from tokenkit.clock import SystemClock
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError, MalformedResponseError, TokenEndpointError, TransportError
from tokenkit.fetchers import ClientCredentialsFetcher, HeaderTokenFetcher, HttpTokenFetcher
from tokenkit.fetchers._session import new_session
from tokenkit.testing import LocalIdP

GOOD = answer(json.dumps({"access_token": "good", "expires_in": 60}).encode())
BUSY = answer(b"", status="503 Service Unavailable")


def fetcher(server: RawServer, **options: object) -> HttpTokenFetcher:
    return HttpTokenFetcher("step", server.url, "/token", **options)


def elapsed_while_failing(source: HttpTokenFetcher, timeout: float | None = None) -> tuple[float, Exception]:
    before = time.monotonic()
    with pytest.raises((TransportError, MalformedResponseError, TokenEndpointError)) as caught:
        source.fetch(FetchContext(timeout=timeout))
    return time.monotonic() - before, caught.value


DRIPPING = {
    "headers": b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 1\r\n" * 50,
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500,
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + b"x" * 500,
    "until close": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500,
}


@pytest.mark.parametrize("data", DRIPPING.values(), ids=DRIPPING)
def test_an_answer_that_drips_ends_with_the_limit_of_the_try(data: bytes) -> None:
    """A peer that sends each byte in time still gets no more than the whole limit, headers included."""
    with raw_server(drips(data)) as server:
        seconds, error = elapsed_while_failing(fetcher(server, timeout=(0.2, 0.3), retries=0))
    assert isinstance(error, TransportError)
    assert 0.4 < seconds < 1.5


def test_a_dripping_body_ends_for_a_session_of_the_users_too() -> None:
    """The body's limit does not hang on the fetcher's own connections."""
    head, _, body = DRIPPING["body"].partition(b"xx")
    with raw_server(drips(body, head=head)) as server, requests.Session() as session:
        seconds, _ = elapsed_while_failing(fetcher(server, timeout=0.5, retries=0, session=session))
    assert seconds < 2


def test_the_contexts_timeout_ends_all_tries() -> None:
    """No try and no pause goes past the time that the context leaves."""
    with raw_server(drips(DRIPPING["body"])) as server:
        seconds, error = elapsed_while_failing(fetcher(server, timeout=0.2, retries=50), timeout=0.6)
    assert seconds < 1.2
    assert error.transient


def test_connecting_ends_in_time_however_many_addresses_a_host_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the time of one try, and urllib3 would give it to each of them."""
    resolve_localhost_to(monkeypatch, *["127.0.0.1"] * 6)
    with deaf_port() as port:
        source = HttpTokenFetcher("step", f"http://localhost:{port}", "", timeout=0.3, retries=0)
        seconds, error = elapsed_while_failing(source)
    assert 0.25 < seconds < 1
    assert "time-out: no connection to localhost" in error.message


def test_a_silent_tls_handshake_ends_in_time() -> None:
    """It belongs to connecting."""
    with raw_server(hangs) as server:
        source = HttpTokenFetcher("step", server.url.replace("http:", "https:"), "", timeout=0.3, retries=0)
        seconds, _ = elapsed_while_failing(source)
    assert 0.25 < seconds < 1


def test_the_next_address_is_tried_where_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is reached if any of its addresses is."""
    resolve_localhost_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    with raw_server(says(GOOD)) as server:
        source = HttpTokenFetcher("step", server.url.replace("127.0.0.1", "localhost"), "", retries=0)
        assert "good" == source.fetch().access_token


def test_a_host_without_an_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that a resolver would say so."""
    resolve_localhost_to(monkeypatch)
    _, error = elapsed_while_failing(HttpTokenFetcher("step", "http://localhost:1", "", retries=0))
    assert "no connection to localhost" in error.message


@pytest.mark.parametrize("host", ["a..example", "a" * 64 + ".example"])
def test_a_host_that_cannot_be_looked_up_is_an_error_of_the_request(host: str) -> None:
    """The name server would get no such name."""
    _, error = elapsed_while_failing(HttpTokenFetcher("step", f"https://{host}", "", retries=0))
    assert not error.transient


def test_a_connection_in_time_is_as_urllib3_would_make_it() -> None:
    """From the address and with the socket options that it was given."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    with socket.create_server(("127.0.0.1", 0)) as listener, deadline(SystemClock().monotonic() + 10):
        address, port = listener.getsockname()
        pool = (
            new_session()
            .get_adapter("http://x")
            .pools["http"](address, port, source_address=("127.0.0.2", 0), socket_options=options)
        )
        connection = pool.ConnectionCls(address, port, timeout=5, **pool.conn_kw)
        connection.connect()
        assert "127.0.0.2" == connection.sock.getsockname()[0]
        assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 5 == connection.sock.gettimeout()
        connection.close()


def test_no_time_left_asks_nobody() -> None:
    """A context whose time is over sends no request."""
    with raw_server(says(GOOD)) as server:
        _, error = elapsed_while_failing(fetcher(server), timeout=0)
        assert [] == server.requests
    assert "no time was left" in error.message


def test_an_endless_answer_is_cut_at_one_mebibyte() -> None:
    """An answer larger than 1 MiB is not read further, and not asked for again."""
    with raw_server(floods(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        _, error = elapsed_while_failing(fetcher(server))
        assert 1 == len(server.requests)
    assert isinstance(error, MalformedResponseError)
    assert "1 MiB" in error.message


@pytest.mark.parametrize(("status", "transient"), [(503, True), (307, False), (400, False)])
def test_a_refusal_is_one_however_long_its_page(status: int, transient: bool) -> None:
    """What is beyond 1 MiB is not read, and the status says whether it may pass."""
    with raw_server(floods(b"HTTP/1.1 %d No\r\nLocation: /\r\n\r\n" % status)) as server:
        _, error = elapsed_while_failing(fetcher(server, retries=0))
    assert isinstance(error, TokenEndpointError)
    assert (status, transient) == (error.status, error.transient)


def test_an_empty_success_is_transient() -> None:
    """A 200 with nothing in it is what a broken proxy sends; it may pass."""
    with raw_server(says(answer(b""))) as server:
        _, error = elapsed_while_failing(fetcher(server))
    assert isinstance(error, MalformedResponseError)
    assert error.transient
    assert "step" == error.step_name


def test_a_header_cut_short_is_no_token() -> None:
    """An answer that ends inside its headers is a broken connection, not a shorter token."""
    with raw_server(says(b"HTTP/1.1 200 OK\r\nX-Token: abcdefgh")) as server:
        source = HeaderTokenFetcher("step", server.url, "/token", token_header="X-Token", retries=0)
        _, error = elapsed_while_failing(source)
    assert isinstance(error, TransportError)


def test_headers_without_their_end_are_a_broken_connection() -> None:
    """Whole header lines without the empty one after them are not believed either."""
    with raw_server(says(b"HTTP/1.1 200 OK\r\nX-Token: abcdefgh\r\n"), says(GOOD)) as server:
        assert "good" == fetcher(server).fetch().access_token


@pytest.mark.parametrize("script", [resets(), resets(GOOD[:-5]), says(GOOD[:-5]), says(b""), says(BUSY)])
def test_a_broken_or_busy_answer_is_asked_for_again(script: object) -> None:
    """A connection that breaks, at any place, and a 503 are retried."""
    with raw_server(script, says(GOOD)) as server:
        assert "good" == fetcher(server).fetch().access_token
        assert 2 == len(server.requests)


@pytest.mark.parametrize("script", [resets(), resets(GOOD[:-5]), says(b""), says(BUSY), hangs])
def test_a_refresh_token_that_may_have_arrived_is_not_sent_again(script: object) -> None:
    """Under rotation a second use would revoke the whole family (RFC 9700 section 4.14.2)."""
    with raw_server(script, says(GOOD)) as server:
        source = fetcher(
            server, request_data={"refresh_token": "rt-1"}, timeout=1, retries=Retry(5, allowed_methods=None)
        )
        _, error = elapsed_while_failing(source)
        assert 1 == len(server.requests)
    assert error.transient


def test_a_refused_connection_is_tried_again_even_with_a_refresh_token() -> None:
    """Where nothing reached the server, nothing was spent."""
    with raw_server(says(GOOD)) as server:
        source = fetcher(server, request_data={"refresh_token": "rt-1"}, retries=1)
    seconds, error = elapsed_while_failing(source)
    assert seconds >= 0.2  # the pause before the second try
    assert "no connection to 127.0.0.1" in error.message


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_policys_total_is_as_many_as_it_says(retries: int) -> None:
    """A policy of the user's makes that number of further tries."""
    with raw_server(says(answer(b"", status="503 Busy", headers=("Retry-After: 0",)))) as server:
        _, error = elapsed_while_failing(
            fetcher(server, retries=Retry(retries, status_forcelist=[503], allowed_methods=None))
        )
        assert 1 + retries == len(server.requests)
    assert 503 == error.status


def test_a_policy_is_taken_as_it_is() -> None:
    """urllib3's default leaves POST out, and so it stays."""
    with raw_server(says(BUSY)) as server:
        elapsed_while_failing(fetcher(server, retries=Retry(3, status_forcelist=[503])))
        assert 1 == len(server.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
def test_a_refusal_is_not_asked_for_again(status: int) -> None:
    """What another try cannot change is final."""
    with raw_server(says(answer(b"", status=f"{status} No"))) as server:
        _, error = elapsed_while_failing(fetcher(server))
        assert 1 == len(server.requests)
    assert status == error.status


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("120", 120, 120),
        ("1.5", 1.5, 1.5),
        ("-5", 0, 0),
        ("999999999", 3600, 3600),
        (timedelta(minutes=2), 60, 120),
        (timedelta(minutes=-2), 0, 0),
        (timedelta(days=10), 3600, 3600),
        ("soon", None, None),
        ("nan", None, None),
        ("1e999", None, None),
    ],
)
def test_retry_after_is_read_and_clamped(header: str | timedelta, low: float | None, high: float | None) -> None:
    """Seconds or a date, at least 0 and at most an hour; what is neither is ignored."""
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(timezone.utc) + header, usegmt=True)
    with raw_server(says(answer(b"", status="429 Slow down", headers=(f"Retry-After: {header}",)))) as server:
        _, error = elapsed_while_failing(fetcher(server, retries=0))
    if low is None:
        assert error.retry_after is None
    else:
        assert low <= error.retry_after <= high


def test_a_long_retry_after_is_left_to_the_caller() -> None:
    """A fetch does not sleep longer than one try may take; the error says how long to wait."""
    with raw_server(says(answer(b"", status="503 Busy", headers=("Retry-After: 30",)))) as server:
        seconds, error = elapsed_while_failing(fetcher(server, timeout=2))
        assert 1 == len(server.requests)
    assert seconds < 2
    assert 30 == error.retry_after


def test_retry_after_is_waited_for() -> None:
    """A short Retry-After is honoured within the fetch."""
    busy = answer(b"", status="503 Busy", headers=("Retry-After: 1",))
    with raw_server(says(busy), says(GOOD)) as server:
        before = time.monotonic()
        assert "good" == fetcher(server).fetch(FetchContext(timeout=5)).access_token
    assert 1 <= time.monotonic() - before < 3


@pytest.mark.parametrize("timeout", [1e300, (1e300, 1e300)])
def test_a_limit_may_be_longer_than_a_socket_takes(timeout: object) -> None:
    """It is none, then, that anybody will live to see."""
    with raw_server(says(GOOD)) as server:
        assert "good" == fetcher(server, timeout=timeout).fetch().access_token


@pytest.mark.parametrize(
    "timeout",
    [0, -1, True, "5", None, (1, 2, 3), (1, 0), float("inf"), float("nan"), 10**400],
    ids=lambda one: str(one)[:9],
)
def test_a_limit_is_a_finite_number_of_seconds(timeout: object) -> None:
    """Or two of them."""
    with pytest.raises(ConfigurationError, match="timeout must be"):
        HttpTokenFetcher("step", "https://idp.example", "", timeout=timeout)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused(status: int) -> None:
    """The request, with its secrets, is sent nowhere else."""
    redirect = answer(b"", status=f"{status} Elsewhere", headers=("Location: /login",))
    with raw_server(says(redirect), says(GOOD)) as server:
        _, error = elapsed_while_failing(fetcher(server))
        assert 1 == len(server.requests)
    assert status == error.status
    assert "captive portal" in error.message


def test_a_proxys_407_is_named() -> None:
    """A proxy that wants a password does not look like the endpoint's refusal."""
    with raw_server(says(answer(b"", status="407 Proxy Authentication Required"))) as server:
        _, error = elapsed_while_failing(fetcher(server))
    assert "proxy" in error.message


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login netrc-user password netrc-password\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    return


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("own", [True, False])
def test_netrc_is_not_read(own: bool) -> None:
    """Whoever's session it is, the header that the fetcher was given stays."""
    session = None if own else requests.Session()
    with raw_server(says(GOOD)) as server:
        fetcher(server, request_headers={"Authorization": "Mine 1"}, session=session).fetch()
        assert b"Authorization: Mine 1" in server.requests[0]
        assert b"Basic" not in server.requests[0]


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As requests does; the proxy sees the absolute URL."""
    with raw_server(says(GOOD)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        source = HttpTokenFetcher("step", "http://idp.invalid", "/token", allow_insecure=True)
        assert "good" == source.fetch().access_token
        assert proxy.requests[0].startswith(b"POST http://idp.invalid/token ")


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_proxy_that_refuses_the_tunnel_is_named() -> None:
    """The status of the CONNECT request tells a missing proxy password from a dead server."""
    with raw_server(says(answer(b"", status="407 Proxy Authentication Required"))) as proxy:
        source = HttpTokenFetcher("step", "https://idp.invalid", "", proxies={"https": proxy.url}, retries=0)
        _, error = elapsed_while_failing(source)
    assert "proxy on the way to idp.invalid failed with status 407" in error.message
    gc.collect()  # Python 3.10 with urllib3 before 2.2 leaves the proxy's answer open: told here, not in a later test


def test_a_name_that_does_not_resolve_is_named() -> None:
    """The host stands in the message, the rest of the URL does not."""
    source = HttpTokenFetcher("step", "https://idp.invalid/secret-path", "?key=secret-query", retries=0)
    _, error = elapsed_while_failing(source)
    assert "idp.invalid" in error.message
    assert "secret" not in error.message


def test_a_session_of_the_users_is_used_and_left_alone() -> None:
    """Its headers and its auth apply, and nothing of it changes, not even by closing."""
    session = requests.Session()
    session.headers["X-Mine"] = "1"
    session.auth = ("user", "password")
    with raw_server(says(GOOD)) as server:
        source = fetcher(server, session=session)
        source.fetch()
        source.close()
        assert b"X-Mine: 1" in server.requests[0]
        assert b"Authorization: Basic dXNlcjpwYXNzd29yZA==" in server.requests[0]
    with raw_server(says(GOOD)) as server:
        assert 200 == session.get(server.url).status_code
    assert ("user", "password") == session.auth
    assert "keep-alive" == session.headers["Connection"]


def test_a_session_whose_auth_is_the_fetchers_header_is_refused() -> None:
    """Only one of them can say who asks."""
    session = requests.Session()
    session.auth = ("user", "password")
    client = ClientCredentialsFetcher(
        token_url="https://idp.invalid", client_id="c", client_secret="s", session=session
    )
    with pytest.raises(ConfigurationError, match="both set the header Authorization"):
        client.fetch()


def test_a_session_may_be_authorised_by_the_token_it_fetches() -> None:
    """Its BearerAuth asks for that very token, so the token request goes without."""
    session = requests.Session()
    with raw_server(says(GOOD)) as server, TokenManager(fetcher(server, session=session)) as manager:
        session.auth = BearerAuth(manager)
        manager.get_token(timeout=5)
        assert b"Authorization" not in server.requests[0]


def test_a_hook_that_raises_for_a_status_hides_no_refusal() -> None:
    """Many sessions have one; the answer says more than that it is a 400."""
    session = requests.Session()
    session.hooks["response"].append(lambda response, *_args, **_kwargs: response.raise_for_status())
    refused = answer(b'{"error": "invalid_grant"}', status="400 Bad Request")
    with raw_server(says(refused)) as server, pytest.raises(TokenEndpointError) as caught:
        fetcher(server, session=session, retries=0).fetch()
    assert "invalid_grant" == caught.value.error


def test_a_refusal_that_breaks_off_is_told_as_such() -> None:
    """What such a hook has raised says nothing of the rest of the answer, which never came."""
    session = requests.Session()
    session.hooks["response"].append(lambda response, *_args, **_kwargs: response.raise_for_status())
    broken = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n{"
    with (
        raw_server(says(broken)) as server,
        pytest.raises(TransportError, match="broke before the answer was complete"),
    ):
        fetcher(server, session=session, retries=0).fetch()


def test_proxies_may_be_chosen_at_each_try() -> None:
    """By a function, as where a proxy's password changes."""
    asked: list[str] = []
    with raw_server(says(GOOD)) as proxy:

        def choose() -> dict[str, str]:
            asked.append("asked")
            return {"http": proxy.url}

        source = HttpTokenFetcher("step", "http://idp.invalid", "/token", allow_insecure=True, proxies=choose)
        assert [] == asked
        assert "good" == source.fetch().access_token
    assert ["asked"] == asked


def test_a_session_that_does_not_verify_is_believed() -> None:
    """A fetcher's default does not switch on what the user's session switched off."""
    seen = {}

    class Spy(requests.Session):
        def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
            seen.update(options)
            return super().send(request, **options)

    session = Spy()
    session.verify = False
    with raw_server(says(GOOD)) as server:
        fetcher(server, session=session).fetch()
    assert seen["verify"] is False


def test_a_closed_fetcher_fetches_again() -> None:
    """Closing lets go of connections and of nothing else."""
    with raw_server(says(GOOD)) as server:
        source = fetcher(server)
        source.fetch()
        source.close()
        source.close()
        assert "good" == source.fetch().access_token


def test_cookies_are_not_kept() -> None:
    """A token request does not depend on an earlier one."""
    with raw_server(says(GOOD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n\r\n", 1))) as server:
        source = fetcher(server)
        source.fetch()
        source.fetch()
        assert b"Cookie" not in server.requests[1]


def test_headers_that_cannot_be_parsed_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 would warn of them and quote them, and one of them may be the token."""
    caplog.set_level("DEBUG")
    body = b'{"access_token": "good"}'
    with raw_server(says(b"HTTP/1.1 200 OK\r\nno colon here\r\nX-Token: canary-1\r\n\r\n" + body)) as server:
        assert "good" == fetcher(server).fetch().access_token
    assert "canary-1" not in caplog.text


def test_a_header_value_that_cannot_be_sent_is_not_quoted() -> None:
    """The errors of requests and of the codec quote it; ours names the header, before any network."""
    for value in ("canary\n1", " canary", 7):
        source = HttpTokenFetcher("step", "https://idp.invalid", "", request_headers={"X-Key": value})
        with pytest.raises(ConfigurationError, match="'X-Key'") as caught:
            source.fetch()
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None


def test_each_request_has_a_connection_of_its_own() -> None:
    """Also where the server would keep it: a dead one must not cost a refresh token."""
    with LocalIdP() as idp:
        source = HttpTokenFetcher("step", idp.url, "/device", request_data={"device_id": "1"})
        for _ in range(2):
            with pytest.raises(MalformedResponseError):
                source.fetch()
        assert 2 == idp.connections
