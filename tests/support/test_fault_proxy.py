"""The proxy that the tests break networks with: it must not fail where a server does."""

import socket

import pytest
from support.fault_proxy import Fault, fault_proxy
from support.raw_server import raw_server, says


@pytest.mark.parametrize("kind", ["latency", "cut_headers", "cut_body", "reset", "drip"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["nothing", "half a head"])
def test_a_server_that_leaves_without_an_answer(kind: Fault, said: bytes) -> None:
    """There is nothing to break: the connection ends without a byte, and no thread with an error."""
    with raw_server(says(said)) as server, fault_proxy(int(server.url.rpartition(":")[2])) as proxy:
        proxy.fail(kind)
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"" == client.recv(100)
