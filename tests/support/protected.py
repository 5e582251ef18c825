"""A protected resource on loopback, and where its tokens come from: both do what a test says.

The server listens on 127.0.0.1; under ``localhost`` it is another host to requests.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tokenkit.contracts import FetchContext, TokenProvider
from tokenkit.errors import AuthenticationError
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

UNLIMITED = RefreshPolicy(min_renewal_interval=0)


class Issuer(TokenProvider):
    """Gives token-1, token-2 and so on; the last one given is good."""

    service_name = "mint"

    def __init__(self) -> None:
        self.given = 0
        self.failing = False
        self.stuck = False  # gives the same token again
        self.good: set[str] = set()
        self._lock = threading.Lock()

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        if self.failing:
            raise AuthenticationError("the mint is closed")
        with self._lock:
            if not (self.stuck and self.given):
                self.given += 1
                self.good = {f"Bearer token-{self.given}"}
            return Token(f"token-{self.given}")

    def revoke(self) -> None:
        with self._lock:
            self.good = set()


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass
class Reply:
    """What the server is to answer; with a Transfer-Encoding among the headers, *body* has it already."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


Behaviour = Callable[[Seen], Reply]


class Resource:
    """A server that answers what its behaviour says, and remembers what it saw."""

    def __init__(self, mint: Issuer | None = None, host: str = "127.0.0.1") -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.mint = mint
        self.behave: Behaviour = self.protect
        resource = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                resource.connections += 1
                super().setup()

            def answer(self) -> None:
                seen = Seen(
                    self.command,
                    self.headers["Host"].rpartition(":")[0],
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self._body(),
                )
                resource.seen.append(seen)
                reply = resource.behave(seen)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    for one in value.split("\n"):
                        self.send_header(name, one)
                if "Transfer-Encoding" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = answer

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *args: object) -> None:
                pass  # the client left

        self._server = Server((host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def protect(self, seen: Seen) -> Reply:
        """Answer 200 to a good token, else 401."""
        if self.mint is None or seen.token in self.mint.good:
            return Reply()
        return Reply(401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}, b'{"error": "no"}')

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        """The same server under another name: another host, to requests."""
        return f"http://localhost:{self.port}"

    @property
    def tokens(self) -> list[str | None]:
        """The Authorization header of each request, in order."""
        return [seen.token for seen in self.seen]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextmanager
def resource(mint: Issuer | None = None, host: str = "127.0.0.1") -> Iterator[Resource]:
    server = Resource(mint, host)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def managed(mint: Issuer, policy: RefreshPolicy = UNLIMITED) -> Iterator[TokenManager]:
    manager = TokenManager(mint, policy=policy)
    try:
        yield manager
    finally:
        manager.close()


def path_of(seen: Seen) -> str:
    return urlsplit(seen.path).path
