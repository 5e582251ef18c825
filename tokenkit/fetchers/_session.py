"""The session that asks token endpoints: each answer within the deadline, no redirect, no cookie, no ``.netrc``.

An answer that ends inside its headers is an error too: ``http.client`` would hand over what came, with the last value
cut short.
"""

from __future__ import annotations

import http.client
import io
import socket
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import Any, final

import requests
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPSConnection

from tokenkit._net.connections import TimedAdapter, TimedConnection, TimedSocket

__all__ = ["NO_AUTH", "NoAuth", "new_session"]


@final
class NoAuth(AuthBase):
    """Sends a request as it is. Given as ``auth=``, it keeps requests from looking into ``.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


NO_AUTH = NoAuth()


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
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()  # the socket's own reader, as makefile() wraps it
        self._head = _HeadReader(TimedSocket(raw, sock))
        self.fp = self._head

    def begin(self) -> None:
        super().begin()
        self._head.in_head = False
        # The next request is a token's lifetime away: a kept connection would be dead by then, and a refresh token
        # must not be spent on finding that out. Not every server closes because it is asked to.
        self.will_close = True
        # urllib3 would log what could not be parsed, and that may be a token.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _Connection(TimedConnection):
    response_class = _Answer


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


@final
class _Adapter(TimedAdapter):
    pools = MappingProxyType({"http": _Pool, "https": _TLSPool})


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
