"""Spending a refresh token, how long it lasts, keeping it, and what its end means (RFC 6749 section 6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tokenkit.errors import TokenEndpointError
from tokenkit.tokens import Token, positive_seconds

__all__ = ["kept", "refresh_params", "seconds_left", "sign_in_again"]


def refresh_params(token: Token) -> dict[str, str | None]:
    """Return the parameters that spend *token*'s refresh token (RFC 6749 section 6)."""
    return {"grant_type": "refresh_token", "refresh_token": token.refresh_token}


def seconds_left(token: Token, now: datetime) -> float | None:
    """Return the seconds that *token*'s refresh token has left; None where it is unlimited or unknown."""
    seconds = positive_seconds(token.extra.get("refresh_expires_in"))  # 0 is how Keycloak says 'unlimited'
    if seconds is None or token.issued_at is None:
        return None
    return max(0.0, seconds - (now - token.issued_at).total_seconds())


def kept(token: Token, before: Token, now: datetime) -> Token:
    """Return *token*, with the refresh token of *before* where it has none."""
    if token.refresh_token:
        return token
    extra = dict(token.extra)
    left = seconds_left(before, now)
    if left is not None:
        extra["refresh_expires_in"] = int(left)  # counted from the new token's issue
    return replace(token, refresh_token=before.refresh_token, extra=extra)


def sign_in_again(error: TokenEndpointError) -> TokenEndpointError:
    """Return *error*, saying so where it means that the refresh token is no longer good."""
    if not error.grant_refused:
        return error
    return TokenEndpointError(
        f"{error.message}; the refresh token is no longer good: a person must sign in again",
        status=error.status,
        error=error.error,
        error_description=error.error_description,
        error_uri=error.error_uri,
        step_name=error.step_name,
        transient=error.transient,
        retry_after=error.retry_after,
    )
