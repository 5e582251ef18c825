"""What of a request may be quoted in a message: everything but its secrets, in every form they come back in."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final
from urllib.parse import quote, quote_plus, unquote_plus

__all__ = ["Scrubber"]


# Parameters whose values are public, so that a message may keep them.
_PUBLIC = frozenset(
    {"accept", "audience", "client_assertion_type", "client_id", "content-type", "grant_type", "issued_token_type"}
    | {"requested_token_type", "resource", "scope", "subject_token_type", "actor_token_type", "token_type_hint"}
)


@final
class Scrubber:
    """Takes the secrets of one request out of what the endpoint says about it. Its own repr shows none.

    Args:
        fields: The headers and data that were sent, values as they are.
    """

    __slots__ = ("_pattern",)

    def __init__(self, *fields: Mapping[str, Any]) -> None:
        texts = {text for one in fields for name, value in one.items() for text in _texts(name, value)}
        secrets = {form for text in texts for form in _forms(text)}
        patterns = [
            # A short one is only taken out where it stands alone: 'a' is in every word.
            re.escape(text) if len(text) > 3 else rf"(?<!\w){re.escape(text)}(?!\w)"
            for text in sorted(secrets, key=len, reverse=True)
        ]
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def clean(self, text: object, limit: int = 200) -> str | None:
        """Return *text* without secrets and control characters, shortened; None where it is no text or empty."""
        if not isinstance(text, str):
            return None
        if self._pattern is not None:
            text = self._pattern.sub("[secret]", text)
        printable = "".join(character if character.isprintable() else " " for character in text).strip()
        return (printable if len(printable) <= limit else printable[: limit - 3] + "...") or None


def _texts(name: str, value: Any) -> Iterable[str]:
    if name.lower() in _PUBLIC:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(str(key), inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(name, inner)
    elif isinstance(value, bytes):
        yield from _texts(name, value.decode("latin-1"))
    elif value is not None and not isinstance(value, bool) and str(value):
        yield str(value)
        yield from (part for part in str(value).split(" ") if len(part) > 8)  # 'Bearer abc...'
        yield from _basic_password(str(value))


def _forms(text: str) -> set[str]:
    """Return *text* as it is, and as a form, a URL, JSON or HTML writes it, which is how it may come back."""
    import html

    return {text, quote_plus(text), quote(text, safe=""), json.dumps(text)[1:-1], html.escape(text)}


def _basic_password(header: str) -> Iterator[str]:
    scheme, _space, encoded = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            password = base64.b64decode(encoded).decode().partition(":")[2]
        except ValueError:
            return  # not Basic credentials after all
        yield from {password, unquote_plus(password)} - {""}
