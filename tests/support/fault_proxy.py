"""A TCP proxy in front of a real server that loses, delays and breaks what passes, for as long as a test says."""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from support.raw_server import read_request

Fault = Literal["refuse", "black_hole", "latency", "cut_headers", "cut_body", "reset", "drip"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PAUSE = 0.05  # seconds after each byte that drips


class FaultProxy:
    """Passes connections on to *port* of 127.0.0.1. Safe from any thread.

    Every connection is counted, and the status of the first answer on each: a token request has one of its own.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._fault: tuple[Fault, float, int] | None = None  # kind, seconds of latency, for how many connections
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._statuses: Counter[int] = Counter()
        self._connections = 0
        # Bound for good, so that the port stays ours while nobody listens on it.
        self._port_holder = _bound(0)
        self.port: int = self._port_holder.getsockname()[1]
        self._listener: socket.socket | None = None
        self._healed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        with self._lock:
            return self._connections

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was the first answer on a connection."""
        with self._lock:
            return Counter(self._statuses)

    def start(self) -> None:
        self._listener = _bound(self.port)
        self._listener.listen(128)
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        self.heal()
        self._refuse()
        with self._lock:
            threads, self._threads = self._threads, []
            for one in self._open:
                _shut(one)
        for thread in threads:
            thread.join(5)
        self._port_holder.close()

    def fail(self, kind: Fault, *, seconds: float = 0.0, times: int = 1 << 30) -> None:
        """Let this befall the next *times* connections; *seconds* are those of ``latency``.

        ``refuse`` listens no longer. ``black_hole`` takes the request and is silent. All others hand the request over,
        so that it takes effect: ``latency`` answers late, ``cut_headers`` and ``cut_body`` end the answer there,
        ``reset`` breaks the connection in place of an answer, ``drip`` sends a byte every 50 ms.
        """
        with self._lock:
            self._fault = (kind, seconds, times)
            self._healed = threading.Event()
        if kind == "refuse":
            self._refuse()

    def heal(self) -> None:
        """Pass everything on again."""
        with self._lock:
            was, self._fault = self._fault, None
            self._healed.set()
        if was is not None and was[0] == "refuse":
            self.start()

    def _refuse(self) -> None:
        if self._listener is not None:
            _shut(self._listener)
            self._listener.close()
            self._listener = None

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _next_fault(self) -> tuple[Fault | None, float, threading.Event]:
        with self._lock:
            self._connections += 1
            if self._fault is None:
                return None, 0.0, self._healed
            kind, seconds, times = self._fault
            self._fault = (kind, seconds, times - 1) if times > 1 else None
            return kind, seconds, self._healed

    def _serve(self, client: socket.socket) -> None:
        kind, seconds, healed = self._next_fault()
        with self._kept(client):
            if kind == "black_hole":
                while client.recv(65536):
                    pass
                return
            with self._kept(socket.create_connection(("127.0.0.1", self._upstream), 10)) as server:
                server.settimeout(None)
                if kind is None:
                    self._pass_on(client, server)
                else:
                    # No other thread may wait in recv(): a socket is not closed before that returns.
                    server.sendall(read_request(client))
                    _deliver(client, b"".join(self._answer(server)), kind, seconds, healed)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        def send_on() -> None:
            try:
                while data := client.recv(65536):
                    server.sendall(data)
            except OSError:
                pass  # one of the two left
            _shut(server)

        self._spawn(send_on)
        for data in self._answer(server):
            client.sendall(data)

    def _answer(self, server: socket.socket) -> Iterator[bytes]:
        """Yield what *server* sends until it closes, as it does after a request with ``Connection: close``."""
        data = server.recv(65536)
        if data:
            with self._lock:
                self._statuses[int(data[9:12])] += 1
        while data:
            yield data
            data = server.recv(65536)

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[socket.socket]:
        """Know *connection* until the end of the block, so that :meth:`stop` can end it; end quietly if it breaks."""
        with self._lock:
            self._open.add(connection)
        try:
            yield connection
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            _shut(connection)
            connection.close()


def _deliver(client: socket.socket, data: bytes, kind: Fault, seconds: float, healed: threading.Event) -> None:
    """Send *data*, the whole answer of the server, the way *kind* has it; nothing where the server gave none."""
    head, end_of_head, _ = data.partition(b"\r\n\r\n")
    if not end_of_head:
        return  # it was stopped meanwhile
    body = len(head + end_of_head)
    if kind == "latency":
        healed.wait(seconds)
        client.sendall(data)
    elif kind == "drip":
        for place in range(len(data)):
            client.sendall(data[place : place + 1])
            if healed.wait(_PAUSE):
                return
    elif kind == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        client.close()
    else:
        client.sendall(data[: body - 20 if kind == "cut_headers" else (body + len(data)) // 2])


def _bound(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    return one


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed, or the other side is


@contextmanager
def fault_proxy(port: int) -> Iterator[FaultProxy]:
    """Run a proxy to *port* of 127.0.0.1 for the length of a block."""
    proxy = FaultProxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
