"""Reading a token endpoint's answer (RFC 6749 section 5.1): which fields it has, and how long the token is good.

It returns plain fields and knows no token. A clock that is wrong here costs nothing where that can be told: seconds
count from the token's arrival, and an instant is compared with the answer's own ``Date``.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

__all__ = ["positive_seconds", "readable_instant", "token_fields"]

_ISO_8601 = r"\s*(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))?\s*(?:[Zz]|([+-]\d\d)(?::?(\d\d))?)\s*\Z"
# Azure's App Service up to its version 2017-09-01, with or without AM and PM.
_APP_SERVICE = r"(\d\d?)/(\d\d?)/(\d{4}) (\d\d?):(\d\d):(\d\d)(?: ([AP]M))? \+00:00\Z"
_INSTANTS = ("expires_on", "expires_at")
_KNOWN_FIELDS = frozenset({"access_token", "token_type", "expires_in", *_INSTANTS, "refresh_token", "scope"})
# Above it, a number is no lifetime but an instant since 1970, or milliseconds.
_LONGEST_LIFETIME = 1e9  # seconds: 31 years
_LATEST_INSTANT = 1e11  # seconds since 1970: the year 5138; above it, they are milliseconds


def token_fields(
    answer: Mapping[str, Any],
    *,
    now: datetime,
    server_now: datetime | None,
    ttl: timedelta | None,
    default_token_type: str,
    default_lifetime: timedelta | None,
) -> dict[str, Any]:
    """Return the fields of the token in *answer*, by the names that a token gives them.

    Args:
        answer: The decoded object.
        now: When it was asked for, by our clock.
        server_now: When it was given, by the server's clock; None: unknown.
        ttl: A lifetime that overrides the answer's.
        default_token_type: The type where the answer names none.
        default_lifetime: The lifetime where the answer tells none.

    Raises:
        KeyError: There is no access token.
        OverflowError: Its lifetime ends after the year 9999.
        ValueError: Something in it is unusable; no value is quoted.
    """
    access_token = answer["access_token"]
    life = ttl if ttl is not None else _lifetime(answer, now, server_now)
    if life is None:
        life = default_lifetime
    return {
        "access_token": access_token,
        "token_type": _canonical_type(answer.get("token_type") or default_token_type),
        "expires_at": None if life is None else now + life,
        "issued_at": now,
        "refresh_token": _text(answer, "refresh_token"),
        "scope": _scope(answer),
        "extra": {name: value for name, value in answer.items() if name not in _KNOWN_FIELDS},
    }


def positive_seconds(value: Any) -> float | None:
    """Return an answer's *value* as seconds if it is a finite number above 0, or a string of one; else None."""
    seconds = _number(value)
    return None if seconds is None or not 0 < seconds < math.inf else seconds


def readable_instant(value: Any) -> datetime | None:
    """Return the instant that *value* tells, as epoch seconds or a date with an offset; None where it tells none."""
    seconds = _number(value)
    try:
        return _from_text(value) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):  # which of them a bad day or year raises depends on the platform
        return None


def _lifetime(answer: Mapping[str, Any], now: datetime, server_now: datetime | None) -> timedelta | None:
    """Return how long the token is good from its arrival on; None where that is not told."""
    issued = _issue(answer)
    if _is_told(answer, "expires_in"):
        whole = _told_seconds(answer["expires_in"])
        left = None if issued is None else issued + whole - (server_now or now)
        # An endpoint may give a token again that it issued a while ago. Only what is left counts; but where nothing
        # seems to be, a clock is wrong.
        return whole if left is None or left <= timedelta(0) else min(whole, left)
    for name in _INSTANTS:
        if _is_told(answer, name):
            end = readable_instant(answer[name])
            if end is None:
                raise ValueError(
                    f"{name} is no time up to the year 9999, as epoch seconds or ISO 8601 with offset; set ttl="
                )
            return _left(end, issued, now, server_now)
    claims = _jwt_claims(answer["access_token"])
    expiry = _claimed_instant(claims, "exp")
    return None if expiry is None else _left(expiry, issued or _claimed_instant(claims, "iat"), now, server_now)


def _left(end: datetime, issued: datetime | None, now: datetime, server_now: datetime | None) -> timedelta:
    left = end - (server_now if server_now is not None and server_now < end else now)
    whole = timedelta(0) if issued is None else end - issued
    return min(left, whole) if whole > timedelta(0) else left


def _told_seconds(value: Any) -> timedelta:
    seconds = positive_seconds(value)
    if seconds is None:
        raise ValueError("expires_in is not a positive number of seconds; set ttl= to override it")
    if seconds > _LONGEST_LIFETIME:
        raise ValueError(
            "expires_in is too large a number of seconds for a lifetime; if it is an instant, read it as"
            " expires_at, else set ttl="
        )
    return timedelta(seconds=seconds)


def _is_told(answer: Mapping[str, Any], name: str) -> bool:
    return answer.get(name) not in (None, "")


def _issue(answer: Mapping[str, Any]) -> datetime | None:
    """Return the instant of issue that the answer tells; some tell it in milliseconds."""
    told = answer.get("issued_at")
    seconds = _number(told)
    return readable_instant(told if seconds is None or seconds < _LATEST_INSTANT else seconds / 1000)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _from_text(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    found = re.match(_APP_SERVICE, value.strip(), re.ASCII)
    if found is not None:
        month, day, year, hour, minute, second = map(int, found.groups()[:6])
        if found[7]:
            hour = hour % 12 + (12 if found[7] == "PM" else 0)
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    found = re.match(_ISO_8601, value, re.ASCII)
    if found is None:
        return None
    # Python 3.10's fromisoformat knows neither 'Z' nor a fraction that has not 3 or 6 digits.
    day_text, clock, fraction, hours, minutes = found.groups()
    text = f"{day_text}T{clock}.{(fraction or '0')[:6]:0<6}{hours or '+00'}:{minutes or '00'}"
    return datetime.fromisoformat(text).astimezone(timezone.utc)


def _jwt_claims(access_token: Any) -> Mapping[str, Any]:
    """Return the claims of a token that is a JWT, which are read and never trusted; none of any other."""
    parts = access_token.split(".") if isinstance(access_token, str) else []
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}  # an opaque token that happens to have two dots
    return claims if isinstance(claims, dict) else {}


def _claimed_instant(claims: Mapping[str, Any], name: str) -> datetime | None:
    return readable_instant(_number(claims.get(name)))


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
