"""A rejection whose body is long, slow, broken or absent: none of it keeps the second request from being sent."""

import gzip
import io
import time
from collections.abc import Callable

import pytest
import requests
from requests.adapters import BaseAdapter
from support.protected import Issuer, managed
from support.raw_server import Script, answer, floods, raw_server, says

from tokenkit.auth import AuthorizedSession, BearerAuth

GOOD = answer(b"{}")
HEAD = b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n"  # as the scripts do


def stalls(data: bytes) -> Script:
    """Send these bytes, and nothing more until the client leaves."""

    def script(connection: object) -> None:
        connection.sendall(data)  # type: ignore[attr-defined]
        connection.recv(1)  # type: ignore[attr-defined]

    return script


def drips_for_ever(head: bytes) -> Script:
    def script(connection: object) -> None:
        connection.sendall(head)  # type: ignore[attr-defined]
        connection.settimeout(0.02)  # type: ignore[attr-defined]
        while True:
            connection.sendall(b"1")  # type: ignore[attr-defined]
            try:
                if not connection.recv(1):  # type: ignore[attr-defined]
                    return
            except TimeoutError:
                pass

    return script


REJECTIONS: dict[str, Callable[[], Script]] = {
    "chunked": lambda: says(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
    "chunked without an end": lambda: floods(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"),
    "chunked, a size without an end": lambda: drips_for_ever(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "chunked, broken": lambda: says(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    "endless": lambda: floods(HEAD + b"\r\n"),
    "endless, with a length": lambda: floods(HEAD + b"Content-Length: 99999999999\r\n\r\n"),
    "cut short": lambda: says(HEAD + b"Content-Length: 100\r\n\r\nno"),
    "never sent": lambda: stalls(HEAD + b"Content-Length: 100\r\n\r\n"),
    "dripping": lambda: drips_for_ever(HEAD + b"Content-Length: 60000\r\n\r\n"),
    "no gzip": lambda: says(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nno"),
    "a gzip bomb": lambda: says(HEAD + b"Content-Encoding: gzip\r\n" + _sized(gzip.compress(bytes(40_000_000)))),
    "without a body": lambda: says(HEAD + b"Content-Length: 0\r\n\r\n"),
    "without a length": lambda: says(HEAD + b"\r\n"),
    "two lengths": lambda: says(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nno"),
}


def _sized(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("case", REJECTIONS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_second_request_is_sent_all_the_same(case: str, stream: bool) -> None:
    """Within seconds, with no time-out of the user's, and with a body in the history that can be asked for."""
    began = time.monotonic()
    with raw_server(REJECTIONS[case](), says(GOOD)) as server, managed(Issuer()) as manager:
        response = requests.get(server.url, auth=BearerAuth(manager), stream=stream)
        assert time.monotonic() - began < 5
        assert (200, b"{}") == (response.status_code, response.content)
        assert len(response.history[0].content) < 100
        assert 2 == len(server.requests)


@pytest.mark.parametrize("raw", [io.BytesIO(b"no"), None], ids=["a file", "nothing"])
def test_an_adapter_may_answer_with_what_is_not_urllib3_s(raw: object) -> None:
    """Requests asks no more of it, and neither is more asked here."""

    class Scripted(BaseAdapter):
        statuses = iter([401, 200])

        def send(self, request: requests.PreparedRequest, *args: object, **options: object) -> requests.Response:
            response = requests.Response()
            response.status_code, response.request, response.url = next(self.statuses), request, str(request.url)
            response.raw, response.connection = raw, self  # type: ignore[attr-defined]
            return response

        def close(self) -> None:
            pass

    with requests.Session() as session, managed(Issuer()) as manager:
        session.mount("https://", Scripted())
        assert 200 == session.get("https://api.example.com/", auth=BearerAuth(manager), stream=True).status_code


def test_a_head_request_has_no_body_to_wait_for() -> None:
    """Whatever length the answer announces."""
    head = HEAD + b"Content-Length: 100\r\n\r\n"
    with (
        raw_server(says(head), says(b"HTTP/1.1 204 No Content\r\n\r\n")) as server,
        managed(Issuer()) as manager,
    ):
        assert 204 == requests.head(server.url, auth=BearerAuth(manager)).status_code


CHUNKED = b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n"
PACKED = gzip.compress(b"no")
KEPT: dict[str, bytes] = {
    "chunked": CHUNKED + b"\r\n1\r\nn\r\n1;a=b\r\no\r\n0\r\nX-After: 1\r\n\r\n",
    "packed": b"HTTP/1.1 401 Unauthorized\r\nContent-Encoding: gzip\r\n" + _sized(PACKED),
    "chunked and packed": CHUNKED + b"Content-Encoding: gzip\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PACKED), PACKED),
}


def in_turns(*answers: bytes) -> Script:
    """Answer each request on one connection."""

    def script(connection: object) -> None:
        for number, one in enumerate(answers):
            connection.sendall(one)  # type: ignore[attr-defined]
            if number + 1 < len(answers):
                connection.recv(65536)  # type: ignore[attr-defined]

    return script


@pytest.mark.parametrize("case", KEPT)
@pytest.mark.parametrize("kind", ["plain", "authorized"])
def test_a_short_rejection_costs_no_connection(case: str, kind: str) -> None:
    """It is read to its end, and its text is in the history."""
    with raw_server(in_turns(KEPT[case], GOOD)) as server, managed(Issuer()) as manager:
        with requests.Session() if kind == "plain" else AuthorizedSession(manager) as session:
            session.auth = BearerAuth(manager)
            response = session.get(server.url, timeout=10)
        assert (200, "no") == (response.status_code, response.history[0].text)
        assert 1 == len(server.requests)


@pytest.mark.parametrize("end", [b"\r\n", b"\r\n5\r\nab"], ids=["a size that drips", "a chunk that drips"])
def test_chunks_that_drip_are_not_waited_for(end: bytes) -> None:
    """A kept connection, and a plain session, which has no limit for the whole of a read."""
    began = time.monotonic()
    with raw_server(drips_for_ever(CHUNKED + end), says(GOOD)) as server, managed(Issuer()) as manager:
        assert 200 == requests.get(server.url, auth=BearerAuth(manager)).status_code
    assert 3 > time.monotonic() - began


# (what rejects, on a connection that the server would keep)
MARRED: dict[str, Callable[[], Script]] = {
    "longer than 64 KiB": lambda: floods(CHUNKED + b"\r\nfffffff\r\n"),
    "ends between two chunks": lambda: says(CHUNKED + b"\r\n2\r\nno\r\n"),
    "no gzip": lambda: in_turns(b"HTTP/1.1 401 Unauthorized\r\nContent-Encoding: gzip\r\n" + _sized(b"no"), GOOD),
}


@pytest.mark.parametrize("case", MARRED)
def test_a_rejection_of_which_nothing_can_be_kept(case: str) -> None:
    """The second request is sent all the same, and the history has an answer without a text."""
    with raw_server(MARRED[case](), says(GOOD)) as server, managed(Issuer()) as manager:
        response = requests.get(server.url, auth=BearerAuth(manager), timeout=10)
    assert (200, b"") == (response.status_code, response.history[0].content)
