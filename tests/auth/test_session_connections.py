"""The connections of our sessions: what keeps the deadline where others would not, and what is as it is for others."""

import re
import socket
from pathlib import Path

import pytest
import requests
from requests.exceptions import Timeout
from support import needs
from support.addresses import deaf_port
from support.protected import Resource
from support.raw_server import raw_server

from tokenkit.auth import AuthorizedSession
from tokenkit.clock import SystemClock
from tokenkit.errors import TransportError
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
from tokenkit.manager import TokenManager

clock = SystemClock()


@pytest.mark.parametrize("kind", ["session", "fetcher"])
def test_the_tls_within_the_tls_of_a_proxy_keeps_the_deadline(kind: str, manager: TokenManager, tmp_path: Path) -> None:
    """A proxy that drips the inner handshake, in a record that is never whole, is left in time."""
    needs.module("cryptography")
    from tokenkit.testing.certificates import self_signed

    context, trusted = self_signed(tmp_path)

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(65536)  # the client's part of the handshake
        connection.sendall(b"\x16\x03\x03\x3f\x00")
        connection.settimeout(0.05)
        while True:
            connection.sendall(b"\0")
            try:
                if not connection.recv(65536):
                    return
            except TimeoutError:
                pass

    with raw_server(script, script, tls=context) as proxy:
        proxies = {"https": proxy.url.replace("http://", "https://")}
        began = clock.monotonic()
        if kind == "session":
            with AuthorizedSession(manager) as session, pytest.raises(Timeout):
                session.get("https://127.0.0.1:1/", proxies=proxies, verify=str(trusted), max_allowed_time=0.7)
        else:
            options = {"token_url": "https://127.0.0.1:1/t", "client_id": "c", "client_secret": "s", "retries": 0}
            fetcher = ClientCredentialsFetcher(**options, timeout=0.7, verify=str(trusted), proxies=proxies)
            with pytest.raises(TransportError):
                fetcher.fetch()
    assert 2 > clock.monotonic() - began


def test_an_address_that_does_not_answer_leaves_the_next_its_share(manager: TokenManager, api: Resource) -> None:
    """As where IPv6 is broken: the time is shared among the addresses of a host."""
    with deaf_port() as deaf, AuthorizedSession(manager) as session, pytest.MonkeyPatch.context() as patch:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (deaf, api.port)]
        patch.setattr(socket, "getaddrinfo", lambda *_: found)
        assert 200 == session.get(f"http://localhost:{api.port}/", max_allowed_time=2).status_code


def test_errors_and_sockets_are_those_of_requests(manager: TokenManager, api: Resource) -> None:
    """The names of urllib3's own classes, by which tools group errors; and what select() takes."""
    with AuthorizedSession(manager) as session, requests.Session() as plain:
        texts = []
        for one in (plain, session):
            with pytest.raises(requests.exceptions.ConnectionError) as caught:
                one.get("http://127.0.0.1:1/")
            texts.append(re.sub("0x[0-9a-f]+", "", str(caught.value)))
        assert texts[0] == texts[1]
        with session.get(api.url, stream=True) as response:
            assert response.raw.fileno() > 0
