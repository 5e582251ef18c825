"""Requests that no polite client sends, straight onto LocalIdP's socket."""

import socket
from urllib.parse import urlsplit

import pytest


def talk(idp, *parts, more_to_come=False):
    """Send *parts* on one connection and return all that comes back until the server hangs up."""
    address = urlsplit(idp.url)
    with socket.create_connection((address.hostname, address.port), 10) as sock:
        for part in parts:
            sock.sendall(part)
        if not more_to_come:
            sock.shutdown(socket.SHUT_WR)
        received = b""
        while data := sock.recv(65536):
            received += data
    return received


def test_http_1_0_and_close_end_the_connection(local_idp):
    """Who does not ask to be kept alive is not."""
    for request in (b"GET /api/ HTTP/1.0\r\n\r\n", b"GET /api/ HTTP/1.1\r\nConnection: close\r\n\r\n"):
        answer = talk(local_idp, request, more_to_come=True)
        assert (1, True) == (answer.count(b"HTTP/1.1 401"), b"Connection: close" in answer)


def test_requests_may_follow_one_another_at_once(local_idp):
    """Two requests in one packet get two answers in turn."""
    answer = talk(local_idp, b"GET /nowhere HTTP/1.1\r\n\r\nGET /api/ HTTP/1.1\r\n\r\n")
    assert answer.index(b"HTTP/1.1 404") < answer.index(b"HTTP/1.1 401")


def test_a_cautious_client_is_told_to_go_on(local_idp):
    """Expect: 100-continue is answered before the body is read."""
    head = (
        b"POST /device HTTP/1.1\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
    )
    answer = talk(local_idp, head, b'{"device_id":"d"}')
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_the_absolute_form_is_understood(local_idp):
    """A request as a proxy gets it means the same path and query."""
    answer = talk(local_idp, b"GET http://host/device?device_id=d HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


def test_repeated_headers_are_joined(local_idp):
    """Two headers of one name count as one with a comma."""
    talk(local_idp, b"GET /api/ HTTP/1.1\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
    assert "1, 2" == local_idp.last_request("api").headers["x-a"]


@pytest.mark.parametrize("nonsense", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b""])
def test_what_is_not_http_is_hung_up_on(local_idp, nonsense):
    """No answer, no trace on stderr, and the next client is served."""
    assert b"" == talk(local_idp, nonsense)
    assert b"404" in talk(local_idp, b"GET / HTTP/1.1\r\n\r\n")
