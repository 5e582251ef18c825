"""What localhost resolves to, and an address that takes no connection and refuses none."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest


def resolve_localhost_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let the name have these IPv4 addresses, in this order, until the test ends."""
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *options: Any, **named: Any) -> list[Any]:
        if host != "localhost":
            return real(host, port, *options, **named)
        return [found for one in addresses for found in real(one, port, socket.AF_INET, socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@contextmanager
def deaf_port() -> Iterator[int]:
    """Listen on a port of 127.0.0.1 whose queue is full, so that a further connection is never made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as queue:
        while True:
            one = queue.enter_context(socket.socket())
            one.settimeout(0.1)
            try:
                one.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]
