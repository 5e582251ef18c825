"""Processes that share one rotating grant and are killed at random, and what the server makes of it.

A proxy stands before the server and notes which process got which refresh token. A process that is killed after the
server has answered and before the answer is stored loses it, which no library can help; each other loss is ours.
Rounds from the command line, with the figures of each: ``PYTHONPATH=tests python -m support.rotation_kills 10``
"""

import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import requests
from support import oauth_servers
from support.oauth_servers import OAuthServer

from tokenkit.contracts import TokenStorage
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.storage import FileTokenStorage

PROCESSES = 8
PROGRAM = Path(__file__).resolve().parent.parent / "servers" / "renewing.py"
_PATIENCE = 20.0


@dataclass
class Witness:
    """What has passed between the processes and the server. Guarded by its lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    family: dict[str, int] = field(default_factory=dict)  # by refresh token: which sign-in it comes from
    sent: set[str] = field(default_factory=set)  # refresh tokens that a process has shown
    last: dict[int, str] = field(default_factory=dict)  # by process: the refresh token that it got last
    dead: set[int] = field(default_factory=set)
    rotations: int = 0
    lost: int = 0  # answers that the server gave, and a process that was killed has not stored
    ended: set[int] = field(default_factory=set)  # families of which a refresh token was refused

    def answered(self, process: int, spent: str, status: int, answer: dict[str, Any]) -> None:
        with self.lock:
            family = self.family[spent]
            if status != 200:
                self.ended.add(family)
                return
            self.rotations += 1
            newer = answer["refresh_token"]
            self.family[newer] = family
            self.last[process] = newer
            self.lost += process in self.dead  # it died while the server was at work

    def died(self, process: int, storage: TokenStorage, grant_key: str) -> None:
        """Note that *process* is dead; what it has not stored by now is lost."""
        with self.lock:
            self.dead.add(process)
            newest = self.last.get(process)
            entry = storage.get(grant_key)
            is_stored = entry is not None and entry.refresh_token == newest
            self.lost += newest is not None and not is_stored and newest not in self.sent


@contextmanager
def watched(server: OAuthServer, witness: Witness) -> Iterator[str]:
    """Yield the URL of a proxy before *server* that tells *witness*."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            spent = parse_qs(body.decode())["refresh_token"][0]
            with witness.lock:
                witness.sent.add(spent)
            upstream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE)
            upstream.request("POST", self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            witness.answered(int(self.headers["X-Process"]), spent, answer.status, json.loads(content))
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # it was killed

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()


@dataclass(frozen=True)
class Figures:
    """What came of one round."""

    rotations: int
    kills: int
    lost: int  # kills between the server's answer and the stored entry
    revoked: int  # families that the server has ended, as it says itself


class _Nursery:
    """The program that forks and kills."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._program = subprocess.Popen([sys.executable, str(PROGRAM)], stdin=-1, stdout=-1, text=True)
        self._say(json.dumps(order))

    def _say(self, line: str) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(f"{line}\n")
        self._program.stdin.flush()

    def _heard(self) -> int:
        assert self._program.stdout is not None
        return int(self._program.stdout.readline())

    def start(self) -> int:
        self._say("start")
        return self._heard()

    def kill(self, process: int) -> None:
        self._say(f"kill {process}")
        self._heard()

    def close(self) -> None:
        self._program.communicate(timeout=_PATIENCE)


def run_round(server: OAuthServer, directory: Path, *, kills: int, seed: int) -> Figures:
    """Let eight processes renew one grant, kill one of them now and then, and sign in again where the grant ended."""
    witness, drawn = Witness(), random.Random(seed)
    given, tokens, before = directory / "given", directory / "tokens", revocations(server)

    def sign_in() -> str:
        refresh_token = server.app().fetch().refresh_token
        assert refresh_token is not None
        with witness.lock:
            witness.family[refresh_token] = len(witness.ended)
        new = directory / "new"
        new.touch(0o600)
        new.write_text(refresh_token)
        new.replace(given)
        return RefreshTokenFetcher(**client, refresh_token=refresh_token).grant_key or ""

    with watched(server, witness) as url:
        client = server.client("app", url)
        grant_key, storage = sign_in(), FileTokenStorage(tokens)
        nursery = _Nursery({"given": str(given), "directory": str(tokens), "client": client})
        try:
            processes, signed_in = [nursery.start() for _ in range(PROCESSES)], 1
            for _ in range(kills):
                time.sleep(drawn.uniform(0.02, 0.15))  # they are at work
                with witness.lock:
                    is_over = len(witness.ended) == signed_in
                if is_over:
                    grant_key, signed_in = sign_in(), signed_in + 1
                process = processes.pop(drawn.randrange(PROCESSES))
                nursery.kill(process)
                witness.died(process, storage, grant_key)
                processes.append(nursery.start())
        finally:
            nursery.close()
    return Figures(witness.rotations, kills, witness.lost, revocations(server) - before)


def revocations(server: OAuthServer) -> int:
    """Return how many families the server has ended since it started."""
    return int(requests.get(f"{server.url}/revoked-grants", timeout=_PATIENCE).text)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place, oauth_servers.oidc_provider(Path(place), []) as server:
        for number in range(rounds):
            directory = Path(place) / f"round-{number}"
            directory.mkdir()
            print(run_round(server.lasting, directory, kills=40, seed=number), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
