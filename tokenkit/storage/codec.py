"""A token as JSON text, for storages. Versioned, readable by any language, and never pickle.

What all storages decide alike is here too, since they must not import one another: whether an entry is the one
that a caller expects, and how long it is kept.
"""

from __future__ import annotations

import json
import logging
import math
from typing import final

from tokenkit._token_answers import positive_seconds
from tokenkit.errors import StorageError
from tokenkit.storage._failures import UnreadableEntryError
from tokenkit.tokens import Token

__all__ = ["EntryReader", "decode", "encode", "lifetime_facts", "matches", "retention"]

logger: logging.Logger = logging.getLogger("tokenkit.storage")

_VERSION = 1
_REFRESH_TOKEN_LIFETIME = 400 * 24 * 3600  # seconds; where the endpoint does not say
# Of Keycloak; of GitHub, Google, LinkedIn and Entra B2C; of QuickBooks.
_REFRESH_LIFETIMES = ("refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in")
_LONGEST_LIFETIME = 100 * 365 * 24 * 3600  # seconds; servers refuse a number that is out of their range


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
        version = entry["version"]
        if version == _VERSION:
            return Token.from_dict(entry["token"])
        problem = f"version {type(version).__name__}"
        is_later = isinstance(version, (int, float)) and version > _VERSION
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        problem, is_later = type(error).__name__, False
    if is_later:
        raise UnreadableEntryError("a later version of tokenkit wrote it")
    # Raised out here: a JSONDecodeError has the whole entry in its `doc`, and must not even be the context.
    raise StorageError(f"the entry is not a token ({problem})")


def matches(stored: Token | None, expected: Token | None) -> bool:
    """Return whether *stored*, as read from an entry, is what became of *expected* when it was written."""
    if stored is None or expected is None:
        return stored is expected
    return stored == expected or stored == decode(encode(expected))


def retention(token: Token, now: float) -> int | None:
    """Return for how many whole seconds from *now* a storage keeps *token*, at least 1; None: without end.

    A refresh token outlives its access token: as long as the endpoint says in ``refresh_expires_in``,
    ``refresh_token_expires_in`` or ``x_refresh_token_expires_in``, else for 400 days, so that a job that runs once a
    year finds it. Rounded up with a second to spare, since caches cut fractions off and an early loss costs a fetch.

    Args:
        token: What is stored.
        now: Wall time in seconds since the epoch.
    """
    if token.expires_at is None:
        return None
    until = token.expires_at.timestamp()
    if token.refresh_token is not None:
        until = max(until, _refresh_expiry(token, now))
    return math.ceil(max(until - now, 0.0)) + 1


def _refresh_expiry(token: Token, now: float) -> float:
    told = [positive_seconds(token.extra.get(name)) for name in _REFRESH_LIFETIMES]
    lifetime = max((seconds for seconds in told if seconds is not None), default=None)
    if lifetime is None:
        return now + _REFRESH_TOKEN_LIFETIME  # Keycloak's 0 means 'no limit', which is nobody's promise
    return (token.issued_at.timestamp() if token.issued_at else now) + min(lifetime, _LONGEST_LIFETIME)


def lifetime_facts(token: Token) -> dict[str, object]:
    """Return of the token's ``extra`` what :func:`retention` reads."""
    return {name: token.extra[name] for name in _REFRESH_LIFETIMES if name in token.extra}


@final
class EntryReader:
    """Reads entries for a storage: one that does not decode is absent, and logged once until it is healed.

    Safe from any thread.

    Args:
        where: Names the storage in the log.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._reported: set[str] = set()  # add and discard are atomic; losing a race costs one log line

    def read(self, key: str, text: str | bytes | None, *, strict: bool = False) -> Token | None:
        """Return the token that *text* holds, or None where there is none.

        Args:
            key: What it is read for, so that it is told once.
            text: What the storage has; None: nothing.
            strict: Whether what a later version of tokenkit wrote is an error, as for
                :meth:`~tokenkit.contracts.TokenStorage.get_strict`, rather than absent.

        Raises:
            StorageError: A later version wrote it, and the reader is *strict*.
        """
        if text is None:
            return None
        try:
            token = decode(text)
        except UnreadableEntryError as error:
            self.refuse(key, error.message, strict=strict)
            return None
        except StorageError as error:
            self.reject(key, error.message)
            return None
        self._reported.discard(key)
        return token

    def refuse(self, key: str, reason: str, *, strict: bool) -> None:
        """Take for absent what somebody else may be able to read.

        Args:
            key: As for :meth:`read`.
            reason: Why this storage cannot; it must quote none of the entry.
            strict: As for :meth:`read`.

        Raises:
            StorageError: The reader is *strict*.
        """
        if strict:
            raise UnreadableEntryError(f"{self._where}: what is there cannot be read: {reason}") from None
        self.reject(key, reason)

    def reject(self, key: str, reason: str) -> None:
        """Log once that the entry under *key* counts as absent because of *reason*, which must quote none of it."""
        if key not in self._reported:
            self._reported.add(key)
            logger.warning("%s: an entry is ignored until it is overwritten: %s [entry-ignored]", self._where, reason)
