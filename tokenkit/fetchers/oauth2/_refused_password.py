"""What is known of a password that was refused, and when it may be sent again: servers lock accounts for too many."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, final

from tokenkit._secrecy.identity import digest_of
from tokenkit.contracts import FetchContext
from tokenkit.errors import TokenEndpointError, own_copy

__all__ = ["RefusedPassword", "is_refusal"]

_LONGEST_PAUSE = 1800.0  # seconds
_CLOCKS_APART = 0.02  # of a pause: who comes back after it has measured it by another clock
# The client or the request is refused, and the password was not even looked at (RFC 6749 section 5.2, RFC 8707).
_OF_THE_CLIENT = ("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target")


class _Refusal(NamedTuple):
    digest: str
    error: TokenEndpointError
    at: datetime
    pause: float


@final
class RefusedPassword:
    """Keeps a refused password back. Safe from any thread: its state is one reference, replaced whole."""

    def __init__(self) -> None:
        self._last: _Refusal | None = None

    def check(self, username: str, password: str, context: FetchContext) -> str:
        """Return a digest of this password, for :meth:`note`, if it is to be sent; else raise its refusal again.

        Raises:
            TokenEndpointError: It was refused, and the pause after that is not over, nor has the user asked for it.
        """
        last, digest = self._last, digest_of(f"{len(username)}:{username}{password}")
        if last is None or context.forced or last.digest != digest:
            return digest
        left = last.pause - (context.now() - last.at).total_seconds()
        if not last.pause * _CLOCKS_APART < left <= last.pause:  # more is left only where the clock was set back
            return digest
        refused = last.error
        raise TokenEndpointError(
            f"{refused.message}; the same password is not sent again for {left:.0f} s, lest the account be locked",
            status=refused.status,
            error=refused.error,
            error_description=refused.error_description,
            error_uri=refused.error_uri,
        )

    def note(self, digest: str, error: TokenEndpointError, context: FetchContext) -> None:
        """Note that the password with this digest was refused; each time in a row doubles the pause."""
        last = self._last
        pause = context.max_retry_timeout
        if last is not None and last.digest == digest:
            pause = max(pause, min(last.pause * 2, _LONGEST_PAUSE))
        self._last = _Refusal(digest, own_copy(error), context.now(), pause)  # a copy has no frames

    def forget(self) -> None:
        """Note that a password was taken."""
        self._last = None


def is_refusal(error: TokenEndpointError, *, has_upstream: bool) -> bool:
    """Return whether *error* may be about the password; below another step's token only ``invalid_grant`` surely is."""
    if error.transient or error.error in _OF_THE_CLIENT:
        return False
    return error.error == "invalid_grant" or not has_upstream
