"""Spending a refresh token, how long it lasts, keeping it, and what its refusal means (RFC 6749 section 6)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from tokenkit._dataclasses import replace
from tokenkit._token_answers import positive_seconds
from tokenkit.errors import SignInRequiredError, TokenEndpointError
from tokenkit.tokens import Token

__all__ = ["is_gone", "kept", "refresh_params", "seconds_left", "sign_in_again"]

_GONE = frozenset(
    {"invalid_grant", "invalid_token", "bad_refresh_token", "invalid_refresh_token"}
    | {"interaction_required", "login_required", "consent_required"}
)
_LIFETIMES = ("refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in")


def refresh_params(refresh_token: str) -> dict[str, str]:
    """Return the parameters that spend *refresh_token* (RFC 6749 section 6)."""
    return {"grant_type": "refresh_token", "refresh_token": refresh_token}


def seconds_left(token: Token, now: datetime) -> float | None:
    """Return the seconds that *token*'s refresh token has left; None where it is unlimited or unknown."""
    told = (positive_seconds(token.extra.get(name)) for name in _LIFETIMES)  # 0 is how Keycloak says 'unlimited'
    seconds = next((one for one in told if one is not None), None)
    if seconds is None or token.issued_at is None:
        return None
    return max(0.0, seconds - (now - token.issued_at).total_seconds())


def kept(token: Token, refresh_token: str, before: Token | None, now: datetime) -> Token:
    """Return *token*, with *refresh_token*, which was spent for it, where the answer brought none.

    Args:
        token: What the answer brought.
        refresh_token: What was spent.
        before: The token that had it, and the end of its life with it.
        now: The present.
    """
    if token.refresh_token:
        return token
    extra = dict(token.extra)
    left = None if before is None else seconds_left(before, now)
    if left is not None:
        extra["refresh_expires_in"] = int(left)  # counted from the new token's issue
    return replace(token, refresh_token=refresh_token, extra=extra)


def is_gone(error: TokenEndpointError, further: Collection[str]) -> bool:
    """Return whether the endpoint says by *error* that the refresh token is no good any more, and never will be.

    Args:
        error: What it answered.
        further: Words of this provider.
    """
    return not error.transient and error.error is not None and (error.error in _GONE or error.error in further)


def sign_in_again(error: TokenEndpointError, missing: Collection[str]) -> TokenEndpointError | SignInRequiredError:
    """Return what *error*, a refusal of the only refresh token there is, means for whoever asked.

    Args:
        error: What the endpoint answered.
        missing: The scopes asked for that the grant is not known to have.
    """
    if error.transient or error.error in (None, "invalid_client"):
        return error
    why = "the refresh token is no longer good"
    if error.error == "invalid_scope":
        why = f"the grant does not reach to what is asked for: {' '.join(sorted(missing)) or 'no scope at all'}"
    required = SignInRequiredError(f"{error.message}; {why}: a person must sign in again", step_name=error.step_name)
    required.__cause__ = error
    return required
