"""A protected resource that answers in clear and over TLS on one port, and may stand for any host as a proxy.

With the same host and port under both schemes, nothing but the scheme tells two of its URLs apart. As a proxy it is
http://localhost/ and https://localhost/ too, on the two standard ports, where no test may listen.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from support import needs
from support.protected import Issuer, Resource

_HANDSHAKE = b"\x16"  # how a TLS connection begins (RFC 8446 section 5.1), and no request


class TLSResource(Resource):
    """Its ``seen`` say in ``headers["x-scheme"]`` how they came.

    Args:
        directory: Where its certificate is written, as ``cert.pem`` and ``key.pem``.
        mint: Which tokens are good.
        demanding: Whether the client has to show a certificate; its own is good for that.
    """

    def __init__(self, directory: Path, mint: Issuer | None = None, *, demanding: bool = False) -> None:
        super().__init__(mint)
        needs.module("cryptography")
        from tokenkit.testing.certificates import self_signed

        context, trusted = self_signed(directory)
        if demanding:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(trusted)
        self.trusted = str(trusted)
        self.cert = (str(trusted), str(directory / "key.pem"))
        self._server.RequestHandlerClass = _sniffing(self._server.RequestHandlerClass, context)

    @property
    def secure(self) -> str:
        """The same host and port, over TLS."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def hops(self) -> list[tuple[str, str | None]]:
        """The scheme and the Authorization header of each request, in order."""
        return [(seen.headers["x-scheme"], seen.token) for seen in self.seen]


def _sniffing(handler: type[Any], context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Sniffing(handler):  # type: ignore[misc]
        def setup(self) -> None:
            if self.request.recv(1, socket.MSG_PEEK) == _HANDSHAKE:
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def parse_request(self) -> bool:
            parsed = bool(super().parse_request())
            if parsed:
                self.headers["X-Scheme"] = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
            return parsed

        def do_CONNECT(self) -> None:
            self.send_response_only(200)
            self.end_headers()
            for stream in (self.rfile, self.wfile):
                stream.close()
            self.setup()  # what is said in the tunnel is for us, too
            self.close_connection = False

        def finish(self) -> None:
            super().finish()
            self.request.close()  # the server knows the one below only

    return Sniffing


@contextmanager
def tls_resource(directory: Path, mint: Issuer | None = None, *, demanding: bool = False) -> Iterator[TLSResource]:
    server = TLSResource(directory, mint, demanding=demanding)
    server.start()
    try:
        yield server
    finally:
        server.stop()
