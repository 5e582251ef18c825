"""Reading a rejected answer to its end, so that its connection can be used again: at most 64 KiB, within a second."""

from __future__ import annotations

import http.client
import io
import zlib
from typing import Any, final

from requests import Response
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from tokenkit._net.deadline import deadline, time_left
from tokenkit.clock import SystemClock

__all__ = ["drain"]

_MOST_BYTES = 64 * 1024
_MOST_SECONDS = 1.0
_clock = SystemClock()


def drain(response: Response) -> None:
    """Free the connection of *response*: to the pool if a little reading does it, else by closing it.

    What was read is kept, unpacked, for those who look into the history; nothing, where that is longer than 64 KiB.
    """
    raw = response.raw
    try:
        with deadline(_clock.monotonic() + min(_MOST_SECONDS, time_left())):
            body = _read(raw)
    except (HTTPError, http.client.HTTPException, OSError, ValueError, TypeError, AttributeError):
        body = None  # broken, too slow, or of a kind that nobody knows here; it was not wanted
    response._content = _unpacked(body or b"", response.headers.get("Content-Encoding", ""))
    if body is None and raw is not None:
        raw.close()
    release = getattr(raw, "release_conn", None)  # an adapter of another kind has no such thing, or no raw at all
    if release is not None:
        release()


def _read(raw: Any) -> bytes | None:
    """Return all that is left of an answer, as it came; None where that is too much, or out of reach of a limit."""
    if (getattr(raw, "length_remaining", None) or 0) > _MOST_BYTES:
        return None
    connection = getattr(raw, "connection", None)  # vcrpy's answers have none, and are there at once
    sock = getattr(connection, "sock", None)
    if connection is not None and sock is None:
        return None  # the server will close it: out of reach for a time limit, and of no further use
    if sock is not None and getattr(raw, "chunked", False):
        # The line with the size of a chunk could drip for ever.
        raw._fp.fp = _TimelyReader(raw._fp.fp, sock)
    # read() waits until it has all; read1(), of urllib3 2.1, for one packet, so that the end is looked at in between.
    read = getattr(raw, "read1", raw.read)
    options = {"decode_content": False} if isinstance(raw, BaseHTTPResponse) else {}
    body = bytearray()
    while len(body) <= _MOST_BYTES:
        _limit(sock)
        chunk = read(_MOST_BYTES + 1 - len(body), **options)
        if not chunk:
            return bytes(body)
        body += chunk
    return None


def _limit(sock: Any) -> None:
    """Let the next read of *sock* end by the deadline; the next request on its connection sets its own time-out."""
    seconds = time_left()
    if seconds <= 0:
        raise TimeoutError
    if sock is not None:
        sock.settimeout(seconds)


@final
class _TimelyReader:
    """A buffered reader of a socket, as ``http.client`` uses it for chunks; each of its calls ends by the deadline."""

    def __init__(self, reader: io.BufferedReader, sock: Any) -> None:
        self._reader = reader
        self._sock = sock

    def readline(self, limit: int) -> bytes:
        line = b""
        while len(line) < limit and not line.endswith(b"\n"):
            _limit(self._sock)
            there = self._reader.peek(1)[: limit - len(line)]  # at most one read of the socket
            if not there:
                break
            line += self._reader.read(there.find(b"\n") + 1 or len(there))
        return line

    def read1(self, size: int) -> bytes:
        _limit(self._sock)
        return self._reader.read1(size)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self.read1(size - len(data))):
            data += more
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def _unpacked(body: bytes, encoding: str) -> bytes:
    if not encoding or not body:
        return body
    unpack = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
    wbits = unpack.get(encoding.strip().lower())
    try:
        unpacker = zlib.decompressobj(wbits) if wbits else None
        text = unpacker.decompress(body, _MOST_BYTES) if unpacker else b""
    except zlib.error:
        return b""
    return text if unpacker and unpacker.eof else b""
