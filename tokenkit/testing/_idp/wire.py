"""One connection: reading requests off a socket and putting bytes on it, HTTP/1.1 with keep-alive.

Hand-made rather than `http.server`, because a test wants to break off, dawdle and reset at any byte, and
because thirty threads wait for it: a request costs no e-mail parser and no log line.
"""

from __future__ import annotations

import socket
import struct
from typing import BinaryIO, final
from urllib.parse import urlsplit

from tokenkit.testing._idp.messages import Request

__all__ = ["Wire"]

_LINE = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@final
class Wire:
    """A connection that was accepted, for the one thread that reads and writes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._reader: BinaryIO = sock.makefile("rb")
        self.keep_alive = True

    def read_request(self) -> Request | None:
        """Return the next request, or None where the peer hung up.

        Raises:
            ValueError: What came is not HTTP.
            OSError: The connection broke.
        """
        line = self._reader.readline(_LINE)
        if not line:
            return None
        method, target, version = line.decode("latin-1").split()
        headers = self._read_headers()
        self.keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not target.startswith("/"):  # the absolute form, as a proxy gets it
            parts = urlsplit(target)
            target = f"{parts.path or '/'}?{parts.query}"
        path, _, query = target.partition("?")
        return Request(method, path, query, headers, self._read_body(headers))

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        self._socket.sendall(data)

    def reset(self) -> None:
        """Break the connection so that the peer sees a reset rather than an end."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._reader.close()
        self._socket.close()

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self._reader.readline(_LINE).strip():
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise ValueError("a header line has no colon")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        length = int(headers.get("content-length", "0"))
        return self._reader.read(length) if length else b""

    def _chunks(self) -> list[bytes]:
        chunks = []
        while size := int(self._reader.readline(_LINE).partition(b";")[0], 16):
            chunks.append(self._reader.read(size))
            self._reader.readline(_LINE)
        self._read_headers()  # trailers
        return chunks
