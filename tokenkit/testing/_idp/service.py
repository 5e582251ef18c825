"""The running server of the identity provider: what happens to one request from arrival to answer."""

from __future__ import annotations

import ssl
import threading
from functools import partial
from typing import final

from tokenkit.testing._idp.authority import Authority
from tokenkit.testing._idp.endpoints import Endpoints
from tokenkit.testing._idp.faults import Fault, FaultPlan, deliver
from tokenkit.testing._idp.http_server import HttpServer
from tokenkit.testing._idp.messages import Reply, Request
from tokenkit.testing._idp.traffic import Traffic
from tokenkit.testing._idp.wire import Wire
from tokenkit.testing.settings import Settings

__all__ = ["Service"]


@final
class Service:
    """Count, delay, fail and answer requests, between :meth:`start` and :meth:`stop`.

    Args:
        authority: Whose rules hold.
        settings: How late it answers.
        host: The name that stands in :attr:`url`.
        tls: How to encrypt; None: not at all.
    """

    def __init__(self, authority: Authority, settings: Settings, host: str, tls: ssl.SSLContext | None) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._server: HttpServer | None = None
        self._port = 0
        self._stopping = threading.Event()  # another one for each run
        # Set here, never reassigned.
        self.traffic = Traffic()
        self.faults = FaultPlan()
        self._authority = authority
        self._settings = settings
        self._host = host
        self._tls = tls

    @property
    def port(self) -> int:
        """The port of this run or the last one; 0 before the first."""
        with self._lock:
            return self._port

    @property
    def url(self) -> str:
        """Where it listens, or listened; a RuntimeError before it ever did."""
        port = self.port
        if not port:
            raise RuntimeError("the server was not started: use it in a with block, or call start()")
        return f"{'https' if self._tls else 'http'}://{self._host}:{port}"

    def start(self) -> None:
        """Listen on a free port, or on the one of the run before."""
        with self._lock:
            if self._server is not None:
                raise RuntimeError("the server is running already")
            server = self._server = HttpServer(self._port, self._tls)
            self._port = server.port
            stopping = self._stopping = threading.Event()
        endpoints = Endpoints(self._authority, self._settings, self.url)
        server.start(partial(self._exchange, endpoints, stopping), self.traffic.connect)

    def stop(self) -> None:
        """Hang up on everybody and wait for the threads; a second call does nothing."""
        with self._lock:
            server, self._server = self._server, None
            self._stopping.set()
        if server is not None:
            self.faults.heal(None)
            server.stop()

    def _exchange(self, endpoints: Endpoints, stopping: threading.Event, wire: Wire, request: Request) -> bool:
        keys = endpoints.keys(request)
        self.traffic.arrive(keys, request)
        try:
            fault = self.faults.take(keys)
            if stopping.wait(self._latency_of(keys)):
                return False
            if fault is not None and fault.kind == "hang":
                fault.healed.wait()
                if stopping.is_set():
                    return False
            reply = _answer(endpoints, keys[0], request, fault)
        finally:
            # Before the answer is sent: who has it may send the next request at once.
            self.traffic.leave(keys)
        if fault is not None:
            return deliver(wire, fault, reply, request.method)
        wire.send(reply.encode(request.method, wire.keep_alive))
        return wire.keep_alive

    def _latency_of(self, keys: tuple[str, ...]) -> float:
        latencies = self._settings.latencies
        return next((latencies[key] for key in reversed(keys) if key in latencies), self._settings.latency)


def _answer(endpoints: Endpoints, endpoint: str, request: Request, fault: Fault | None) -> Reply:
    """Return what is to be sent; a failure with an answer of its own keeps the request from taking effect."""
    acts = fault is None or fault.processed or (fault.answer is None and not fault.silent)
    try:
        reply = endpoints.answer(endpoint, request) if acts else Reply()
    except Exception as error:  # a fault of a test's set-up, such as PyJWT missing, belongs into its answer
        reply = Reply.json({"error": "server_error", "error_description": type(error).__name__}, 500)
    return reply if fault is None or fault.answer is None else fault.answer
