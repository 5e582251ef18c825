"""Tells a supervisor whether `tokenkit keep` has a good token: by a file, or by HTTP on a port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tokenkit.errors import ConfigurationError

__all__ = ["Health"]


class Health:
    """Nobody asks; what is told goes nowhere."""

    def tell(self, good_until: str | None) -> None:
        """Note until when the token is good; None: there is none."""

    @classmethod
    @contextmanager
    def at(cls, place: str | None) -> Iterator[Health]:
        """Give what tells at *place*: the path of a file, or the number of a port; None: nowhere.

        Raises:
            ConfigurationError: The port cannot be listened on, or the file's directory is not there.
        """
        if place is None:
            yield Health()
        elif place.isdigit():
            with _listening(int(place)) as health:
                yield health
        else:
            if not Path(place).parent.is_dir():
                raise ConfigurationError(f"--health {place}: there is no such directory")
            file = _File(Path(place))
            try:
                yield file
            finally:
                file.tell(None)


class _File(Health):
    """There while there is a good token, and gone otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, good_until: str | None) -> None:
        if good_until is None:
            with suppress(OSError):  # where it cannot be taken away, it could not be put there
                self._path.unlink(missing_ok=True)
        else:
            self._path.write_text(f"{good_until}\n", encoding="utf-8")


class _Port(Health):
    """Answers 200 while there is a good token, 503 otherwise."""

    def __init__(self) -> None:
        self.good_until: str | None = None

    def tell(self, good_until: str | None) -> None:
        self.good_until = good_until


class _Handler(BaseHTTPRequestHandler):
    health: _Port
    timeout = 5.0

    def do_GET(self) -> None:
        until = self.health.good_until
        body = f"good until {until}\n".encode() if until else b"no token\n"
        self.send_response(200 if until else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing: a probe comes every few seconds."""


@contextmanager
def _listening(port: int) -> Iterator[_Port]:
    health = _Port()
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"health": health}))
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
    else:
        threading.Thread(target=server.serve_forever, args=(0.1,), name="tokenkit-health", daemon=True).start()
        try:
            yield health
        finally:
            server.shutdown()
            server.server_close()
        return
    raise ConfigurationError(f"--health {port} cannot be listened on: {problem}")
