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
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.util import connection

from tokenkit._net.deadline import per_read, shorter, time_left

__all__ = ["TimedAdapter", "TimedConnection", "TimedSocket"]


class TimedSocket(io.RawIOBase):
    """A socket's bytes, each read of which gets no more time than the deadline leaves."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        set_to = sock.gettimeout()
        self._per_read = per_read(set_to)
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
