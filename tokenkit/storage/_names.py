"""Names for entries: any key becomes a short name that is safe in a path, a cache key and a Redis hash tag."""

from __future__ import annotations

import hashlib
import re

__all__ = ["entry_name"]

_UNSAFE = re.compile(r"[^0-9A-Za-z_-]+")
_READABLE_LENGTH = 40


def entry_name(key: str) -> str:
    """Return a name for *key*: some of it for human eyes, and its SHA-256, which alone tells keys apart."""
    readable = _UNSAFE.sub("_", key[:_READABLE_LENGTH])
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}-{digest}"
