import base64
import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.zones import zone

from tokenkit._token_answers import positive_seconds
from tokenkit.errors import MalformedResponseError
from tokenkit.tokens import Token

NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)
EPOCH = int(NOW.timestamp())
HOUR = timedelta(hours=1)
SECRETS = ("s3cr3t-acc3ss", "s3cr3t-r3fr3sh", "s3cr3t-1d")


def _secret_token(**changes: Any) -> Token:
    access, refresh, identity = SECRETS
    token = Token(
        access, expires_at=NOW + HOUR, issued_at=NOW, refresh_token=refresh, scope="a b", extra={"id_token": identity}
    )
    return dataclasses.replace(token, **changes)


def _jwt(claims: Any) -> str:
    parts = [json.dumps({"alg": "none"}), claims if isinstance(claims, str) else json.dumps(claims), "sig"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


URL_SAFE_JWT = _jwt({"exp": EPOCH + 60, "name": "\u00fb\u00ff?>~" * 3, "raw": "~~~???>>>"})

# (what the answer has besides or instead of its access token, the seconds that the token lives; None: for ever)
LIFETIMES: dict[str, tuple[dict[str, Any], float | None]] = {
    "int": ({"expires_in": 3600}, 3600),
    "float": ({"expires_in": 3599.5}, 3599.5),
    "numeric string": ({"expires_in": "3600"}, 3600),
    "decimal string": ({"expires_in": "3600.0"}, 3600),
    "padded string": ({"expires_in": " 3600 "}, 3600),
    "a moment": ({"expires_in": 0.001}, 0.001),
    "years": ({"expires_in": 10 * 365 * 86400}, 10 * 365 * 86400),
    "none at all": ({}, None),
    "null": ({"expires_in": None}, None),
    "empty string": ({"expires_in": ""}, None),
    "null, then expires_on": ({"expires_in": None, "expires_on": EPOCH + 60}, 60),
    "expires_in counts before expires_at": ({"expires_at": EPOCH + 999, "expires_in": 60}, 60),
    "epoch in expires_on": ({"expires_on": EPOCH + 60}, 60),
    "epoch in expires_at": ({"expires_at": EPOCH + 60}, 60),
    "fractional epoch": ({"expires_at": EPOCH + 0.5}, 0.5),
    "epoch string": ({"expires_on": str(EPOCH + 60)}, 60),
    "Z": ({"expires_at": "2027-01-01T00:01:00Z"}, 60),
    "small z and t": ({"expires_at": "2027-01-01t00:01:00z"}, 60),
    "UTC offset": ({"expires_at": "2027-01-01T00:01:00+00:00"}, 60),
    "eastern offset": ({"expires_at": "2027-01-01T05:31:00+05:30"}, 60),
    "western offset": ({"expires_at": "2026-12-31T19:01:00-05:00"}, 60),
    "offset without colon": ({"expires_at": "2027-01-01T05:31:00+0530"}, 60),
    "offset of hours": ({"expires_at": "2026-12-31T19:01:00-05"}, 60),
    "space for T": ({"expires_at": "2027-01-01 00:01:00 +00:00"}, 60),
    "one digit of fraction": ({"expires_at": "2027-01-01T00:01:00.5Z"}, 60.5),
    "three digits": ({"expires_at": "2027-01-01T00:01:00.123-00:00"}, 60.123),
    "seven digits (.NET)": ({"expires_at": "2027-01-01T00:01:00.1234567Z"}, 60.123456),
    "twelve digits": ({"expires_at": "2027-01-01T00:01:00.123456789012Z"}, 60.123456),
    "comma for the fraction": ({"expires_at": "2027-01-01T00:01:00,25Z"}, 60.25),
    "JWT": ({"access_token": _jwt({"exp": EPOCH + 60})}, 60),
    "JWT with a fraction": ({"access_token": _jwt({"exp": EPOCH + 60.5})}, 60.5),
    "JWT with a string": ({"access_token": _jwt({"exp": str(EPOCH + 60)})}, 60),
    "JWT of the URL-safe alphabet": ({"access_token": URL_SAFE_JWT}, 60),
    "JWT with padding": ({"access_token": _jwt({"exp": EPOCH + 60}).replace(".", "==.", 1)}, 60),
    "JWT and a lifetime": ({"access_token": _jwt({"exp": EPOCH + 60}), "expires_in": 90}, 90),
    "JWT without exp": ({"access_token": _jwt({"sub": "me"})}, None),
    "JWT with exp null": ({"access_token": _jwt({"exp": None})}, None),
    "JWT with exp true": ({"access_token": _jwt({"exp": True})}, None),
    "JWT with exp a list": ({"access_token": _jwt({"exp": [1]})}, None),
    "JWT with exp NaN": ({"access_token": _jwt('{"exp": NaN}')}, None),
    "JWT with exp infinite": ({"access_token": _jwt('{"exp": Infinity}')}, None),
    "JWT with exp past year 9999": ({"access_token": _jwt({"exp": 10**12})}, None),
    "JWT with a huge exp": ({"access_token": _jwt({"exp": 10**400})}, None),
    "JWT with an exp of 5,000 digits": ({"access_token": _jwt('{"exp": 1' + "0" * 5000 + "}")}, None),
    "JWT that is a list": ({"access_token": _jwt([EPOCH])}, None),
    "JWT that is a text": ({"access_token": _jwt('"exp"')}, None),
    "JWT nested too deeply": ({"access_token": _jwt("[" * 100_000)}, None),
    "opaque with two dots": ({"access_token": "v2.local.opaque"}, None),
    "only two dots": ({"access_token": ".."}, None),
    "two dots and no base64": ({"access_token": "a.%%%%%.c"}, None),
    "two dots and no UTF-8": ({"access_token": "a._____w.c"}, None),
    "App Service, 24 hours": ({"expires_on": "01/01/2027 00:01:00 +00:00"}, 60),
    "App Service, AM": ({"expires_on": "1/1/2027 12:01:00 AM +00:00"}, 60),
    "App Service, PM": ({"expires_on": "1/1/2027 12:01:00 PM +00:00"}, 12 * 3600 + 60),
    "JWE of five parts": ({"access_token": _jwt({"exp": EPOCH + 60}) + ".x.y"}, None),
}


@pytest.mark.parametrize(("answer", "seconds"), LIFETIMES.values(), ids=LIFETIMES)
def test_lifetime_of_an_answer(answer: dict[str, Any], seconds: float | None) -> None:
    """A lifetime is read in every form that endpoints write it in; where there is none the token has no expiry."""
    token = Token.from_response({"access_token": "t0ken"} | answer, now=NOW)
    assert seconds == token.expires_in(NOW)
    assert NOW == token.issued_at


def _left(answer: dict[str, Any], *, server_is_ahead: float | None = None) -> float | None:
    server_now = None if server_is_ahead is None else NOW + timedelta(seconds=server_is_ahead)
    token = Token.from_response({"access_token": "t0ken"} | answer, now=NOW, server_now=server_now)
    return token.expires_in(NOW)


# (what the answer has, by how many seconds the server's clock is ahead of ours; None: it has no Date, the seconds left)
SKEWED: dict[str, tuple[dict[str, Any], float | None, float]] = {
    "exp, we are slow": ({"access_token": _jwt({"exp": EPOCH + 660})}, 360, 300),
    "exp, we are fast": ({"access_token": _jwt({"exp": EPOCH - 60})}, -360, 300),
    "expires_at, we are fast": ({"expires_at": EPOCH - 60}, -360, 300),
    "seconds, we are fast": ({"expires_in": 300}, -360, 300),
    "iat without a Date, we are slow": ({"access_token": _jwt({"iat": EPOCH + 360, "exp": EPOCH + 660})}, None, 300),
    "a Date after the expiry is none of this answer": ({"expires_at": EPOCH + 60}, 90, 60),
    "50 minutes old": ({"access_token": _jwt({"iat": EPOCH - 3000, "exp": EPOCH + 600})}, 0, 600),
    "50 minutes old, in seconds": ({"expires_in": 3600, "issued_at": "2026-12-31T23:10:00Z"}, 0, 600),
    "50 minutes old, we are fast": ({"expires_in": 3600, "issued_at": EPOCH - 4000}, -1000, 600),
    "issued in milliseconds": ({"expires_in": 3600, "issued_at": str(EPOCH * 1000)}, 0, 3600),
    "issued after its arrival": ({"expires_in": 3600, "issued_at": EPOCH + 100}, 0, 3600),
    "issued longer ago than it lives": ({"expires_in": 3600, "issued_at": EPOCH - 9999}, None, 3600),
    "issued at no time": ({"expires_in": 3600, "issued_at": "yesterday"}, 0, 3600),
}


@pytest.mark.parametrize(("answer", "ahead", "seconds"), SKEWED.values(), ids=SKEWED)
def test_a_lifetime_survives_a_wrong_clock(answer: dict[str, Any], ahead: float | None, seconds: float) -> None:
    """What is left counts by the server's clock where that is told, and is never more than the whole life."""
    assert seconds == _left(answer, server_is_ahead=ahead)


def test_an_untold_lifetime_has_a_default() -> None:
    """The default counts only where the answer and the token say nothing."""
    minute = timedelta(seconds=60)
    untold = Token.from_response({"access_token": "t0ken"}, now=NOW, default_lifetime=minute)
    told = Token.from_response({"access_token": "t0ken", "expires_in": 5}, now=NOW, default_lifetime=minute)
    assert NOW + minute == untold.expires_at
    assert NOW + timedelta(seconds=5) == told.expires_at


def test_a_token_of_a_text_and_a_lifetime() -> None:
    """A function that logs in by itself needs no datetimes."""
    token = Token.of("t0ken", expires_in=60, now=NOW)
    assert Token("t0ken", expires_at=NOW + timedelta(seconds=60), issued_at=NOW) == token
    assert token == Token.of("t0ken", expires_in=timedelta(minutes=1), now=NOW)
    assert Token.of("t0ken").expires_at is None


@pytest.mark.parametrize("seconds", [0, -1, True, "60", float("nan"), float("inf"), timedelta(0), 1e18])
def test_a_lifetime_that_is_none_is_refused(seconds: Any) -> None:
    """What is no number of seconds above 0 is told where it is given."""
    with pytest.raises(ValueError, match="expires_in must be"):
        Token.of("t0ken", expires_in=seconds)


@pytest.mark.parametrize(
    "answer",
    [
        {"expires_in": 60},
        {"expires_on": EPOCH + 60},
        {"expires_on": "2027-01-01T00:01:00Z"},
        {"expires_at": "2027-01-01T05:31:00+05:30"},
        {"access_token": _jwt({"exp": EPOCH + 60})},
    ],
)
@pytest.mark.parametrize("here", ["XST-5:30", "XST+8"])
def test_a_lifetime_is_the_same_in_every_zone(answer: dict[str, Any], here: str) -> None:
    """Local time plays no part in it, nor in how a token is stored."""
    with zone(here):
        token = Token.from_response({"access_token": "t0ken"} | answer, now=NOW)
        assert 60 == token.expires_in(NOW)
        assert token == Token.from_dict(token.to_dict())
        assert "expires_at=2027-01-01T00:01:00+00:00" in repr(token)


@pytest.mark.parametrize("here", ["XST-5:30", "XST+8"])
def test_now_is_now_in_every_zone(here: str) -> None:
    """Where no moment is given, it is the system's."""
    with zone(here):
        token = Token.from_response({"access_token": "t0ken", "expires_in": 600})
        issued = Token("t0ken").with_ttl(timedelta(seconds=600)).issued_at
        assert 0 < token.expires_in() <= 600
        assert not token.is_expired()
    assert abs((token.issued_at - datetime.now(timezone.utc)).total_seconds()) < 600
    assert abs((issued - token.issued_at).total_seconds()) < 600


UNUSABLE_LIFETIMES: dict[str, dict[str, Any]] = {
    "zero": {"expires_in": 0},
    "zero as a string": {"expires_in": "0"},
    "negative": {"expires_in": -3600},
    "negative string": {"expires_in": "-1"},
    "less than a microsecond": {"expires_in": 1e-9},
    "true": {"expires_in": True},
    "false": {"expires_in": False},
    "NaN": {"expires_in": float("nan")},
    "NaN as a string": {"expires_in": "nan"},
    "infinity": {"expires_in": float("inf")},
    "infinity as a string": {"expires_in": "Infinity"},
    "too large for a float": {"expires_in": "1e999"},
    "huge integer": {"expires_in": 10**400},
    "past year 9999": {"expires_in": 8000 * 366 * 86400},
    "past any date": {"expires_in": 10**18},
    "words": {"expires_in": "one hour"},
    "list": {"expires_in": [3600]},
    "object": {"expires_in": {"seconds": 3600}},
    "epoch of the past": {"expires_on": EPOCH - 1},
    "epoch of now": {"expires_on": EPOCH},
    "epoch zero": {"expires_on": 0},
    "negative epoch": {"expires_on": -1},
    "epoch true": {"expires_on": True},
    "epoch NaN": {"expires_on": float("nan")},
    "epoch infinite": {"expires_at": "inf"},
    "epoch in milliseconds": {"expires_on": EPOCH * 1000},
    "huge epoch": {"expires_on": 10**400},
    "huge epoch string": {"expires_on": "9" * 30},
    "naive ISO 8601": {"expires_at": "2027-01-01T00:01:00"},
    "ISO 8601 of the past": {"expires_at": "2026-12-31T23:59:59Z"},
    "no such day": {"expires_at": "2027-02-30T00:00:00Z"},
    "no such offset": {"expires_at": "2027-01-01T00:01:00+99:00"},
    "past year 9999 in UTC": {"expires_at": "9999-12-31T23:59:59-05:00"},
    "other digits": {"expires_at": "\u0662\u0660\u0662\u0667-01-01T00:01:00Z"},
    "a date alone": {"expires_at": "2027-01-02"},
    "words for a time": {"expires_at": "tomorrow"},
    "object for a time": {"expires_at": {"seconds": 1}},
    "JWT of the past": {"access_token": _jwt({"exp": EPOCH - 1})},
}


@pytest.mark.parametrize("answer", UNUSABLE_LIFETIMES.values(), ids=UNUSABLE_LIFETIMES)
def test_unusable_lifetime(answer: dict[str, Any]) -> None:
    """A lifetime that is over, or no lifetime, is refused with a word about ttl=, which then overrides it."""
    answer = {"access_token": "t0ken", **answer}
    with pytest.raises(MalformedResponseError, match="set ttl="):
        Token.from_response(answer, now=NOW)
    assert NOW + HOUR == Token.from_response(answer, now=NOW, ttl=HOUR).expires_at


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(5, 5), (0.5, 0.5), (" 5.5 ", 5.5)]
    + [(value, None) for value in (0, -1, True, None, "", "soon", "nan", "inf", 10**400, [5], b"5")],
)
def test_positive_seconds(value: Any, seconds: float | None) -> None:
    """A duration is a finite number above 0, or its text; whatever else an endpoint sends is none."""
    assert seconds == positive_seconds(value)


UNUSABLE_ANSWERS: dict[str, Any] = {
    "no token": {},
    "another name": {"token": "s3cr3t"},
    "null": {"access_token": None},
    "empty": {"access_token": ""},
    "number": {"access_token": 1234567},
    "bytes": {"access_token": b"s3cr3t"},
    "object": {"access_token": {"value": "s3cr3t"}},
    "carriage return": {"access_token": "s3cr3t\r\nX-Admin: 1"},
    "final newline": {"access_token": "s3cr3t\n"},
    "space": {"access_token": "s3cr3t s3cr3t"},
    "tab": {"access_token": "s3cr3t\t"},
    "NUL": {"access_token": "s3cr3t\0"},
    "DEL": {"access_token": "s3cr3t\x7f"},
    "accent": {"access_token": "s3cr3t\u00e9"},
    "line separator": {"access_token": "s3cr3t\u2028"},
    "surrogate": {"access_token": "s3cr3t\ud800"},
    "accents in three parts": {"access_token": "s3cr3t.\u00e9\u00e9\u00e9\u00e9.x"},
    "type with a newline": {"access_token": "t0ken", "token_type": "s3cr3t\n"},
    "type of two words": {"access_token": "t0ken", "token_type": "s3cr3t 1"},
    "type a list": {"access_token": "t0ken", "token_type": ["s3cr3t"]},
    "refresh token a number": {"access_token": "t0ken", "refresh_token": 1234567},
    "scope a number": {"access_token": "t0ken", "scope": 1234567},
    "scope of numbers": {"access_token": "t0ken", "scope": [1234567]},
    "a list": ["s3cr3t"],
    "a text": "s3cr3t",
    "null answer": None,
}


@pytest.mark.parametrize("answer", UNUSABLE_ANSWERS.values(), ids=UNUSABLE_ANSWERS)
def test_unusable_answer(answer: Any) -> None:
    """An answer without a usable token is a MalformedResponseError that quotes nothing of it, its chain included."""
    with pytest.raises(MalformedResponseError) as caught:
        Token.from_response(answer, now=NOW, ttl=HOUR)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cr3t" not in f"{error!r} {vars(error)}"
        assert "1234567" not in f"{error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


ODD_FIELDS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "no type": ({}, "token_type", "Bearer"),
    "type null": ({"token_type": None}, "token_type", "Bearer"),
    "type empty": ({"token_type": ""}, "token_type", "Bearer"),
    "type in small letters": ({"token_type": "bearer"}, "authorization", "Bearer t0ken"),
    "type in capitals": ({"token_type": "BEARER"}, "authorization", "Bearer t0ken"),
    "another type": ({"token_type": "DPoP"}, "authorization", "DPoP t0ken"),
    "scope": ({"scope": "read write"}, "scope", "read write"),
    "scope a list": ({"scope": ["read", "write"]}, "scope", "read write"),
    "scope an empty list": ({"scope": []}, "scope", None),
    "scope null": ({"scope": None}, "scope", None),
    "scope empty": ({"scope": ""}, "scope", None),
    "refresh token": ({"refresh_token": "r"}, "refresh_token", "r"),
    "refresh token null": ({"refresh_token": None}, "refresh_token", None),
    "refresh token empty": ({"refresh_token": ""}, "refresh_token", None),
    "refresh_in": ({"refresh_in": 1800}, "extra", {"refresh_in": 1800}),
    "id_token": ({"id_token": "i"}, "extra", {"id_token": "i"}),
    "unknown fields": ({"x": [1], "y": None}, "extra", {"x": [1], "y": None}),
    "nothing else": ({"expires_in": 5, "expires_on": None, "expires_at": ""}, "extra", {}),
}


@pytest.mark.parametrize(("answer", "name", "value"), ODD_FIELDS.values(), ids=ODD_FIELDS)
def test_fields_of_an_answer(answer: dict[str, Any], name: str, value: Any) -> None:
    """Absent, null and empty mean the same; 'bearer' is sent as 'Bearer'; what has no name of its own goes to extra."""
    assert value == getattr(Token.from_response({"access_token": "t0ken"} | answer, now=NOW), name)


def test_an_answer_is_left_unchanged() -> None:
    """Reading an answer changes nothing in it, and changing it later changes nothing in the token."""
    answer: dict[str, Any] = {"access_token": "t0ken", "expires_in": "60", "tenant": "a"}
    before = copy.deepcopy(answer)
    token = Token.from_response(MappingProxyType(answer), now=NOW, default_token_type="bearer")
    assert before == answer
    answer["tenant"] = "b"
    assert ({"tenant": "a"}, "Bearer") == (token.extra, token.token_type)


def test_an_answer_of_now() -> None:
    """Without a moment given, an answer came just now by the system's clock."""
    token = Token.from_response({"access_token": "t0ken", "expires_in": 3600})
    assert 3500 < token.expires_in() <= 3600
    assert not token.is_expired()
    with pytest.raises(ValueError, match="now must be an aware datetime"):
        Token.from_response({"access_token": "t0ken"}, now=datetime(2027, 1, 1))  # noqa: DTZ001  # naive on purpose


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta.max])
def test_an_unusable_ttl(ttl: timedelta) -> None:
    """A ttl that makes no valid token is refused as an answer's lifetime is."""
    with pytest.raises(MalformedResponseError, match="ttl="):
        Token.from_response({"access_token": "t0ken"}, now=NOW, ttl=ttl)


BAD_ARGUMENTS = [
    ("access_token", ""),
    ("access_token", None),
    ("access_token", "s3cr3t\r\n"),
    ("token_type", ""),
    ("token_type", None),
    ("token_type", "Bear er"),
    ("expires_at", datetime(2027, 1, 1)),  # noqa: DTZ001  # naive on purpose
    ("issued_at", datetime(2027, 1, 1)),  # noqa: DTZ001  # naive on purpose
    ("expires_at", "2027-01-01"),
    ("refresh_token", 5),
    ("refresh_token", b"s3cr3t"),
    ("scope", ["s3cr3t"]),
    ("expires_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))),
    ("issued_at", datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))),
]


@pytest.mark.parametrize(("name", "value"), BAD_ARGUMENTS)
def test_bad_arguments(name: str, value: Any) -> None:
    """A naive datetime, a credential that could inject a header, and a type that is no scheme are refused by name."""
    with pytest.raises(ValueError, match=name) as caught:
        Token(**{"access_token": "t0ken"} | {name: value})
    assert "s3cr3t" not in str(caught.value)


def test_datetimes_become_utc() -> None:
    """An aware datetime of any zone is kept as the same moment in UTC."""
    token = Token("t0ken", expires_at=datetime(2027, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))))
    assert NOW == token.expires_at
    assert timezone.utc is token.expires_at.tzinfo


def test_expiry() -> None:
    """A token is expired from the very moment of its expiry on, or the leeway before; never, where it has none."""
    token = _secret_token()
    assert 3600 == token.expires_in(NOW)
    assert -1 == token.expires_in(NOW + HOUR + timedelta(seconds=1))
    assert not token.is_expired(NOW + HOUR - timedelta(microseconds=1))
    assert token.is_expired(NOW + HOUR)
    assert token.is_expired(NOW, leeway=3600) == token.is_expired(NOW, leeway=HOUR) is True
    assert not token.is_expired(NOW, leeway=3599)
    assert Token("t0ken").expires_in(NOW) is None
    assert not Token("t0ken").is_expired(NOW, leeway=1e9)
    with pytest.raises(ValueError, match="now"):
        token.is_expired(datetime(2027, 1, 1))  # noqa: DTZ001  # naive on purpose


def test_with_ttl() -> None:
    """A lifetime counts from the token's issue, or from now where that is unknown; none leaves the token as it is."""
    token = Token("t0ken", issued_at=NOW)
    assert NOW + HOUR == token.with_ttl(HOUR).expires_at
    later = Token("t0ken").with_ttl(HOUR, now=NOW)
    assert (NOW, NOW + HOUR) == (later.issued_at, later.expires_at)
    assert token is token.with_ttl(None)


CHANGES = [
    {"access_token": "other"},
    {"token_type": "DPoP"},
    {"expires_at": None},
    {"issued_at": None},
    {"refresh_token": None},
    {"scope": None},
    {"extra": {"id_token": "other"}},
    {"extra": {}},
]


def test_equality_is_by_value() -> None:
    """Tokens with the same fields are equal and hash alike, whatever their extra holds."""
    one, other = _secret_token(extra={"roles": ["a"]}), _secret_token(extra=MappingProxyType({"roles": ["a"]}))
    assert one == other
    assert hash(one) == hash(other)
    assert 1 == len({one, other})
    assert one != "s3cr3t-acc3ss"


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_every_field_tells_tokens_apart(changes: dict[str, Any]) -> None:
    """Tokens that differ in one field, one of extra included, are not equal."""
    assert _secret_token() != _secret_token(**changes)


def test_frozen_and_slotted() -> None:
    """No field of a token can be set, deleted or added, and extra is read-only and nobody else's dict."""
    extra = {"a": 1}
    token = Token("t0ken", extra=extra)
    for name in ("access_token", "authorization", "brand_new"):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(token, name, "other")
    with pytest.raises(dataclasses.FrozenInstanceError):
        del token.access_token
    with pytest.raises(TypeError):
        token.extra["a"] = 2
    extra["a"] = 2
    assert {"a": 1} == token.extra
    assert not hasattr(token, "__dict__")


def test_authorization_is_made_once() -> None:
    """The header's value is the same object each time it is asked for."""
    token = Token("t0ken")
    assert "Bearer t0ken" == token.authorization
    assert token.authorization is token.authorization


def test_repr_shows_what_matches_log_lines() -> None:
    """A token shows its type, its fingerprint and its expiry, so that two log lines can be matched."""
    assert "<Token Bearer b46c0967 expires_at=2027-01-01T01:00:00+00:00>" == repr(_secret_token(access_token="t0ken"))
    assert "<Token Bearer b46c0967 expires_at=None>" == str(Token("t0ken"))
    assert "b46c0967" == Token("t0ken").fingerprint


@dataclasses.dataclass
class _Holder:
    token: Token


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        ascii,
        "%s".__mod__,
        "%r".__mod__,
        "{0} {0!r}".format,
        pprint.pformat,
        lambda token: repr([token, {"t": token}, (token,), {token}]),
        lambda token: repr(_Holder(token)),
        lambda token: pprint.pformat([_Holder(token)] * 9, width=1),
        lambda token: logging.makeLogRecord({"msg": "%s %r", "args": (token, token)}).getMessage(),
    ],
)
def test_nothing_that_shows_a_token_shows_a_secret(show: Any) -> None:
    """Neither a token nor anything that contains one shows an access, refresh or ID token."""
    shown = show(_secret_token())
    assert not [secret for secret in SECRETS if secret in shown]
    assert _secret_token().fingerprint in shown


@pytest.mark.parametrize("flatten", [dataclasses.asdict, dataclasses.astuple])
@pytest.mark.parametrize("holder", [_secret_token(), _Holder(_secret_token())], ids=["token", "holder"])
def test_a_token_is_not_flattened_by_accident(flatten: Any, holder: Any) -> None:
    """A dataclass with a token in it is not turned into plain values with a secret among them; to_dict is for that."""
    with pytest.raises(TypeError) as caught:
        flatten(holder)
    lines = "".join(traceback.format_exception_only(caught.type, caught.value))
    assert not [secret for secret in SECRETS if secret in lines]


def _through_pickle(token: Token) -> Token:
    return pickle.loads(pickle.dumps(token))


@pytest.mark.parametrize("duplicate", [_through_pickle, copy.copy, copy.deepcopy], ids=lambda f: f.__name__)
def test_duplicates(duplicate: Any) -> None:
    """A token pickles and copies into an equal one, frozen as well, with all that its extra holds."""
    token = _secret_token(extra={"roles": ["a"], "when": NOW})
    other = duplicate(token)
    assert token == other
    assert token.authorization == other.authorization
    with pytest.raises(TypeError):
        other.extra["a"] = 2


VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
LOCAL = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1))  # noqa: DTZ001  # a zone is added below
ZONES = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
MOMENTS = st.none() | st.builds(lambda local, zone: local.replace(tzinfo=zone), LOCAL, ZONES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TOKENS = st.builds(
    Token,
    access_token=VISIBLE,
    token_type=st.sampled_from(["Bearer", "DPoP", "N_A"]),
    expires_at=MOMENTS,
    issued_at=MOMENTS,
    refresh_token=st.none() | st.text(),
    scope=st.none() | st.text(),
    extra=st.dictionaries(st.text(), JSON, max_size=4),
)


@settings(deadline=None, max_examples=100, database=None)
@given(TOKENS)
def test_dict_round_trip(token: Token) -> None:
    """Whatever a token holds, it is the same after a trip through its dict, and through JSON."""
    assert token == Token.from_dict(token.to_dict())
    assert token == Token.from_dict(json.loads(json.dumps(token.to_dict())))


def test_dict_leaves_out_what_is_absent() -> None:
    """The dict of a bare token names its credential and its type, and moments are texts."""
    assert {"access_token": "t0ken", "token_type": "Bearer"} == Token("t0ken").to_dict()
    assert "2027-01-01T00:00:00+00:00" == Token("t0ken", issued_at=NOW).to_dict()["issued_at"]


UNUSABLE_FIELDS: dict[str, Any] = {
    "nothing": {},
    "no token": {"token_type": "Bearer"},
    "null token": {"access_token": None},
    "token with a newline": {"access_token": "s3cr3t\n"},
    "naive expiry": {"access_token": "s3cr3t", "expires_at": "2027-01-01T00:00:00"},
    "expiry out of range": {"access_token": "s3cr3t", "expires_at": "9999-12-31T23:59:59-05:00"},
    "expiry of words": {"access_token": "s3cr3t", "expires_at": "s3cr3t"},
    "expiry a number": {"access_token": "s3cr3t", "expires_at": 5},
    "refresh token a number": {"access_token": "s3cr3t", "refresh_token": 5},
    "scope a list": {"access_token": "s3cr3t", "scope": ["s3cr3t"]},
    "extra a number": {"access_token": "s3cr3t", "extra": 5},
    "extra a text": {"access_token": "s3cr3t", "extra": "s3cr3t"},
    "a list": ["s3cr3t"],
    "a text": "s3cr3t",
    "null": None,
}


@pytest.mark.parametrize("fields", UNUSABLE_FIELDS.values(), ids=UNUSABLE_FIELDS)
def test_unusable_dict(fields: Any) -> None:
    """What is not a token's dict is a ValueError that quotes nothing and has no cause or context that could."""
    with pytest.raises(ValueError, match="not a token's fields") as caught:
        Token.from_dict(fields)
    assert "s3cr3t" not in str(caught.value)
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)
