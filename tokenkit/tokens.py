"""The token itself: an immutable value that never prints its secret.

Reading an endpoint's answer into one is here too, since RFC 6749 section 5.1 defines both. Judging when a token
should be renewed is left to :mod:`tokenkit.policy`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from types import MappingProxyType, NoneType
from typing import Any, final

from tokenkit.errors import MalformedResponseError

__all__ = ["Token", "positive_seconds"]

_ISO_8601 = re.compile(
    r"\s*(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))?\s*(?:[Zz]|([+-]\d\d)(?::?(\d\d))?)\s*\Z", re.ASCII
)
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+\Z")
_TOKEN_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # an auth-scheme: RFC 9110 section 11.1
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_LIFETIME_FIELDS = ("expires_in", "expires_on", "expires_at")
_KNOWN_FIELDS = frozenset({"access_token", "token_type", "refresh_token", "scope", *_LIFETIME_FIELDS})


@final
@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """One access token and what is known of it.

    Frozen, hashable and compared by value. Neither ``repr`` nor ``str`` shows a secret. Pickling or copying a token
    is the caller's own decision: the result holds the secret.

    Args:
        access_token: The credential; visible ASCII only, so that it cannot inject a header.
        token_type: The authentication scheme sent before it.
        expires_at: When it ceases to be valid, aware; None: never, as far as is known.
        issued_at: When its lifetime began, aware; None: unknown.
        refresh_token: What buys the next one (RFC 6749 section 6), or None.
        scope: Space-separated scopes, or None.
        extra: Whatever else came with it; kept read-only. Its values should be what JSON can hold.

    Raises:
        ValueError: The access token is empty or not visible ASCII, a datetime is naive, the type is no scheme, or
            the refresh token or the scope is no string.
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
        if not isinstance(self.access_token, str) or not _VISIBLE_ASCII.match(self.access_token):
            raise ValueError("access_token must be a non-empty string of visible ASCII characters")
        if not isinstance(self.token_type, str) or not _TOKEN_TYPE.match(self.token_type):
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
    def from_response(
        cls,
        answer: Mapping[str, Any],
        *,
        now: datetime | None = None,
        ttl: timedelta | None = None,
        default_token_type: str = "Bearer",
    ) -> Token:
        """Return the token that an OAuth 2.0 answer brings (RFC 6749 section 5.1).

        The lifetime is taken from *ttl*, else ``expires_in``, ``expires_on`` or ``expires_at``, else from the ``exp``
        claim of an access token that is a JWT (which is read, never trusted for anything else), else there is none.
        Fields that this class does not name go to ``extra``.

        Args:
            answer: The decoded JSON object; left unchanged.
            now: When the answer came, aware; None: the system's time.
            ttl: A lifetime that overrides the answer's; None believes the answer.
            default_token_type: The type where the answer names none.

        Raises:
            MalformedResponseError: There is no usable token in it; no value is quoted.
        """
        moment = _moment(now)
        if not isinstance(answer, Mapping):
            raise MalformedResponseError("the answer is not an object with fields")
        try:
            token = cls(
                access_token=answer["access_token"],
                token_type=_canonical_type(answer.get("token_type") or default_token_type),
                expires_at=moment + ttl if ttl is not None else _expiry(answer, moment),
                issued_at=moment,
                refresh_token=_text(answer, "refresh_token"),
                scope=_scope(answer),
                extra={name: value for name, value in answer.items() if name not in _KNOWN_FIELDS},
            )
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


def _canonical_type(token_type: Any) -> str:
    # RFC 6749 section 7.1 makes the type case-insensitive; some resource servers do not.
    if not isinstance(token_type, str):
        raise ValueError("token_type is not a string")
    return "Bearer" if token_type.lower() == "bearer" else token_type


def _text(answer: Mapping[str, Any], name: str) -> str | None:
    value = answer.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return value


def _scope(answer: Mapping[str, Any]) -> str | None:
    scope = answer.get("scope")
    if isinstance(scope, (list, tuple)) and all(isinstance(one, str) for one in scope):
        return " ".join(scope) or None  # seen in the wild, though RFC 6749 section 3.3 has a string
    return _text(answer, "scope")


def _expiry(answer: Mapping[str, Any], now: datetime) -> datetime | None:
    for name in _LIFETIME_FIELDS:
        value = answer.get(name)
        if value is None or value == "":
            continue
        if name != "expires_in":
            return _instant(name, value)
        seconds = positive_seconds(value)
        if seconds is None:
            raise ValueError("expires_in is not a positive number of seconds; set ttl= to override it")
        return now + timedelta(seconds=seconds)
    return _jwt_expiry(answer["access_token"])


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def positive_seconds(value: Any) -> float | None:
    """Return an answer's *value* as seconds if it is a finite number above 0, or a string of one; else None."""
    seconds = _number(value)
    return None if seconds is None or not 0 < seconds < math.inf else seconds


def _instant(name: str, value: Any) -> datetime:
    seconds = _number(value)
    try:
        moment = _from_iso_8601(value) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):  # which of them a bad day or year raises depends on the platform
        moment = None
    if moment is None:
        raise ValueError(f"{name} is no time up to the year 9999, as epoch seconds or ISO 8601 with offset; set ttl=")
    return moment


def _from_iso_8601(value: Any) -> datetime | None:
    found = _ISO_8601.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    # Python 3.10's fromisoformat knows neither 'Z' nor a fraction that has not 3 or 6 digits.
    day, clock, fraction, hours, minutes = found.groups()
    text = f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{hours or '+00'}:{minutes or '00'}"
    return datetime.fromisoformat(text).astimezone(timezone.utc)


def _jwt_expiry(access_token: Any) -> datetime | None:
    parts = access_token.split(".") if isinstance(access_token, str) else []
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        seconds = _number(claims.get("exp"))
        return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, AttributeError, OverflowError, OSError, RecursionError):
        return None  # an opaque token that happens to have two dots
