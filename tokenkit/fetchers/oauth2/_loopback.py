"""Where a browser comes back to after a sign-in: a listener on this machine for one answer (RFC 8252 section 7.3).

The answer holds an authorization code. So the page that the browser shows has no script and no link, may not be
cached, and sends no referrer; nothing is logged; what comes with another ``state`` is refused and not an answer.
"""

from __future__ import annotations

import errno
import hmac
import html
import queue
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from typing import Any, final
from urllib.parse import parse_qs, urlsplit

from tokenkit.clock import Clock
from tokenkit.errors import ConfigurationError

__all__ = ["Loopback"]

_IPV4, _IPV6 = "127.0.0.1", "::1"
_PATH = "/"
_READ_TIMEOUT = 10.0  # seconds for a browser to send its request; many open a connection that they never use
_LONGEST_WAIT = 1.0  # seconds: Ctrl-C is seen between two waits on every system
_PAGE = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>"
    "<meta name=viewport content='width=device-width'></head>"
    "<body style='font: 1.1rem/1.5 sans-serif; max-width: 32rem; margin: 4rem auto; padding: 0 1rem'>"
    "<h1>{title}</h1><p>{text}</p></body></html>"
)
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


@final
class Loopback:
    """Listens from the moment it is made until :meth:`close`, and keeps the first answer to *state*.

    Used by one thread; the listener has threads of its own, which end with it.

    Args:
        state: What the answer must repeat.
        port: The port to listen on; 0: any that is free.

    Raises:
        ConfigurationError: The port is taken, or this machine has no loopback address.
    """

    def __init__(self, state: str, port: int) -> None:
        self._server = _listening(port)
        self._server.state = state
        # In an empty poll the server looks whether it is to end; 50 ms is what close() may take.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.name = "tokenkit-sign-in"
        self._thread.start()

    @property
    def redirect_uri(self) -> str:
        """Where the browser is to be sent."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}{_PATH}" if ":" in str(host) else f"http://{host!s}:{port}{_PATH}"

    def wait(self, clock: Clock, deadline: float) -> Mapping[str, str] | None:
        """Return the parameters of the answer; None where *deadline* on the monotonic clock comes first."""
        while self._server.answer is None and (left := deadline - clock.monotonic()) > 0:
            clock.nap(self._server.mailbox, min(left, _LONGEST_WAIT))
        return self._server.answer

    def close(self) -> None:
        """Listen no more. A second call does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_LONGEST_WAIT)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser may keep an unused connection open
    state: str
    answer: Mapping[str, str] | None = None  # written once, by the thread that took the turn

    def server_activate(self) -> None:
        self.turn: queue.SimpleQueue[None] = queue.SimpleQueue()  # holds one: who gets it brings the answer
        self.turn.put(None)
        self.mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()  # filled when the answer is there
        super().server_activate()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what is printed by default holds the request, and with it the code."""


class _ServerV6(_Server):
    address_family = AF_INET6


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_TIMEOUT
    server_version, sys_version = "tokenkit", ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        given = parse_qs(parts.query, keep_blank_values=True)
        fields = {name: values[0] for name, values in given.items() if len(values) == 1}
        if parts.path != _PATH or not fields.keys() & {"code", "error", "state"}:
            self._show(404, "There is nothing here", "This address only takes the answer to a sign-in.")
        elif not hmac.compare_digest(fields.get("state", "").encode(), self.server.state.encode()):
            self._show(400, "This is no answer to the sign-in", "It was not asked for by the program that waits.")
        elif not self._take(fields):
            self._show(409, "The answer has come already", "You may close this page.")
        elif "error" in fields:
            self._show(200, "The sign-in was refused", "The program has been told. You may close this page.")
        else:
            self._show(200, "You have signed in", "The program goes on. You may close this page.")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing: a request line holds the code."""

    def _take(self, fields: Mapping[str, str]) -> bool:
        try:
            self.server.turn.get_nowait()
        except queue.Empty:
            return False
        self.server.answer = fields
        self.server.mailbox.put(None)
        return True

    def _show(self, status: int, title: str, text: str) -> None:
        body = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _listening(port: int) -> _Server:
    try:
        return _Server((_IPV4, port), _Handler)
    except OSError as error:
        # Only where there is no such address: a port that is taken may be so by somebody who waits for our code.
        missing = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        problem = error.strerror or type(error).__name__
    try:
        if missing:
            return _ServerV6((_IPV6, port), _Handler)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise ConfigurationError(f"redirect_port={port} cannot be listened on: {problem}")
