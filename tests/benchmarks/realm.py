"""The benchmarks' own server as a client sees it, and as who measures it sets it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests


class Realm:
    """What one client has at the server; see :mod:`benchmarks.server`."""

    def __init__(self, url: str, name: str) -> None:
        self.url = f"{url}/{name}"
        self._session = requests.Session()

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    def api(self, path: str = "orders") -> str:
        return f"{self.url}/api/{path}"

    def set(self, **order: Any) -> dict[str, Any]:
        """Set what *order* says, and return the counts so far; ``reset=True`` begins anew."""
        return dict(self._session.post(f"{self.url}/control", json=order, timeout=10).json())

    def grant(self) -> str:
        """Return the refresh token of a new sign-in."""
        answer = self._session.post(self.token_url, {"grant_type": "password"}, timeout=10)
        return str(answer.json()["refresh_token"])


@contextmanager
def running_server() -> Iterator[str]:
    """Yield the URL of a server that runs in a process of its own until the end of the block."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
