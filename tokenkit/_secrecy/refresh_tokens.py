"""What is known of refresh tokens that are of no more use: which one took a token's place, and which were refused.

A server that rotates refresh tokens takes the second use of one for theft, and ends the whole grant (RFC 9700 section
4.14.2). So nothing that is told here is sent again, wherever it turns up later.
"""

from __future__ import annotations

from typing import final

from tokenkit._secrecy.identity import digest_of

__all__ = ["RefreshTokenMemory"]

_MOST = 1000  # remembered of each kind; the oldest are forgotten first


@final
class RefreshTokenMemory:
    """Remembers, for as long as it lives, what became of refresh tokens. Safe from any thread.

    It needs no lock: each step is one operation of a dict, and losing a race forgets what nobody else knew either.
    """

    def __init__(self) -> None:
        self._newer: dict[str, str] = {}  # by the digest of one, what took its place
        self._gone: dict[str, None] = {}  # digests
        self._first: dict[str, str] = {}  # by the digest of one, that of the given one it descends from

    def __reduce__(self) -> tuple[type[RefreshTokenMemory], tuple[()]]:
        return RefreshTokenMemory, ()

    def replaced(self, spent: str, newer: str) -> None:
        """Note that the server gave *newer* for *spent*; they may be the same."""
        self._newer.pop(digest_of(newer), None)  # whatever it was before, the server means it to be used
        self._gone.pop(digest_of(newer), None)
        if spent != newer:
            self._newer[digest_of(spent)] = newer
            _cut(self._newer)

    def descends(self, refresh_token: str, first: str) -> None:
        """Note that the server gave *refresh_token* to who began with *first*."""
        self._first[digest_of(refresh_token)] = digest_of(first)
        _cut(self._first)

    def is_of_another(self, refresh_token: str, first: str) -> bool:
        """Return whether *refresh_token* is known to descend from another one than *first*."""
        return self._first.get(digest_of(refresh_token), digest_of(first)) != digest_of(first)

    def refused(self, spent: str) -> None:
        """Note that the server called *spent* no good."""
        self._gone[digest_of(spent)] = None
        _cut(self._gone)

    def is_dead(self, refresh_token: str) -> bool:
        """Return whether *refresh_token* was replaced or refused."""
        digest = digest_of(refresh_token)
        return digest in self._newer or digest in self._gone

    def newest(self, refresh_token: str) -> str | None:
        """Return what is to be sent in the place of *refresh_token*, itself perhaps; None where that was refused."""
        found = refresh_token
        while (newer := self._newer.get(digest_of(found))) is not None:
            found = newer
        if found != refresh_token:  # a way of one step, remembered as if it were new: the first one is asked for ever
            self._newer.pop(digest_of(refresh_token), None)
            self._newer[digest_of(refresh_token)] = found
        return None if digest_of(found) in self._gone else found


def _cut(remembered: dict[str, str] | dict[str, None]) -> None:
    for digest in list(remembered)[:-_MOST]:
        remembered.pop(digest, None)
