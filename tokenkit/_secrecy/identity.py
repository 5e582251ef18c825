"""Which token is whose: storage keys that are canonical (order does not matter) and injective (no two tenants meet).

The values go into a hash with their lengths, so that no choice of them can look like another. Where a function
gives a value, what :mod:`tokenkit._secrecy.functions` can tell of it stands for it; failing that, the very object.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from tokenkit._secrecy.functions import told_of

__all__ = ["Identified", "cache_key", "canonical", "own_mark"]


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
        own: Stands for a function whose code does not tell what it returns, such as a closure.
    """
    digest = hashlib.sha256(canonical(parts, own)).hexdigest()
    readable = "".join(character if character.isalnum() or character in "-_.:" else "_" for character in prefix)
    return f"{readable[:80]}:{digest[:40]}"


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
        told = told_of(value)
        return _framed("f", canonical(own if told is None else told, own))
    if isinstance(value, os.PathLike):
        return _framed("p", os.fsencode(value))
    if isinstance(value, bytes):
        return _framed("b", value)
    return _framed(type(value).__name__, str(value).encode())


def _framed(kind: str, content: bytes) -> bytes:
    return f"{kind}{len(content)}:".encode() + content
