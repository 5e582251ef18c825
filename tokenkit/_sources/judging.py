"""Judging tokens that are shared: which is newer, what a refusal means, and how long another's lock is worth a wait."""

from __future__ import annotations

from tokenkit.errors import SignInRequiredError, TokenEndpointError
from tokenkit.tokens import Token

__all__ = ["is_newer", "is_refused", "lock_patience", "newest"]

# Seconds of an attempt that waiting for a lock, where a refresh token would be spent, leaves for asking the source:
_ONE_REQUEST = 1.0
_LONGEST_RESERVE = 5.0


def is_newer(one: Token, other: Token) -> bool:
    """Return whether *one* was issued, or failing that expires, later than *other*."""
    if one.issued_at is not None and other.issued_at is not None and one.issued_at != other.issued_at:
        return one.issued_at > other.issued_at
    if one.expires_at is None or other.expires_at is None:
        return one.access_token != other.access_token
    return one.expires_at > other.expires_at


def is_refused(asked_with: Token, error: TokenEndpointError | SignInRequiredError, source: str) -> bool:
    """Return whether *error* is *source*'s final refusal of the refresh token it was asked with, in whatever words.

    What passes (5xx, 429) is none, nor is what says that the client is wrong, nor the refusal of another grant.
    """
    if asked_with.refresh_token is None or error.step_name not in (None, source):
        return False
    if isinstance(error, SignInRequiredError):
        return True
    is_final = not error.transient and error.error != "invalid_client"
    return is_final and error.grant_type in (None, "refresh_token")


def lock_patience(policy_lock_timeout: float, seconds_left: float, spends_refresh_token: bool) -> float:
    """Return how long to wait for a storage's lock before going on without it.

    Two who spend one refresh token may cost the whole grant (RFC 9700 section 4.14.2), so where one would be spent the
    holder gets until shortly before the end: it is bound to an attempt's time too, and done by then if it is alive.

    Args:
        policy_lock_timeout: The policy's ``lock_timeout``, in seconds: what is waited at least, time permitting.
        seconds_left: Until the attempt's deadline; a caller without one passes the time that an attempt may take.
        spends_refresh_token: Whether the known token has a refresh token.

    Returns:
        Seconds, never more than *seconds_left* and never negative.
    """
    left = max(0.0, seconds_left)
    if not spends_refresh_token:
        return min(policy_lock_timeout, left)
    least = min(_ONE_REQUEST, left / 2)
    reserve = min(max(least, left / 5), _LONGEST_RESERVE)
    return max(left - reserve, min(policy_lock_timeout, left - least))


def newest(stored: Token | None, held: Token | None) -> Token | None:
    """Return the newer of a stored token and one that is held; None where there is neither."""
    if stored is None or held is None:
        return stored or held
    # Where neither says when it was issued, the stored one counts: a spent refresh token must not be shown again.
    return held if is_newer(held, stored) and not is_newer(stored, held) else stored
