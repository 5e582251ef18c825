"""Which token is whose: storage keys that are canonical (order does not matter) and injective (no two tenants meet).

The values go into a hash with their lengths, so that no choice of them can look like another. A function is not read:
what stands for it is the very object that has it, unless it says itself what its results hang on, as a reference does.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tokenkit._secrecy.files import at_home

__all__ = [
    "Identified",
    "cache_key",
    "canonical",
    "certificate_at",
    "digest_of",
    "escaped",
    "fingerprint_of",
    "grant_key",
    "own_mark",
    "signed_in_key",
]


@runtime_checkable
class Identified(Protocol):
    """A function object that says itself what its results hang on, such as a reference to a secret."""

    def cache_identity(self) -> object:
        """Return it; None where it is not to be had now, so that nothing may be shared."""


def cache_key(prefix: str, parts: Mapping[str, Any] | Sequence[Any], own: str) -> str:
    """Return a key that starts with *prefix*, for reading, and goes on with a hash of *parts*.

    Args:
        prefix: What the key is for; printable, and short after cutting.
        parts: What tells one token from another.
        own: Stands for each function: a mark of the one object that has it, or what its user says of it.
    """
    digest = hashlib.sha256(canonical(parts, own)).hexdigest()
    readable = "".join(character if character.isalnum() or character in "-_.:" else "_" for character in prefix)
    return f"{readable[:80]}:{digest[:40]}"


def grant_key(refresh_token: str) -> str:
    """Return the key of the grant that began with *refresh_token*, which every process that was given it finds."""
    return f"grant:{digest_of(refresh_token)}"


def signed_in_key(*parts: str | None) -> str:
    """Return the key of a signed-in grant, by *parts*: server, client and account, none of which is a secret."""
    return f"grant:{hashlib.sha256(canonical(parts, '')).hexdigest()}"


def digest_of(refresh_token: str) -> str:
    """Return what tells *refresh_token* from all others and shows nothing of it: no digest that a server keeps."""
    return hashlib.sha256(b"tokenkit refresh token:" + os.fsencode(refresh_token)).hexdigest()


def fingerprint_of(cert: str | tuple[str, ...] | None) -> str | None:
    """Return what tells a client certificate from the next one: a token may be bound to it (RFC 8705)."""
    if cert is None:
        return None
    path = cert if isinstance(cert, str) else cert[0]
    return certificate_at(path) or path  # who asks with one that cannot be read will hear what is wrong


def certificate_at(path: str) -> str | None:
    """Return the fingerprint of the client certificate at *path*; None where it cannot be read."""
    try:
        return hashlib.sha256(Path(at_home(path)).read_bytes()).hexdigest()
    except OSError:
        return None


def escaped(part: str) -> str:
    """Return *part* as a part of a key that is joined with colons: it has none of its own."""
    return part.replace("%", "%25").replace(":", "%3A")


def own_mark() -> str:
    """Return a mark that no other object has, in no process."""
    return secrets.token_hex(16)


def canonical(value: Any, own: str) -> bytes:
    """Return *value* as bytes that no other value has; mappings and sets regardless of their order."""
    if isinstance(value, Mapping):
        items = sorted(canonical(str(key), own) + canonical(inner, own) for key, inner in value.items())
        return _framed("m", b"".join(items))
    if isinstance(value, (set, frozenset)):
        return _framed("s", b"".join(sorted(canonical(one, own) for one in value)))
    if isinstance(value, (list, tuple)):
        return _framed("l", b"".join(canonical(one, own) for one in value))
    if isinstance(value, Identified):
        identity = value.cache_identity()
        return _framed("u", own.encode()) if identity is None else canonical(identity, own)
    if callable(value):
        return _framed("f", own.encode())
    if isinstance(value, os.PathLike):
        return _framed("p", os.fsencode(value))
    if isinstance(value, bytes):
        return _framed("b", value)
    return _framed(type(value).__name__, str(value).encode("utf-8", "surrogatepass"))


def _framed(kind: str, content: bytes) -> bytes:
    return f"{kind}{len(content)}:".encode() + content
