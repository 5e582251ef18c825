"""A token as JSON text, for storages. Versioned, readable by any language, and never pickle."""

from __future__ import annotations

import json
import logging
from typing import final

from tokenkit.errors import StorageError
from tokenkit.tokens import Token

__all__ = ["EntryReader", "decode", "encode"]

logger = logging.getLogger(__name__)

_VERSION = 1


def encode(token: Token) -> str:
    """Return *token* as one line of JSON, secrets included.

    Raises:
        StorageError: The token's ``extra`` holds what JSON cannot.
    """
    try:
        return json.dumps({"version": _VERSION, "token": token.to_dict()}, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"the token cannot be written as JSON ({type(error).__name__})") from None


def decode(text: str | bytes) -> Token:
    """Return the token that :func:`encode` wrote.

    Raises:
        StorageError: The text is something else, or of a later version; it is not quoted.
    """
    try:
        entry = json.loads(text)
        if entry["version"] != _VERSION:
            raise StorageError("the entry is of another version")
        return Token.from_dict(entry["token"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StorageError(f"the entry is not a token ({type(error).__name__})") from None


@final
class EntryReader:
    """Reads entries for a storage: one that does not decode is absent, and logged once until it is healed.

    Safe from any thread.
    """

    def __init__(self, where: str) -> None:
        self._where = where  # names the storage in the log
        self._reported: set[str] = set()  # add and discard are atomic; losing a race costs one log line

    def read(self, key: str, text: str | bytes | None) -> Token | None:
        """Return the token that *text* holds, or None where there is none; never raises."""
        if text is None:
            return None
        try:
            token = decode(text)
        except StorageError as error:
            if key not in self._reported:
                self._reported.add(key)
                logger.warning("%s: an entry is ignored until it is overwritten: %s", self._where, error)
            return None
        self._reported.discard(key)
        return token
