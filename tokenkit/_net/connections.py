"""Connections that keep a deadline to the letter, for token endpoints and APIs alike.

requests and urllib3 limit each read, so a peer that sends one byte in time, again and again, outlives any limit.
Here the deadline is looked at before each read from the socket, headers included, and before each address of a host
is tried; only to look these up takes as long as the system's resolver will.
"""

from __future__ import annotations

import io
import math
import socket
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.util import connection

from tokenkit._net.deadline import per_read, shorter, time_left

__all__ = ["TimedAdapter", "TimedConnection", "TimedSocket", "timed", "timed_pools", "timeout_of"]


class TimedSocket(io.RawIOBase):
    """A socket's bytes, each read of which gets no more time than the deadline leaves."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        set_to = timeout_of(sock)
        self._per_read = per_read(set_to)
        self._cut = set_to != self._per_read  # whether the socket's time-out is another one than that

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

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


def timeout_of(sock: Any) -> float | None:
    """Return the time-out of a socket, or of the one within it: what pyOpenSSL puts in its place cannot tell."""
    tell = getattr(sock, "gettimeout", None) or getattr(getattr(sock, "socket", None), "gettimeout", None)
    return None if tell is None else tell()


def timed(reader: Any, sock: Any) -> io.RawIOBase | None:
    """Return the bytes that *reader*, a socket's, has, within the deadline; None where the socket is no real one.

    Software that stands in for the network, as mocket does, gives readers that cannot be taken apart. Those are to be
    used as they are: each read then takes what it takes.
    """
    try:
        raw = reader.detach()
    except (AttributeError, io.UnsupportedOperation):
        return None
    return TimedSocket(raw, sock)


class _TimedTransport:
    """The TLS socket to a proxy, as the TLS within it uses it: it reads and writes until a whole record is there."""

    def __init__(self, sock: Any) -> None:
        vars(self)["_sock"] = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._sock, name, value)

    def recv(self, *args: Any) -> Any:
        self._cut()
        return self._sock.recv(*args)

    def sendall(self, *args: Any) -> Any:
        self._cut()
        return self._sock.sendall(*args)

    def _cut(self) -> None:
        left = time_left()
        if left <= 0:
            raise TimeoutError("the exchange with the proxy took too long")
        if left != math.inf:
            self._sock.settimeout(shorter(timeout_of(self._sock), left))


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

    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> Any:
        return _TimedTransport(super()._connect_tls_proxy(hostname, sock))  # type: ignore[misc]  # of HTTPSConnection

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
            found = socket.getaddrinfo(host, self.port, families, socket.SOCK_STREAM)
            for number, (*kind, _name, address) in enumerate(found):
                try:
                    return self._connected_to(address, socket.socket(*kind), len(found) - number)
                except OSError as error:
                    failure = error
            raise failure
        finally:
            del failure  # its traceback holds this frame

    def _connected_to(self, address: Any, sock: socket.socket, remaining: int) -> socket.socket:
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(self._limit(remaining))  # an address that does not answer leaves the others their share
            if self.source_address:
                sock.bind(self.source_address)
            sock.connect(address)
            sock.settimeout(self._limit())  # of a TLS handshake
        except OSError:
            sock.close()
            raise
        return sock

    def _limit(self, shares: int = 1) -> float | None:
        left = time_left()
        if left <= 0:
            raise TimeoutError("connecting took too long")
        return shorter(self.timeout, left / shares)


class _Kind:
    """The kind of a pool's connections: ours, unless other software has put one of its own in urllib3's place.

    So do vcrpy, wsgi-intercept and urllib3's own HTTP/2, and who uses them wants nothing to go past them.
    """

    def __init__(self, pool: type[HTTPConnectionPool], standard: type, ours: type) -> None:
        self._pool = pool
        self._standard = standard
        self._ours = ours

    def __get__(self, instance: object, owner: type) -> type:
        kind: type = self._pool.ConnectionCls
        return self._ours if kind is self._standard else kind


def timed_pools(kind: type[TimedConnection], idle: type | None = None) -> Mapping[str, type[HTTPConnectionPool]]:
    """Return pools of such connections for each scheme; in errors and traces they bear the names of urllib3's.

    Args:
        kind: What they are made of.
        idle: The queue that a pool keeps idle ones in. None: urllib3's.
    """
    own = {"__module__": HTTPConnection.__module__}
    plain = type("HTTPConnection", (kind,), own)
    secure = type("HTTPSConnection", (kind, HTTPSConnection), own)
    return MappingProxyType(
        {
            "http": _pool(HTTPConnectionPool, HTTPConnection, plain, idle),
            "https": _pool(HTTPSConnectionPool, HTTPSConnection, secure, idle),
        }
    )


def _pool(pool: type[HTTPConnectionPool], standard: type, ours: type, idle: type | None) -> type[HTTPConnectionPool]:
    own = {"__module__": pool.__module__, "ConnectionCls": _Kind(pool, standard, ours)}
    return type(pool.__name__, (pool,), {**own, "QueueCls": idle or pool.QueueCls})


class TimedAdapter(HTTPAdapter):
    """requests' own adapter on connections of a subclass's choice. SOCKS proxies keep their own kind."""

    pools: Mapping[str, type[HTTPConnectionPool]]
    """The pools for each scheme, made of :class:`TimedConnection`; a subclass names its own."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(self.pools)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = dict(self.pools)
        return manager
