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

from tokenkit.auth._draining import drain
from tokenkit.clock import SystemClock

__all__ = ["Options", "make_ready", "resend"]

Options = dict[str, Any]  # what a Session sends with

# What an adapter takes; requests-cache gives hooks more.
_SENT_WITH = ("stream", "timeout", "verify", "cert", "proxies")

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
    if body is None or isinstance(body, (bytes, str, bytearray, memoryview)):
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
    drain(rejected)
    _carry_cookies(request, rejected)
    began = _clock.monotonic()
    answer = rejected.connection.send(request, **{name: options[name] for name in _SENT_WITH if name in options})
    answer.elapsed = timedelta(seconds=_clock.monotonic() - began)
    answer.history = [*rejected.history, rejected]
    return answer


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
