"""How long a refresh token lasts, and that it is kept where an answer brings none (RFC 6749 section 6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from tokenkit.clock import SystemClock
from tokenkit.tokens import Token

__all__ = ["kept", "seconds_left"]

_clock = SystemClock()


def seconds_left(token: Token) -> float | None:
    """Return the seconds that *token*'s refresh token has left; None where it is unlimited or unknown."""
    lifetime = token.extra.get("refresh_expires_in")
    try:
        seconds = float(lifetime)  # type: ignore[arg-type]  # caught below
    except (TypeError, ValueError, OverflowError):
        return None
    if not seconds > 0 or token.issued_at is None:  # 0 is how Keycloak says 'unlimited'
        return None
    now = datetime.fromtimestamp(_clock.time(), timezone.utc)
    return max(0.0, seconds - (now - token.issued_at).total_seconds())


def kept(token: Token, before: Token) -> Token:
    """Return *token*, with the refresh token of *before* where it has none."""
    if token.refresh_token:
        return token
    extra = dict(token.extra)
    left = seconds_left(before)
    if left is not None:
        extra["refresh_expires_in"] = int(left)  # counted from the new token's issue
    return replace(token, refresh_token=before.refresh_token, extra=extra)
