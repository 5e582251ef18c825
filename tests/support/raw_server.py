"""A TCP server whose every byte a test decides, for the faults that no HTTP library would send."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Script = Callable[[socket.socket], None]


class RawServer:
    """Plays one script a connection, the last one again and again; remembers the requests."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[bytes] = []
        self.stopped = threading.Event()
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(len(self._threads), len(self._scripts)) - 1]
            self._threads.append(threading.Thread(target=self._serve, args=(connection, script), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket, script: Script) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with connection:
            try:
                self.requests.append(read_request(connection))
                script(connection)
            except OSError:
                pass  # the client left

    def start(self) -> None:
        self._threads[0].start()

    def stop(self) -> None:
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def raw_server(*scripts: Script, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    server = RawServer(*scripts, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError("the client left")
    return chunk


def answer(body: bytes, *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(data: bytes) -> Script:
    """Send these bytes, then close."""
    return lambda connection: connection.sendall(data)


def drips(data: bytes, pause: float = 0.05, *, head: bytes = b"") -> Script:
    """Send *head*, then one byte a *pause* for as long as the client stays."""

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        waiting = threading.Event()
        for byte in data:
            connection.sendall(bytes([byte]))
            waiting.wait(pause)

    return script


def floods(head: bytes) -> Script:
    """Send *head* and then bytes without an end."""

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x" * 65536)

    return script


def resets(data: bytes = b"") -> Script:
    """Send these bytes, then break the connection."""

    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    return script


def hangs(connection: socket.socket) -> None:
    """Answer nothing until the client leaves."""
    connection.recv(1)
