"""The listener that a browser comes back to takes one answer, and shows a page that gives nothing away."""

import errno
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest
import requests

from tokenkit.clock import SystemClock
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers.oauth2._loopback import Loopback

CLOCK = SystemClock()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    loopback = Loopback("s1", 0)
    yield loopback
    loopback.close()


def answer(loopback: Loopback, query: str) -> requests.Response:
    return requests.get(loopback.redirect_uri + query, timeout=5)


def waited(loopback: Loopback, seconds: float = 5.0) -> object:
    return loopback.wait(CLOCK, CLOCK.monotonic() + seconds)


def test_the_answer_to_the_state_is_taken_once(loopback: Loopback) -> None:
    """Whatever comes after it is told that it is late."""
    assert 200 == answer(loopback, "?code=c1&state=s1").status_code
    assert 409 == answer(loopback, "?code=c2&state=s1").status_code
    assert {"code": "c1", "state": "s1"} == waited(loopback)


@pytest.mark.parametrize(
    "query", ["?code=c1&state=s2", "?code=c1", "?code=c1&state=s1&state=s1", "?code=c1&state=%C3%A9"]
)
def test_another_state_is_no_answer(loopback: Loopback, query: str) -> None:
    """It is refused, and the right one may come still."""
    assert 400 == answer(loopback, query).status_code
    answer(loopback, "?code=c2&state=s1")
    assert {"code": "c2", "state": "s1"} == waited(loopback)


@pytest.mark.parametrize("path", ["favicon.ico", "", "?utm=1", "other?code=c&state=s1"])
def test_other_requests_find_nothing(loopback: Loopback, path: str) -> None:
    """Browsers ask for an icon, and people reload."""
    assert 404 == answer(loopback, path).status_code


def test_the_page_keeps_the_code_to_itself(loopback: Loopback) -> None:
    """It has no script, no link and no echo of the request; no cache and no referrer gets the code."""
    page = answer(loopback, "?code=canary&state=s1")
    assert "no-store" == page.headers["Cache-Control"]
    assert "no-referrer" == page.headers["Referrer-Policy"]
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not [word for word in ("canary", "<script", "href", "src=") if word in page.text]


def test_nobody_comes(loopback: Loopback) -> None:
    """The wait ends at its deadline."""
    assert waited(loopback, 0.05) is None


def test_a_browser_that_only_connects_keeps_nobody(loopback: Loopback) -> None:
    """Browsers open connections that they do not use."""
    host, port = loopback.redirect_uri.split("//")[1].rstrip("/").split(":")
    with socket.create_connection((host, int(port))):
        answer(loopback, "?code=c1&state=s1")
        assert waited(loopback) is not None


def test_closing_leaves_nothing() -> None:
    """Neither a thread nor the port."""
    before = set(threading.enumerate())
    loopback = Loopback("s1", 0)
    (listening,) = (one for one in set(threading.enumerate()) - before if one.name == "tokenkit-sign-in")
    loopback.close()
    assert not listening.is_alive()
    with pytest.raises(requests.ConnectionError):
        answer(loopback, "")


@needs_ipv6
def test_where_there_is_no_ipv4_the_other_address_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The redirect names the address that is listened on."""
    _without_ipv4(monkeypatch)
    loopback = Loopback("s1", 0)
    try:
        assert loopback.redirect_uri.startswith("http://[::1]:")
        assert 200 == answer(loopback, "?state=s1&code=c").status_code
    finally:
        loopback.close()


@needs_ipv6
def test_where_neither_address_is_there_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the system's own word for the second try."""
    _without_ipv4(monkeypatch)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"redirect_port={port} cannot be listened on: Address already"):
            Loopback("s1", port)


def _without_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = socketserver.TCPServer.server_bind

    def refuse(server: socketserver.TCPServer) -> None:
        if server.address_family == socket.AF_INET:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        bind(server)

    monkeypatch.setattr(socketserver.TCPServer, "server_bind", refuse)


def test_a_port_that_is_taken_is_told() -> None:
    """By the argument's name; no other address is listened on, where a stranger may wait for the code."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"redirect_port={port}"):
            Loopback("s1", port)
