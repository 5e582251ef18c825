"""Connections that keep a deadline to the letter, for token endpoints.

requests and urllib3 limit each read, so a peer that sends one byte in time, again and again, outlives any limit.
Here the deadline is looked at before each read from the socket, headers included, and before each address of a host
is tried; only to look these up takes as long as the system's resolver will. An answer that ends inside its headers is
an error too: ``http.client`` would hand over what came, with the last value cut short.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any, final

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.util import connection

from tokenkit.clock import SystemClock

__all__ = [
    "NO_AUTH",
    "NoAuth",
    "TimedAdapter",
    "TimedConnection",
    "TimedSocket",
    "deadline",
    "new_session",
    "read_limit",
    "shorter",
    "time_left",
]

_clock = SystemClock()
_deadline: ContextVar[float] = ContextVar("tokenkit_wire_deadline", default=math.inf)
_read_limit: ContextVar[float | None] = ContextVar("tokenkit_wire_read_limit")


@contextmanager
def deadline(moment: float) -> Iterator[None]:
    """Make every answer that is read inside this context, in this thread, end by *moment* on the monotonic clock."""
    before = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(before)


def time_left() -> float:
    """Return the seconds until the deadline of this context; infinity where there is none."""
    return _deadline.get() - _clock.monotonic()


@contextmanager
def read_limit(seconds: float | None) -> Iterator[None]:
    """Say how long each read of answers that begin in this context may take once there is no deadline any more."""
    before = _read_limit.set(seconds)
    try:
        yield
    finally:
        _read_limit.reset(before)


def shorter(limit: float | None, left: float) -> float | None:
    """Return a socket's time-out: *limit*, None being no limit, or the seconds *left* where they are fewer."""
    if left == math.inf:
        return limit
    return left if limit is None else min(limit, left)


@final
class NoAuth(AuthBase):
    """Sends a request as it is. Given as ``auth=``, it keeps requests from looking into ``.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


NO_AUTH = NoAuth()


class TimedSocket(io.RawIOBase):
    """A socket's bytes, each read of which gets no more time than the deadline leaves."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        set_to = sock.gettimeout()
        self._per_read = _read_limit.get(set_to)
        self._cut = set_to != self._per_read  # whether the socket's time-out is another one than that

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = time_left()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        if self._cut or left != math.inf:
            self._cut = left != math.inf
            self._sock.settimeout(shorter(self._per_read, left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


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


class TimedConnection(HTTPConnection):
    """A connection that is made by the deadline: urllib3 gives every address of a host the whole time for one."""

    def _new_conn(self) -> socket.socket:
        if time_left() == math.inf:
            return super()._new_conn()
        try:
            connected = self._connected()
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"Connection to {self.host} timed out") from error
        except OSError as error:
            raise NewConnectionError(self, f"Failed to establish a new connection: {error}") from error
        sys.audit("http.client.connect", self, self.host, self.port)
        return connected

    def _connected(self) -> socket.socket:
        """Return a socket to the first address that answers; what urllib3's ``create_connection`` does, within time."""
        host = self._dns_host.strip("[]")  # with its last dot, if any, unlike self.host
        try:
            host.encode("idna")
        except UnicodeError:
            raise LocationParseError(f"{host!r}, label empty or too long") from None
        failure = OSError("getaddrinfo returns an empty list")
        families = connection.allowed_gai_family()  # some replace it, to have IPv4 only
        try:
            for *kind, _name, address in socket.getaddrinfo(host, self.port, families, socket.SOCK_STREAM):
                try:
                    return self._connected_to(address, socket.socket(*kind))
                except OSError as error:
                    failure = error
            raise failure
        finally:
            del failure  # its traceback holds this frame

    def _connected_to(self, address: Any, sock: socket.socket) -> socket.socket:
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(self._limit())
            if self.source_address:
                sock.bind(self.source_address)
            sock.connect(address)
            sock.settimeout(self._limit())  # of a TLS handshake
        except OSError:
            sock.close()
            raise
        return sock

    def _limit(self) -> float | None:
        left = time_left()
        if left <= 0:
            raise TimeoutError("connecting took too long")
        return shorter(self.timeout, left)


class _Connection(TimedConnection):
    response_class = _Answer


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class TimedAdapter(HTTPAdapter):
    """requests' own adapter on the connections above. SOCKS proxies keep their own kind."""

    pools: Mapping[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TLSPool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(self.pools)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = dict(self.pools)
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # Even where redirects are not followed, requests works out the next request and reads the whole body for it.
        return None


def new_session() -> requests.Session:
    """Return a session that keeps :func:`deadline`, follows no redirect, retries nothing and stores no cookie."""
    session = _Session()
    session.headers["Connection"] = "close"
    session.headers["Accept-Encoding"] = "identity"  # a token needs no compression, and a small bomb none either
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for prefix in ("http://", "https://"):
        session.mount(prefix, TimedAdapter(max_retries=0))
    return session
