"""Sending a prepared request once more in place of an answer that was no good: body, cookies, connection, history.

When to do so is :mod:`tokenkit.auth`'s affair.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from requests import PreparedRequest, Response
from requests.cookies import extract_cookies_to_jar, get_cookie_header
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body
from urllib3.exceptions import HTTPError

from tokenkit._net.deadline import deadline, time_left
from tokenkit.clock import SystemClock

__all__ = ["Options", "make_ready", "resend"]

Options = dict[str, Any]  # what a Session sends with

# What an adapter takes; requests-cache gives hooks more.
_SENT_WITH = ("stream", "timeout", "verify", "cert", "proxies")

_DRAIN_BYTES = 64 * 1024
_DRAIN_SECONDS = 1.0
_clock = SystemClock()


def make_ready(answered: Response) -> bool:
    """Set the body of the request of *answered* to where it stood at first; return whether it can be sent again.

    Bytes and text always can; a file if it can seek. An iterator cannot, and of one that might start anew nobody
    knows whether it does. Nor can a request whose adapter did not sign its answer.
    """
    request = answered.request
    body: Any = request.body
    if getattr(answered, "connection", None) is None:
        return False
    if body is None or isinstance(body, (bytes, str, bytearray)):
        return True
    try:
        rewind_body(request)  # needs an integer position, which requests took when it prepared the body
    except (UnrewindableBodyError, ValueError):  # a closed file raises ValueError
        return False
    return True


def resend(request: PreparedRequest, rejected: Response, options: Options) -> Response:
    """Send *request* in place of that of *rejected*, and return the new answer.

    Its history ends with *rejected*. Response hooks are not called.

    Args:
        request: What to send; the cookies that *rejected* set are put into it.
        rejected: An answer whose body has not been read; its connection is freed.
        options: What the first request was sent with.

    Raises:
        requests.exceptions.RequestException: The second request got no answer.
    """
    _settle(rejected)
    _carry_cookies(request, rejected)
    began = _clock.monotonic()
    answer = rejected.connection.send(request, **{name: options[name] for name in _SENT_WITH if name in options})
    answer.elapsed = timedelta(seconds=_clock.monotonic() - began)
    answer.history = [*rejected.history, rejected]
    return answer


def _settle(response: Response) -> None:
    """Free the connection of *response*: to the pool if a little reading does it, else by closing it.

    A body that compresses is not unpacked, and one without a length is not waited for: it may never end.
    """
    raw = response.raw
    left = getattr(raw, "length_remaining", None)
    try:
        with deadline(_clock.monotonic() + min(_DRAIN_SECONDS, time_left())):
            body = _read(raw, left) if left is not None and left <= _DRAIN_BYTES else None
    except (HTTPError, OSError):  # broken or too slow; it was not wanted
        body = None
    whole = body is not None and not response.headers.get("Content-Encoding")
    response._content = body if whole else b""  # for those who look into the history
    if body is None and raw is not None:
        raw.close()
    release = getattr(raw, "release_conn", None)  # an adapter of another kind has no such thing, or no raw at all
    if release is not None:
        release()


def _read(raw: Any, left: int) -> bytes:
    sock = getattr(raw.connection, "sock", None)
    if sock is None and raw.connection is not None:
        raise TimeoutError  # the server will close it: out of reach for a time limit, and of no further use
    # read() waits until it has all; read1(), of urllib3 2.1, for one packet, so that the end is looked at in between.
    read = getattr(raw, "read1", raw.read)
    body = bytearray()
    while True:
        seconds = time_left()
        if seconds <= 0:
            raise TimeoutError
        if sock is not None:
            sock.settimeout(seconds)  # the next request on this connection sets its own
        chunk = read(left - len(body) or 1, decode_content=False)
        if not chunk:
            return bytes(body)
        body += chunk


def _carry_cookies(request: PreparedRequest, rejected: Response) -> None:
    """Take the cookies that *rejected* set into *request*, unless its Cookie header was written by hand."""
    jar = request._cookies  # type: ignore[attr-defined]  # where requests' own auth handlers look
    if jar is None:
        return
    sent = request.headers.pop("Cookie", None)
    if sent == get_cookie_header(jar, request):  # type: ignore[no-untyped-call]  # in the stubs
        extract_cookies_to_jar(jar, request, rejected.raw)  # type: ignore[no-untyped-call]  # in the stubs
        request.prepare_cookies(jar)
    elif sent is not None:
        request.headers["Cookie"] = sent
