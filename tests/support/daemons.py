"""Real servers, started on a free port of 127.0.0.1 for a test and killed after it."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import needs


@dataclass
class Daemon:
    """A server that runs; *process* may be stopped, continued and killed."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def redis_server(directory: Path, *options: str, port: int = 0) -> Iterator[Daemon]:
    """Run a redis-server that persists nothing; it keeps its few files in *directory*."""
    port = port or free_port()
    command = [needs.program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    with _running([*command, "--save", "", "--appendonly", "no", *options], port) as daemon:
        yield daemon


@contextmanager
def memcached(*options: str, port: int = 0) -> Iterator[Daemon]:
    """Run a memcached."""
    port = port or free_port()
    command = [needs.program("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"]
    with _running([*command, *options], port) as daemon:
        yield daemon


@contextmanager
def _running(command: list[str], port: int) -> Iterator[Daemon]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            _await_port(process, port)
            yield Daemon(process, port)
        finally:
            process.kill()


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)  # for a server of another language there is no condition to wait on
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")
