"""Endpoints that say back what they were sent, in every place where a client might read and repeat it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_plus

from support.raw_server import RawServer, Script, answer, raw_server


@contextmanager
def said_back(say: Callable[[str, str], bytes], *before: Script) -> Iterator[RawServer]:
    """Serve what *say* makes of the request's secrets: as they came, and with the percent signs of forms undone.

    The last of them come first, since a message keeps only the beginning of what an endpoint says. The
    first connections get the scripts *before*.
    """

    def script(connection: Any) -> None:
        head, _, body = server.requests[-1].decode().partition("\r\n\r\n")
        fields = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith(("Auth", "X-"))]
        parts = [*([body] if body.startswith("{") else reversed(body.split("&"))), *fields]
        connection.sendall(say(" ".join(parts), " ".join(map(unquote_plus, parts))))

    scripts: list[Script] = [*before, script]
    with raw_server(*scripts) as server:
        yield server


def as_json(status: str, **fields: Any) -> bytes:
    return answer(json.dumps(fields).encode(), status=status)


ISSUED = "canary-issued-token"
BAD = "400 Bad Request"
ECHOES: dict[str, Callable[[str, str], bytes]] = {
    "description": lambda raw, _: as_json(BAD, error="invalid_client", error_description=raw),
    "plain description": lambda _, plain: as_json(BAD, error="invalid_grant", error_description=plain),
    "code": lambda raw, plain: as_json(BAD, error=plain, error_uri=raw),
    "html": lambda raw, plain: answer(f"<p>{raw}<p>{plain}".encode(), status="502 Bad Gateway"),
    "html as a success": lambda raw, plain: answer(f"<p>{raw}<p>{plain}".encode()),
    "no token": lambda raw, plain: as_json("200 OK", request=raw, plain=plain),
    "a bad token": lambda raw, plain: as_json("200 OK", access_token=plain, expires_in=raw),
    "a bad lifetime": lambda raw, _: as_json("200 OK", access_token=ISSUED, expires_in=raw),
    "a bad type": lambda raw, _: as_json("200 OK", access_token=ISSUED, token_type=raw),
    "cut json": lambda raw, _: as_json("200 OK", access_token=ISSUED, refresh_token=raw)[:-2],
    "reason": lambda raw, _: answer(b"", status=f"401 {raw}"),
    "headers": lambda raw, _: answer(
        b"", status="401 No", headers=(f"WWW-Authenticate: Basic {raw}", f"Retry-After: {raw}", f"Content-Type: {raw}")
    ),
    "bad headers": lambda raw, _: b"HTTP/1.1 200 OK\r\n" + raw.encode() + b"\r\n\xff: " + raw.encode() + b"\r\n\r\n{}",
    "bad status": lambda raw, _: f"HTTP/1.1 {raw}\r\n\r\n".encode(),
    "no HTTP": lambda raw, _: raw.encode(),
    "redirect": lambda _, plain: answer(b"", status="302 Go", headers=(f"Location: /?{plain}",)),
    "short": lambda raw, _: answer(raw.encode() * 2, headers=("Content-Type: text/html",))[:-5],
}
