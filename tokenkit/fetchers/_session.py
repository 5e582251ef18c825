"""The session that asks token endpoints: each answer within the deadline, no redirect, no cookie, no ``.netrc``.

An answer that ends inside its headers is an error too: ``http.client`` would hand over what came, with the last value
cut short.
"""

from __future__ import annotations

import http.client
import io
import queue
from collections import deque
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, final

import requests
from requests.auth import AuthBase

from tokenkit._net.connections import TimedAdapter, TimedConnection, timed, timed_pools
from tokenkit.errors import ConfigurationError

__all__ = ["auth_for", "new_session"]


@final
class _NoAuth(AuthBase):
    """Sends a request as it is. Given as ``auth=``, it keeps requests from looking into ``.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


_NO_AUTH = _NoAuth()


def auth_for(session: requests.Session | None, headers: Mapping[str, str]) -> Any:
    """Return the ``auth=`` of a token request: that of the user's *session*, or one that adds nothing.

    One of ours on that session asks for the very token that is being fetched, so it does not count.

    Args:
        session: The user's; None: one of ours is used.
        headers: What the request has already.

    Raises:
        ConfigurationError: Both would set the same header.
    """
    auth = None if session is None else getattr(session, "auth", None)
    if auth is None or hasattr(auth, "manager") or hasattr(auth, "_manager"):
        return _NO_AUTH
    if any(name.lower() == "authorization" for name in headers):
        raise ConfigurationError(
            "session.auth and the fetcher would both set the header Authorization; leave one of them out: an OAuth 2.0"
            " fetcher does not set it with client_auth='client_secret_post' or 'none'"
        )
    return auth


class _HeadReader(io.BufferedReader):
    """A buffered reader that takes an end inside the headers for what it is: a broken connection."""

    lines = 0
    in_head = True

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(-1 if size is None else size)
        if self.in_head:
            ended = not line.endswith(b"\n") and len(line) != size
            if ended and (line or self.lines):  # no line at all is for http.client to name
                raise ConnectionResetError("the answer ended inside its headers")
            self.lines += 1
        return line


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = timed(self.fp, sock)
        self._head = _HeadReader(raw) if raw is not None else None
        self.fp = self._head or self.fp

    def begin(self) -> None:
        super().begin()
        if self._head is not None:
            self._head.in_head = False
        # The next request is a token's lifetime away: a kept connection would be dead by then, and a refresh token
        # must not be spent on finding that out. Not every server closes because it is asked to.
        self.will_close = True
        # urllib3 would log what could not be parsed, and that may be a token.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _Connection(TimedConnection):
    response_class = _Answer


class _Idle:
    """A pool's idle connections: what urllib3 and vcrpy ask of a ``LifoQueue``, but without a lock.

    A signal whose handler raises may leave the queue's lock locked, and the pool's finaliser takes it, too: whichever
    thread the collector runs in would then hang.
    """

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._items: deque[Any] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if len(self._items) >= self._maxsize:
            raise queue.Full
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        return not self._items


_POOLS = timed_pools(_Connection, _Idle)


@final
class _Adapter(TimedAdapter):
    pools = _POOLS


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # Even where redirects are not followed, requests works out the next request and reads the whole body for it.
        return None


def new_session() -> requests.Session:
    """Return a session that keeps the deadline, follows no redirect, retries nothing and stores no cookie."""
    session = _Session()
    session.headers["Connection"] = "close"
    session.headers["Accept-Encoding"] = "identity"  # a token needs no compression, and a small bomb none either
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for prefix in ("http://", "https://"):
        session.mount(prefix, _Adapter(max_retries=0))
    return session
