"""Names for entries: any key becomes a short name that is safe in a path, a cache key and a Redis hash tag."""

from __future__ import annotations

import hashlib
import re

__all__ = ["entry_name", "readable_part"]

_UNSAFE = re.compile(r"[^0-9A-Za-z_-]+")
_READABLE_LENGTH = 40


def entry_name(key: str, namespace: str = "") -> str:
    """Return a name for *key*: some of it for human eyes, and a SHA-256, which alone tells keys apart.

    Args:
        key: Any string.
        namespace: Any string; names of two namespaces never meet, whatever the keys.
    """
    whole = f"{len(namespace)}:{namespace}{key}"  # with the length, so that 'a' + 'bc' is not 'ab' + 'c'
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable_part(key)}-{digest}"


def readable_part(text: str) -> str:
    """Return the beginning of *text* with every character that is not safe replaced."""
    return _UNSAFE.sub("_", text[:_READABLE_LENGTH])
