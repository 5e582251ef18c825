"""What goes over the wire to and from the identity provider, as values without a socket.

A request may carry passwords and tokens: no repr here shows more than its method and path.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final
from urllib.parse import parse_qs

__all__ = ["Refusal", "Reply", "Request"]

_NO_STORE = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


@final
@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One request as it arrived.

    Args:
        method: In upper case, as sent.
        path: Without the query.
        query: What followed the question mark, still encoded.
        headers: By lower-case name; repeated ones are joined by a comma.
        body: As sent, a chunked one put together.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"

    @property
    def form(self) -> dict[str, list[str]]:
        """The fields of a form body, each with all its values; empty where the body is no form."""
        if self.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return {}
        return parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    @property
    def fields(self) -> dict[str, Any]:
        """The parameters, wherever they were put: query, form or a JSON object; the last value of each."""
        pairs: dict[str, Any] = {}
        for values in (parse_qs(self.query, keep_blank_values=True), self.form):
            pairs.update({name: given[-1] for name, given in values.items()})
        if "json" in self.headers.get("content-type", ""):
            try:
                document = json.loads(self.body)
            except ValueError:
                document = None
            pairs.update(document if isinstance(document, dict) else {})
        return pairs

    @property
    def bearer(self) -> str | None:
        """The token of an Authorization header of the Bearer scheme, or None."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None


@final
@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """One answer; its length and connection headers are the server's affair."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"

    @classmethod
    def json(cls, payload: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
        """Answer with *payload* as JSON that no cache may keep (RFC 6749 section 5.1)."""
        body = json.dumps(payload).encode()
        return cls(status, body, (("Content-Type", "application/json"), *_NO_STORE, *headers))

    def encode(self, method: str, keep_alive: bool) -> bytes:
        """Return the bytes to send in answer to *method*: an answer to HEAD has no body."""
        phrase = http.client.responses.get(self.status, "Unknown")
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if method == "HEAD" else head + self.body


@final
class Refusal(Exception):
    """An error answer in the form of RFC 6749 section 5.2.

    Args:
        error: The code, such as ``invalid_grant``.
        description: A sentence for a person; it never quotes a credential.
        status: The HTTP status; None: 401 for ``invalid_client``, else 400.
        headers: Further headers of the answer.
    """

    def __init__(
        self, error: str, description: str, *, status: int | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status or (401 if error == "invalid_client" else 400)
        self.headers = headers

    def reply(self) -> Reply:
        """Return it as an answer."""
        payload = {"error": self.error, "error_description": self.description}
        return Reply.json(payload, self.status, self.headers)
