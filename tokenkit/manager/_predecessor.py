"""The token before the one held: resources may learn of a new token a moment after the endpoint gave it.

Rules without a lock; changed under the lock of the engine that has them, and read without it.
"""

from __future__ import annotations

import math
from typing import NamedTuple, final

from tokenkit.tokens import Token

__all__ = ["Predecessor"]

_LEARNT_WITHIN = 10.0  # seconds from a token's landing: by then every resource is taken to know it


class _Kept(NamedTuple):
    token: Token
    successor: Token
    until: float


@final
class Predecessor:
    """Keeps a token that a renewal ahead of expiry has replaced, and only that, while it may be of use."""

    __slots__ = ("_forced_out", "_kept")

    def __init__(self) -> None:
        self._kept: _Kept | None = None  # one reference, replaced whole
        self._forced_out: Token | None = None  # replaced because the user would not have it any more

    def keep(self, token: Token, successor: Token, *, now: float, expired_at: float) -> None:
        """Keep *token*, in whose place *successor* has landed, unless it was forced out."""
        self._kept = None
        if token is not self._forced_out and token.access_token != successor.access_token and now < expired_at:
            self._kept = _Kept(token, successor, min(now + _LEARNT_WITHIN, expired_at))

    def force_out(self, token: Token | None) -> None:
        """Note that the user wants another in the place of *token*, the one held; what was before it goes, too."""
        self._forced_out, self._kept = token, None

    def drop(self, rejected: Token | None = None) -> None:
        """Keep none any more, where *rejected* is it or its successor, or None."""
        kept = self._kept
        if kept is not None and (rejected is None or rejected.access_token in _texts(kept)):
            self._kept = None

    def of(self, token: Token, now: float) -> Token | None:
        """Return what was held before *token*, if a resource that rejects that one may take it still."""
        kept = self._kept
        is_its = kept is not None and kept.successor.access_token == token.access_token and now < kept.until
        return kept.token if kept is not None and is_its else None

    @property
    def kept_until(self) -> float:
        """Until when one is kept; -inf where none is."""
        kept = self._kept
        return -math.inf if kept is None else kept.until


def _texts(kept: _Kept) -> tuple[str, str]:
    return kept.token.access_token, kept.successor.access_token
