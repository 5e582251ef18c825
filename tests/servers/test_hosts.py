"""Several hosts for real: network namespaces with one Redis between them, which a switch cuts off and heals."""

import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from support import daemons, needs

from tokenkit.testing import LocalIdP

pytestmark = [pytest.mark.server, pytest.mark.slow]

HUB = "10.203.77.1"
LIFETIME = 10.0
SECONDS = 20.0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Hosts:
    """Namespaces on one bridge, each a host with an address of its own."""

    def __init__(self, count: int) -> None:
        self.bridge = f"tk{os.getpid() % 100_000}"
        self.names = [f"{self.bridge}-{number}" for number in range(count)]

    def cable(self, name: str) -> str:
        return f"{self.bridge}c{self.names.index(name)}"

    def make(self) -> None:
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{HUB}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        for number, name in enumerate(self.names):
            ip("netns", "add", name)
            ip("link", "add", self.cable(name), "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", self.cable(name), "master", self.bridge, "up")
            ip("-n", name, "addr", "add", f"10.203.77.{10 + number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def remove(self) -> None:
        for words in (*[("netns", "del", name) for name in self.names], ("link", "del", self.bridge)):
            subprocess.run(["ip", *words], capture_output=True, timeout=20, check=False)

    def run(self, name: str, order: dict[str, Any]) -> "subprocess.Popen[str]":
        program = [sys.executable, str(Path(__file__).with_name("host.py"))]
        command = ["ip", "netns", "exec", name, *program]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        return process


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs iproute2 and root, in CI too")
    hosts = Hosts(3)
    try:
        hosts.make()
    except subprocess.CalledProcessError:
        hosts.remove()
        pytest.skip("this machine makes no network namespaces")
    yield hosts
    hosts.remove()


@contextmanager
def relay(port: int) -> Iterator[int]:
    """Pass connections to the hub on to *port* of this machine."""

    class Pass(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with create_connection(("127.0.0.1", port)) as upstream:
                back = threading.Thread(target=pump, args=(upstream, self.request), daemon=True)
                back.start()
                pump(self.request, upstream)
                back.join(30)

    def pump(source: Any, target: Any) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(1)
        except OSError:
            pass  # one of the two was cut off

    with socketserver.ThreadingTCPServer((HUB, 0), Pass) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_hosts_that_are_cut_off_and_fail_over_lose_no_grant(hosts: Hosts, tmp_path: Path) -> None:
    """Three hosts, an hour apart by their clocks, share one grant: one is cut off and healed, and the Redis fails over.

    No caller fails, nothing is spent twice, and connected they cost one fetch a lifetime between them.
    """
    redis = needs.module("redis")
    options = ("--protected-mode", "no", "--repl-diskless-sync-delay", "0")
    for name in ("primary", "replica", "next"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        idp = stack.enter_context(LocalIdP(lifetime=LIFETIME))
        token_port = stack.enter_context(relay(int(idp.token_url.split(":")[2].split("/")[0])))
        replica = stack.enter_context(daemons.redis_server(tmp_path / "replica", *options))
        first = ExitStack()
        primary = first.enter_context(daemons.redis_server(tmp_path / "primary", *options))
        redis_port = stack.enter_context(relay(primary.port))
        admin = stack.enter_context(redis.Redis(port=replica.port))
        admin.replicaof("127.0.0.1", primary.port)
        source = {
            "token_url": f"http://{HUB}:{token_port}/token",
            "client_id": "client",
            "client_secret": "secret",
            "refresh_token": idp.issue(kind="refresh", lifetime=3600).access_token,
            "allow_insecure": True,
        }
        order = {"source": source, "redis": f"redis://{HUB}:{redis_port}/0", "seconds": SECONDS}
        clocks = zip(hosts.names, (0, 3600, -3600), strict=True)
        processes = [hosts.run(name, {**order, "clock": clock}) for name, clock in clocks]
        pause(5)
        ip("link", "set", hosts.cable(hosts.names[2]), "down")
        pause(3)
        ip("link", "set", hosts.cable(hosts.names[2]), "up")
        pause(4)
        admin.replicaof("NO", "ONE")
        first.close()
        stack.enter_context(
            daemons.redis_server(
                tmp_path / "next", *options, "--replicaof", "127.0.0.1", str(replica.port), port=primary.port
            )
        )
        with redis.Redis(port=primary.port) as promoted:
            while promoted.info("replication").get("master_link_status") != "up":
                pause(0.05)
            promoted.replicaof("NO", "ONE")
        told = [answer_of(process) for process in processes]
        assert [[], [], []] == [one["errors"] for one in told]
        assert 0 == idp.reuse_detected
        assert idp.count("token:refresh_token") <= SECONDS / (LIFETIME * 0.7) + 3  # one each for what befell them


def answer_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    with process:
        told: dict[str, Any] = json.loads(process.stdout.read())
    return told


def pause(seconds: float) -> None:
    """Let the hosts work for a while: what is cut off for how long is the test."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        threading.Event().wait(left)
