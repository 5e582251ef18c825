"""The authorization server and the resource that all meet: one process of its own, which keeps no caller waiting.

``python -m benchmarks.server`` writes its port and serves until its standard input ends. Below ``/NAME/`` each client
has tokens, counts and faults of its own: ``token``, ``api/...``, and ``control``, which takes settings as JSON and
answers with the counts.
"""

import asyncio
import json
import secrets
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

_NO_TOKEN = 'WWW-Authenticate: Bearer error="invalid_token"\r\n'


@dataclass
class Issued:
    """An access token."""

    known_at: float  # from when on the resource takes it
    expires_at: float
    is_revoked: bool = False


@dataclass
class Realm:
    """What one client has here. The fields up to ``outage`` can be set."""

    lifetime: int = 3600  # seconds
    latency: float = 0.0  # seconds before each answer of the token endpoint
    status: int = 200  # of the token endpoint
    learns: float = 0.0  # seconds until the resource knows a new token
    outage: float = 0.0  # seconds that an outage of the token endpoint lasts, once it has been asked
    down_until: float = 0.0
    tokens: dict[str, Issued] = field(default_factory=dict)
    families: dict[str, int] = field(default_factory=dict)  # by refresh token
    spent: set[str] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)  # families of which a refresh token came twice
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))

    def token(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """Answer a token request; every client and every secret is good."""
        now = time.monotonic()
        self.counts["token"] += 1
        if self.outage:
            self.down_until, self.outage = now + self.outage, 0.0
        if self.status != 200 or now < self.down_until:
            self.counts["failed"] += 1
            return (503 if self.status == 200 else self.status), {"error": "temporarily_unavailable"}
        grant = form.get("grant_type", [""])[0]
        if grant == "refresh_token":
            return self._rotate(form.get("refresh_token", [""])[0])
        family = len(set(self.families.values())) if grant == "password" else None
        return 200, self._issue(family)

    def _rotate(self, refresh_token: str) -> tuple[int, dict[str, Any]]:
        family = self.families.get(refresh_token)
        if refresh_token in self.spent and family is not None:
            self.counts["reuses"] += 1
            self.ended.add(family)
        if family is None or family in self.ended:
            self.counts["refused"] += 1
            return 400, {"error": "invalid_grant"}
        self.spent.add(refresh_token)
        self.counts["rotations"] += 1
        return 200, self._issue(family)

    def _issue(self, family: int | None) -> dict[str, Any]:
        now, value = time.monotonic(), secrets.token_urlsafe(24)
        self.tokens[value] = Issued(now + self.learns, now + self.lifetime)
        answer = {"access_token": value, "token_type": "Bearer", "expires_in": self.lifetime}
        if family is not None:
            answer["refresh_token"] = secrets.token_urlsafe(24)
            self.families[answer["refresh_token"]] = family
        return answer

    def accepts(self, value: str) -> bool:
        """Say whether the resource takes this token now."""
        now, issued = time.monotonic(), self.tokens.get(value)
        self.counts["api"] += 1
        if issued is not None and now > issued.expires_at:
            self.counts["expired"] += 1
        good = issued is not None and not issued.is_revoked and issued.known_at <= now <= issued.expires_at
        self.counts["rejected"] += not good
        return good

    def control(self, order: dict[str, Any]) -> dict[str, Any]:
        """Set what *order* says, and return the counts so far."""
        if order.pop("revoke", False):
            for issued in self.tokens.values():
                issued.is_revoked = True
        if order.pop("forget", False):
            self.counts = dict.fromkeys(_COUNTED, 0)
        for name, value in order.items():
            setattr(self, name, value)
        return {**self.counts, "ended": len(self.ended), "is_down": time.monotonic() < self.down_until}


_COUNTED = ("token", "api", "failed", "expired", "rejected", "rotations", "reuses", "refused")


class Connection(asyncio.Protocol):
    """One connection, kept alive; requests on it come one after the other."""

    def __init__(self, realms: dict[str, Realm]) -> None:
        self._realms = realms
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = dict(self._field(line) for line in head[1:])
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._answer(head[0].split(" ")[1].partition("?")[0], headers, body)

    @staticmethod
    def _field(line: str) -> tuple[str, str]:
        name, _, value = line.partition(":")
        return name.lower(), value.strip()

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> None:
        _, name, what, *_ = [*path.split("/"), "", ""]
        if what == "control":
            order = json.loads(body)
            if order.pop("reset", False):
                self._realms[name] = Realm()
            return self._say(200, self._realms.setdefault(name, Realm()).control(order))
        realm = self._realms.setdefault(name, Realm())
        if what == "token":
            form = parse_qs(body.decode())
            asyncio.get_running_loop().call_later(realm.latency, lambda: self._say(*realm.token(form)))
            return None
        if what == "revoked-grants":
            return self._say(200, len(realm.ended))
        if realm.accepts(headers.get("authorization", "").removeprefix("Bearer ")):
            return self._say(200, {"ok": True})
        return self._say(401, {}, _NO_TOKEN)

    def _say(self, status: int, content: object, more: str = "") -> None:
        body = json.dumps(content)
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write((head + body).encode())


async def serve() -> None:
    realms: dict[str, Realm] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(realms), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
