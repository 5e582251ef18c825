"""The token itself: an immutable value that never prints its secret.

How an endpoint's answer is read is :mod:`tokenkit._token_answers`' affair, and when a token should be renewed is
:mod:`tokenkit.policy`'s.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType, NoneType
from typing import Any, final

from tokenkit._checks import is_http_token, is_visible_ascii
from tokenkit._dataclasses import dataclass, field, replace
from tokenkit._token_answers import token_fields
from tokenkit.errors import MalformedResponseError

__all__ = ["Token"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@final
@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """One access token and what is known of it.

    Frozen, hashable and compared by value. Neither ``repr`` nor ``str`` shows a secret. Pickling or copying a token
    is the caller's own decision: the result holds the secret.

    Args:
        access_token: The credential; visible ASCII only, so that it cannot inject a header.
        token_type: The authentication scheme sent before it; 'Bearer' by default.
        expires_at: When it ceases to be valid, aware; None: never, as far as is known.
        issued_at: When its lifetime began, aware; None: unknown.
        refresh_token: What buys the next one (RFC 6749 section 6), or None.
        scope: Space-separated scopes, or None.
        extra: Whatever else came with it; kept read-only. Its values should be what JSON can hold.

    Raises:
        ValueError: The access token is empty or not visible ASCII, a datetime is naive, the type is no scheme, or
            the refresh token or the scope is no string.

    Example:
        >>> token = Token.of("abc", expires_in=3600)
        >>> token.authorization, token.is_expired()
        ('Bearer abc', False)
        >>> print(token)
        <Token Bearer ba7816bf expires_at=...>
    """

    access_token: str
    token_type: str = "Bearer"
    expires_at: datetime | None = None
    issued_at: datetime | None = None
    refresh_token: str | None = None
    scope: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, hash=False)
    authorization: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.access_token, str) or not is_visible_ascii(self.access_token):
            raise ValueError("access_token must be a non-empty string of visible ASCII characters")
        if not isinstance(self.token_type, str) or not is_http_token(self.token_type):
            raise ValueError("token_type must be an authentication scheme, such as 'Bearer'")
        for name in ("refresh_token", "scope"):
            if not isinstance(getattr(self, name), (str, NoneType)):
                raise ValueError(f"{name} must be a string, or None")
        for name in ("expires_at", "issued_at"):
            object.__setattr__(self, name, _as_utc(name, getattr(self, name)))
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))
        object.__setattr__(self, "authorization", f"{self.token_type} {self.access_token}")

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the SHA-256 of the access token: enough to match two log lines."""
        return hashlib.sha256(self.access_token.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        expiry = self.expires_at.isoformat() if self.expires_at else None
        return f"<Token {self.token_type} {self.fingerprint} expires_at={expiry}>"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return Token.from_dict, (self.to_dict(),)

    def expires_in(self, now: datetime | None = None) -> float | None:
        """Return the seconds from *now* (None: the system's time) to the expiry; None if there is none."""
        if self.expires_at is None:
            return None
        return (self.expires_at - _moment(now)).total_seconds()

    def is_expired(self, now: datetime | None = None, leeway: float | timedelta = 0) -> bool:
        """Return whether the token is expired at *now*, or will be within *leeway*.

        Args:
            now: An aware datetime; None: the system's time.
            leeway: Seconds, or a timedelta.
        """
        left = self.expires_in(now)
        seconds = leeway.total_seconds() if isinstance(leeway, timedelta) else leeway
        return left is not None and left <= seconds

    def with_ttl(self, ttl: timedelta | None, now: datetime | None = None) -> Token:
        """Return this token with its lifetime set to *ttl* from its issue (or from *now* where that is unknown).

        Args:
            ttl: The lifetime; None returns the token as it is.
            now: An aware datetime; None: the system's time.
        """
        if ttl is None:
            return self
        issued = self.issued_at or _moment(now)
        return replace(self, issued_at=issued, expires_at=issued + ttl)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, secrets included; datetimes as ISO 8601, absent fields left out."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in _DICT_FIELDS}
        for name in ("expires_at", "issued_at"):
            fields[name] = fields[name] and fields[name].isoformat()
        fields["extra"] = dict(self.extra) or None
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Token:
        """Return the token that :meth:`to_dict` described.

        Raises:
            ValueError: A field that a token needs is missing, or one is unusable; no value is quoted.
        """
        try:
            known = {name: fields[name] for name in _DICT_FIELDS if fields.get(name) is not None}
            for name in ("expires_at", "issued_at"):
                if name in known:
                    known[name] = datetime.fromisoformat(known[name])
            return cls(**known)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = type(error).__name__
        # Raised out here, so that an error that quotes a value is not even its context.
        raise ValueError(f"not a token's fields ({problem})")

    @classmethod
    def of(
        cls,
        access_token: str,
        *,
        expires_in: float | timedelta | None = None,
        token_type: str = "Bearer",
        now: datetime | None = None,
    ) -> Token:
        """Return a token of which only the text and the lifetime are known, as a function of yours may have it.

            return Token.of(client.login(), expires_in=3600)

        Args:
            access_token: The credential.
            expires_in: How long it is good from *now*, more than 0: seconds, or a timedelta. None: for ever.
            token_type: The authentication scheme sent before it.
            now: When it was issued, aware; None: the system's time.

        Raises:
            ValueError: As for the class; or *expires_in* is no such number.
        """
        issued = _moment(now)
        if expires_in is None:
            return cls(access_token, token_type, issued_at=issued)
        try:
            life = expires_in if isinstance(expires_in, timedelta) else timedelta(seconds=expires_in)
            ends = issued + life
        except (TypeError, ValueError, OverflowError):
            life = ends = None  # type: ignore[assignment]  # told below, without the value
        if life is None or isinstance(expires_in, bool) or life <= timedelta(0):
            raise ValueError("expires_in must be seconds or a timedelta, more than 0 and not past the year 9999")
        return cls(access_token, token_type, expires_at=ends, issued_at=issued)

    @classmethod
    def from_response(
        cls,
        answer: Mapping[str, Any],
        *,
        now: datetime | None = None,
        server_now: datetime | None = None,
        ttl: timedelta | None = None,
        default_token_type: str = "Bearer",
        default_lifetime: timedelta | None = None,
    ) -> Token:
        """Return the token that an OAuth 2.0 answer brings (RFC 6749 section 5.1).

        The lifetime is taken from *ttl*, else ``expires_in``, ``expires_on`` or ``expires_at``, else from the ``exp``
        claim of an access token that is a JWT (which is read, never trusted for anything else), else it is
        *default_lifetime*. Seconds count from *now*; with ``issued_at`` beside them, only what is left of them. Of an
        instant, what is left by the server's clock counts, and never more than the whole life that ``issued_at`` or
        the claim ``iat`` tells, so that a wrong clock here does no harm. Fields that this class does not name go to
        ``extra``.

        Args:
            answer: The decoded JSON object; left unchanged.
            now: When the answer came, aware; None: the system's time.
            server_now: When it was given by the server's clock (its ``Date``), aware; None: unknown.
            ttl: A lifetime that overrides the answer's; None believes the answer.
            default_token_type: The type where the answer names none.
            default_lifetime: The lifetime where the answer tells none; None: for ever.

        Raises:
            MalformedResponseError: There is no usable token in it; no value is quoted.
        """
        moment = _moment(now)
        if not isinstance(answer, Mapping):
            raise MalformedResponseError("the answer is not an object with fields")
        try:
            fields = token_fields(
                answer,
                now=moment,
                server_now=_as_utc("server_now", server_now),
                ttl=ttl,
                default_token_type=default_token_type,
                default_lifetime=default_lifetime,
            )
            token = cls(**fields)
        except KeyError:
            raise MalformedResponseError("the answer has no access_token") from None
        except OverflowError:
            raise MalformedResponseError("the token's lifetime ends after the year 9999; set ttl=") from None
        except ValueError as error:
            raise MalformedResponseError(f"the answer is not a usable token: {error}") from None
        if token.is_expired(moment):
            raise MalformedResponseError("the token is already expired; if its lifetime is wrong, set ttl=")
        return token


_DICT_FIELDS = ("access_token", "token_type", "expires_at", "issued_at", "refresh_token", "scope", "extra")


def _moment(now: datetime | None) -> datetime:
    if now is None:
        return datetime.fromtimestamp(time.time(), timezone.utc)
    return _as_utc("now", now)  # type: ignore[return-value]  # not None in, not None out


def _as_utc(name: str, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime; a naive one has no meaning here")
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{name} is outside the years 1 to 9999 in UTC") from None
