"""Listen on loopback and give each connection its thread; stopping leaves no thread and no socket behind."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import final

from tokenkit.testing._idp.messages import Request
from tokenkit.testing._idp.wire import Wire

__all__ = ["HttpServer"]

_Exchange = Callable[[Wire, Request], bool]

_LOOPBACK = "127.0.0.1"
_BACKLOG = 512
_PATIENCE = 5.0  # seconds that stop() gives a thread to end; its connection is cut by then


@final
class HttpServer:
    """Hold a port of 127.0.0.1 from construction, and answer on it from :meth:`start` until :meth:`stop`.

    Args:
        port: Where to listen; 0: any free port.
        tls: How to encrypt; None: not at all.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._open: dict[threading.Thread, socket.socket] = {}
        self._stopped = False
        # Set here, never reassigned.
        self._tls = tls
        self._listener = socket.create_server((_LOOPBACK, port), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        # Set by start(), before the first thread that reads them.
        self._exchange: _Exchange
        self._accepted: Callable[[], None]
        self._acceptor: threading.Thread

    def start(self, exchange: _Exchange, accepted: Callable[[], None]) -> None:
        """Answer from now on.

        Args:
            exchange: Called in a connection's thread with each request; it answers, and returns whether
                the connection goes on.
            accepted: Called once a connection.
        """
        self._exchange = exchange
        self._accepted = accepted
        self._acceptor = threading.Thread(target=self._accept, name="local-idp", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Cut every connection, and return when all threads have ended."""
        with self._lock:
            self._stopped = True
            connections = dict(self._open)
        for sock in connections.values():
            _cut(sock)
        # close() does not wake a thread in accept(); a connection does, on every system.
        socket.create_connection((_LOOPBACK, self.port), _PATIENCE).close()
        self._acceptor.join(_PATIENCE)
        self._listener.close()
        for thread in connections:
            thread.join(_PATIENCE)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(sock,), name="local-idp-connection", daemon=True)
            if not self._note(thread, sock):
                sock.close()
                return
            self._accepted()
            thread.start()

    def _note(self, thread: threading.Thread, sock: socket.socket) -> bool:
        """Let stop() know which socket ends *thread*; return False where it has looked already."""
        with self._lock:
            if not self._stopped:
                self._open[thread] = sock
            return not self._stopped

    def _serve(self, sock: socket.socket) -> None:
        thread = threading.current_thread()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # The handshake comes with the first read: by then stop() knows this socket, not the old one.
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            if self._note(thread, sock):
                self._converse(Wire(sock))
        except (OSError, ValueError):
            pass  # the peer left, was cut off, or does not speak HTTP: nobody is there to be told
        finally:
            sock.close()
            with self._lock:
                self._open.pop(thread, None)

    def _converse(self, wire: Wire) -> None:
        try:
            self._answer_all(wire)
        finally:
            wire.close()

    def _answer_all(self, wire: Wire) -> None:
        while (request := wire.read_request()) is not None:
            if not self._exchange(wire, request):
                return


def _cut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended by itself
