"""What a health page may show of a manager."""

from __future__ import annotations

from typing import Literal, final

from tokenkit._dataclasses import dataclass
from tokenkit.events import FailureFacts

__all__ = ["ManagerStatus"]


@final
@dataclass(frozen=True, kw_only=True)
class ManagerStatus:
    """A manager at one moment, as :meth:`tokenkit.manager.TokenManager.status` gives it; it carries no secret.

    ``dataclasses.asdict`` makes of it what JSON takes.

    Attributes:
        service_name: The service that the token is for.
        state: ``fresh``, ``due`` (usable, and to be renewed), ``expired`` or ``absent``.
        seconds_left: How long the token may still be used; 0 once it is expired. None: there is none, or it never
            expires.
        next_renewal: Seconds until a renewal begins of its own accord; 0: now, or it is under way. None: none is
            planned, as where there is no token and nobody asks.
        is_renewing: Whether an attempt is under way.
        is_stopped: Whether the manager renews no more.
        attempts: How often an attempt to renew has begun in this process.
        renewals: How many of them brought a token of the source's that came to be held.
        failures: How many of them failed.
        failures_in_a_row: How many of them failed, or hung, since the last token. 0: all is well.
        adopted: How many tokens came to be held that another process had stored.
        waiters: How many callers wait for a token.
        last_failure: The facts of the last failure, however long ago, or None.
        last_failure_age: Seconds since then, or None.
    """

    service_name: str
    state: Literal["fresh", "due", "expired", "absent"]
    seconds_left: float | None
    next_renewal: float | None
    is_renewing: bool
    is_stopped: bool
    attempts: int
    renewals: int
    failures: int
    failures_in_a_row: int
    adopted: int
    waiters: int
    last_failure: FailureFacts | None
    last_failure_age: float | None

    @property
    def has_usable_token(self) -> bool:
        """Whether a request would get a token without waiting."""
        return self.state in ("fresh", "due")
