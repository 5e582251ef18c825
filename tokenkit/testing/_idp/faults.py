"""Failures on demand: what goes wrong, for how many requests, and how it looks on the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final, get_args

from tokenkit.testing._idp.messages import Reply
from tokenkit.testing._idp.wire import Wire

__all__ = ["Fault", "FaultKind", "FaultPlan", "deliver", "make_fault"]

FaultKind = Literal[
    "status",
    "empty",
    "html",
    "redirect",
    "gzip",
    "chunked",
    "drip",
    "truncate",
    "truncate_headers",
    "endless",
    "garbage",
    "reset",
    "close",
    "hang",
]
_DRIP_PAUSE = 0.05  # seconds after each byte: any limit per read is kept, a limit on the whole is not
_SILENT = frozenset({"garbage", "reset", "close"})  # nothing of an answer is seen
_HTML = b"<!doctype html><title>Welcome</title><p>Please sign in to this network."
_CRAFTED: Mapping[str, Reply] = {
    "status": Reply(503),
    "empty": Reply(200),
    "html": Reply(200, _HTML, (("Content-Type", "text/html"),)),
    "redirect": Reply(302, b"", (("Location", "/api/"),)),
    "gzip": Reply(200, b"this is not gzip", (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))),
    "endless": Reply(200, b" " * 65536, (("Content-Type", "application/json"),)),
}


@final
@dataclass(frozen=True, slots=True)
class Fault:
    """One failure.

    Args:
        kind: What happens.
        answer: What is sent in place of the real answer; None: the real one, if any.
        processed: Whether the request takes effect although its answer does not come.
        healed: Set when the failure is over, for those that last.
    """

    kind: FaultKind
    answer: Reply | None
    processed: bool
    healed: threading.Event = field(default_factory=threading.Event)

    @property
    def silent(self) -> bool:
        """Whether nothing of an answer is ever seen."""
        return self.kind in _SILENT


def make_fault(
    kind: FaultKind,
    *,
    status: int | None,
    body: str | bytes | Mapping[str, Any] | None,
    headers: Mapping[str, str] | None,
    processed: bool,
) -> Fault:
    """Return the failure that :meth:`LocalIdP.fail` describes.

    Raises:
        ValueError: There is no such kind, or its answer is never seen and was given all the same.
    """
    if kind not in get_args(FaultKind):
        raise ValueError(f"no such kind of failure: {kind!r}")
    given = status is not None or body is not None or headers is not None
    if kind in _SILENT and given:
        raise ValueError(f"nobody would see the answer of a failure of kind {kind!r}")
    crafted = _CRAFTED.get(kind)
    if crafted is None and not given:
        return Fault(kind, None, processed)
    plain = crafted or Reply()
    content, content_headers = (plain.body, dict(plain.headers)) if body is None else _encode(body)
    answer = Reply(status or plain.status, content, tuple({**content_headers, **(headers or {})}.items()))
    return Fault(kind, answer, processed)


def _encode(body: str | bytes | Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    if isinstance(body, Mapping):
        return json.dumps(dict(body)).encode(), {"Content-Type": "application/json"}
    return body.encode() if isinstance(body, str) else body, {}


@final
class FaultPlan:
    """Which endpoint fails next, and how. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._coming: dict[str, list[tuple[Fault, int | None]]] = {}
        self._lasting: dict[str, list[Fault]] = {}  # all since the last healing, those under way included

    def add(self, key: str, fault: Fault, times: int | None) -> None:
        """Let *fault* befall *times* requests under *key* (None: all until healed), after what was added before."""
        with self._lock:
            self._coming.setdefault(key, []).append((fault, times))
            self._lasting.setdefault(key, []).append(fault)

    def take(self, keys: tuple[str, ...]) -> Fault | None:
        """Return what befalls a request under *keys*, the last and narrowest of which comes first."""
        with self._lock:
            coming = self._coming_locked(keys)
            if not coming:
                return None
            fault, times = coming[0]
            if times is not None:
                coming[:1] = [] if times == 1 else [(fault, times - 1)]
            return fault

    def _coming_locked(self, keys: tuple[str, ...]) -> list[tuple[Fault, int | None]] | None:
        return next((coming for key in reversed(keys) if (coming := self._coming.get(key))), None)

    def heal(self, key: str | None) -> None:
        """Forget what is to befall requests under *key* (None: under any), and end what lasts."""
        with self._lock:
            keys = list(self._lasting) if key is None else [key]
            for each in keys:
                self._coming.pop(each, None)
                for fault in self._lasting.pop(each, ()):
                    fault.healed.set()


def deliver(wire: Wire, fault: Fault, reply: Reply, method: str) -> bool:
    """Send *reply* the way *fault* has it; return whether the connection goes on."""
    if fault.kind == "chunked":
        wire.send(_chunked(reply))
        return True
    whole = reply.encode(method, keep_alive=False)
    if fault.kind == "reset":
        wire.reset()
    elif fault.kind == "garbage":
        wire.send(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
    elif fault.kind == "truncate":
        wire.send(whole[: len(whole) - (len(reply.body) + 1) // 2])
    elif fault.kind == "truncate_headers":
        wire.send(whole[: whole.index(b"\r\n") + 10])
    elif fault.kind == "drip":
        _drip(wire, fault, whole)
    elif fault.kind == "endless":
        _pour(wire, fault, reply)
    elif fault.kind != "close":
        wire.send(reply.encode(method, wire.keep_alive))
        return wire.keep_alive
    return False


def _drip(wire: Wire, fault: Fault, data: bytes) -> None:
    for position in range(len(data)):
        wire.send(data[position : position + 1])
        if fault.healed.wait(_DRIP_PAUSE):
            wire.send(data[position + 1 :])
            return


def _pour(wire: Wire, fault: Fault, reply: Reply) -> None:
    head, _, _ = _chunked(reply).partition(b"\r\n\r\n")
    chunk = b"%x\r\n%s\r\n" % (len(reply.body), reply.body)
    wire.send(head + b"\r\n\r\n")
    while not fault.healed.is_set():
        wire.send(chunk)


def _chunked(reply: Reply) -> bytes:
    head, _, _ = reply.encode("HEAD", keep_alive=True).rpartition(b"Content-Length")
    body = b"%x\r\n%s\r\n" % (len(reply.body), reply.body) if reply.body else b""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
