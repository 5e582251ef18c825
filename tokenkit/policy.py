"""When a token is due and when it is expired; how long to back off after a failure. Pure rules: no I/O, no threads."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, final

from tokenkit._checks import is_count, seconds
from tokenkit._dataclasses import dataclass, replace
from tokenkit._token_answers import positive_seconds
from tokenkit.errors import AuthenticationError, ConfigurationError
from tokenkit.tokens import Token

__all__ = ["RefreshPolicy", "Window"]

_MARGIN_SHARE = 1 / 20  # of the lifetime: so that a margin made for hours leaves a 5-second token usable
_LONGEST_PAUSE = 300.0  # seconds: what an endpoint may ask for, and what a pause beside a good token grows to
_LEAST_SHARE = 1 / 10  # of a pause: what chance leaves of it at least
_LEAST_DUE_WINDOW = 1.0  # seconds between due and expired, or that share of the lifetime, if it is less
_draw = random.SystemRandom().random  # uWSGI would fork the state of random.random into every worker, unnoticed


class Window(NamedTuple):
    """The rest of a token's life, in seconds from the moment it was judged; infinite where it never expires."""

    due_in: float
    """Until it should be renewed; zero or less: it is due."""
    usable_for: float
    """Until it must not be sent any more; zero or less: it is expired."""


@final
@dataclass(frozen=True, kw_only=True)
class RefreshPolicy:
    """How eagerly tokens are renewed. All durations are seconds, or timedeltas, which become seconds.

    Args:
        lifetime_safe_fraction: The share of its lifetime after which a token is due; more than 0, at most 1. 0.8 by
            default.
        jitter: The largest share of its lifetime by which that moment is drawn forward at random; less than
            ``lifetime_safe_fraction``, or some tokens would be due from the start. 0.1 by default; 0: nothing is drawn.
        expiry_margin: A token with less left counts as expired; never more than a twentieth of its lifetime. 10
            by default; 0: it is sent until it expires.
        initial_safety_margin: A token found in the storage at the start with less left is due. None or 0: as any other.
        retry_safety_margin: A token found in the storage, at any time, is due when it has less left. None or 0: as any
            other.
        initial_retry_timeout: The back-off after a first failure; more than 0; 1 by default.
        max_retry_timeout: The longest back-off; also that after a permanent refusal. 60 by default.
        retry_timeout_exponent: What each further failure multiplies the back-off by. 1.5 by default; 1: it does
            not grow.
        refresh_request_timeout: How long one attempt may take in all, waiting for the storage's lock included; more
            than 0; 30 by default. The source is told a twentieth less, at most half a second, so that it fails
            before it counts as hung.
        lock_timeout: How long an attempt waits for the storage's lock before it goes on without; a good token that
            another stores meanwhile ends the wait. 10 by default; 0: it tries once. Where a refresh token would be
            spent it waits longer, until shortly before its end.
        storage_poll: How often the thread looks into the storage for a newer token. 300 by default; 0: never.
        min_renewal_interval: How old a renewed token must be for its rejection to cost another renewal. 1 by
            default; 0: each rejection may cost one.
        max_retries: How often a receiver lets one request try again. 2 by default; 0: never.
        idle_after: After so long without a call nothing is renewed ahead, until there is one. None: it never is idle.

    Raises:
        ConfigurationError: A value is not a finite number, or outside its range.

    Example:
        >>> policy = RefreshPolicy(refresh_request_timeout=10, max_retry_timeout=30)
        >>> policy.lifetime_safe_fraction
        0.8
    """

    lifetime_safe_fraction: float = 0.8
    jitter: float = 0.1
    expiry_margin: float | timedelta = 10.0
    initial_safety_margin: float | timedelta | None = None
    retry_safety_margin: float | timedelta | None = None
    initial_retry_timeout: float | timedelta = 1.0
    max_retry_timeout: float | timedelta = 60.0
    retry_timeout_exponent: float = 1.5
    refresh_request_timeout: float | timedelta = 30.0
    lock_timeout: float | timedelta = 10.0
    storage_poll: float | timedelta = 300.0
    min_renewal_interval: float | timedelta = 1.0
    max_retries: int = 2
    idle_after: float | timedelta | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).copy().items():
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, _checked(name, value))
        if self.seconds("max_retry_timeout") < self.seconds("initial_retry_timeout"):
            raise ConfigurationError("max_retry_timeout must not be less than initial_retry_timeout")
        if self.jitter >= self.lifetime_safe_fraction:
            raise ConfigurationError(
                "jitter must be less than lifetime_safe_fraction, or a new token may be due at once"
            )

    def seconds(self, name: str) -> float:
        """Return the duration called *name* in seconds; 0 where it is None."""
        value = getattr(self, name)
        return 0.0 if value is None else float(value)

    def window(
        self,
        token: Token,
        now: datetime,
        draw: Callable[[], float] = _draw,
        *,
        just_fetched: bool = False,
    ) -> Window:
        """Return when *token* will be due and expired, seen from *now*.

        There is always a while between the two. An endpoint's ``refresh_in`` is taken as it is.

        Args:
            token: Any token.
            now: Aware wall time.
            draw: Gives the random share of the jitter, from 0 to 1.
            just_fetched: The source gave it now and has no better one: where it would be due at once, what is left
                of its life counts as the whole, so that a source with a cache of its own is not asked in a loop.
        """
        window = self._window(token, now, draw)
        if not just_fetched or window.due_in > 0:
            return window
        left = replace(token, issued_at=None, extra={})
        due_in, usable_for = self._window(left, now, draw)
        return Window(max(due_in, self.seconds("min_renewal_interval")), usable_for)

    def _window(self, token: Token, now: datetime, draw: Callable[[], float]) -> Window:
        left = token.expires_in(now)
        if left is None:
            return Window(self._asked_due(token, now), math.inf)
        lifetime = self._lifetime(token, left)
        usable_for = left - self._margin(lifetime)
        due_in = self._asked_due(token, now)
        if due_in == math.inf:
            age = lifetime - left
            due_in = lifetime * (self.lifetime_safe_fraction - self.jitter * draw()) - age
        due_window = max(self._margin(lifetime), min(_LEAST_DUE_WINDOW, lifetime * _MARGIN_SHARE))
        return Window(min(due_in, usable_for - due_window), usable_for)

    def is_usable(self, token: Token, now: datetime) -> bool:
        """Return whether *token* may still be sent at *now*."""
        left = token.expires_in(now)
        if left is None:
            return True
        return left > self._margin(self._lifetime(token, left))

    def retry_delay(
        self,
        failures: int,
        error: BaseException | None,
        draw: Callable[[], float] = _draw,
        *,
        usable_for: float = 0.0,
    ) -> float:
        """Return how many seconds to wait after the *failures*-th failure in a row, whose cause was *error*.

        The back-off grows by ``retry_timeout_exponent`` and has full jitter, down to a tenth, so that a fleet does not
        return at once; ``retry_after`` raises it, up to 5 minutes. A permanent refusal waits the longest from the
        start: to ask again soon with the same wrong secret gets clients blocked. While a token is good for long, the
        pauses may grow beyond ``max_retry_timeout``, to a tenth of what is left and 5 minutes, and an outage is no
        siege; none is longer than half of what is left.

        Args:
            failures: 1 or more.
            error: What went wrong; None counts as transient.
            draw: Gives the random share of the back-off, from 0 to 1.
            usable_for: Seconds for which a token that is held may still be sent. 0: there is none.
        """
        longest = self.seconds("max_retry_timeout")
        if usable_for <= 0:
            return self._pause(failures, error, longest, draw)
        longest = max(longest, min(usable_for / 10, _LONGEST_PAUSE))
        return min(self._pause(failures, error, longest, draw), usable_for / 2)

    def _pause(self, failures: int, error: BaseException | None, longest: float, draw: Callable[[], float]) -> float:
        asked = _asked_delay(error)
        if isinstance(error, AuthenticationError) and not error.transient:
            return max(longest, asked)
        try:
            delay = min(longest, self.seconds("initial_retry_timeout") * self.retry_timeout_exponent ** (failures - 1))
        except OverflowError:
            delay = longest
        return max(delay * max(draw(), _LEAST_SHARE), asked)

    def _margin(self, lifetime: float) -> float:
        return min(self.seconds("expiry_margin"), lifetime * _MARGIN_SHARE)

    @staticmethod
    def _lifetime(token: Token, left: float) -> float:
        if token.issued_at is None or token.expires_at is None:
            return max(left, 0.0)
        return max((token.expires_at - token.issued_at).total_seconds(), left, 0.0)

    @staticmethod
    def _asked_due(token: Token, now: datetime) -> float:
        seconds = positive_seconds(token.extra.get("refresh_in"))
        if seconds is None:
            return math.inf
        age = (now - token.issued_at).total_seconds() if token.issued_at else 0.0
        return seconds - age


def _asked_delay(error: BaseException | None) -> float:
    # A user's source may say anything here; to stay away for ever would be a token lost to a slip.
    seconds = positive_seconds(error.retry_after) if isinstance(error, AuthenticationError) else None
    return min(seconds or 0.0, _LONGEST_PAUSE)


_OPTIONAL = {"initial_safety_margin", "retry_safety_margin", "idle_after"}
_POSITIVE = {
    "idle_after",
    "initial_retry_timeout",
    "max_retry_timeout",
    "refresh_request_timeout",
    "lifetime_safe_fraction",
}


def _checked(name: str, value: object) -> float | int:
    if name == "max_retries":
        if not is_count(value):
            raise ConfigurationError("max_retries must be a whole number, at least 0")
        return value
    number = seconds(name, value, zero=name not in _POSITIVE, infinite=False)
    if name in ("lifetime_safe_fraction", "jitter") and number > 1:
        raise ConfigurationError(f"{name} is a share of the lifetime and must not be more than 1")
    if name == "retry_timeout_exponent" and number < 1:
        raise ConfigurationError("retry_timeout_exponent must be at least 1, or the back-off would shrink")
    return number
