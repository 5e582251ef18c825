import json
import logging
import string
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenkit.errors import StorageError
from tokenkit.storage.codec import EntryReader, decode, encode, matches, retention
from tokenkit.tokens import Token

TOKEN = Token("s3cr3t", expires_at=datetime(2027, 1, 1, tzinfo=timezone.utc), extra={"name": "\u00e9\n"})
ENTRY = encode(TOKEN)


def test_form() -> None:
    """An entry is one line of ASCII JSON with a version, which any language can read."""
    expected = {
        "version": 1,
        "token": {
            "access_token": "s3cr3t",
            "token_type": "Bearer",
            "expires_at": "2027-01-01T00:00:00+00:00",
            "extra": {"name": "\u00e9\n"},
        },
    }
    assert expected == json.loads(ENTRY)
    assert ENTRY.isascii()
    assert 1 == len(ENTRY.splitlines())


@settings(deadline=None, max_examples=100, database=None)
@given(
    access_token=st.text(string.ascii_letters + "-._~+/=", min_size=1),
    expires_at=st.none() | st.datetimes(timezones=st.just(timezone.utc)),
    refresh_token=st.none() | st.text(),
    extra=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())),
)
def test_round_trip(**fields: Any) -> None:
    """Whatever a token holds, it is the same after a trip through an entry, as text or as bytes."""
    token = Token(**fields)
    assert token == decode(encode(token))
    assert token == decode(encode(token).encode())


def _cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


def _deep(levels: int = 100_000) -> list[Any]:
    nest: list[Any] = []
    for _ in range(levels):
        nest = [nest]
    return nest


@pytest.mark.parametrize("value", [object(), {1}, b"x", float("nan"), float("inf"), _cycle(), _deep()], ids=type)
def test_what_json_cannot_hold(value: Any) -> None:
    """A token whose extra JSON cannot hold is a StorageError that quotes nothing."""
    with pytest.raises(StorageError, match="cannot be written as JSON") as caught:
        encode(Token("s3cr3t", extra={"k3y": value}))
    assert not [secret for secret in ("s3cr3t", "k3y") if secret in str(caught.value)]


UNREADABLE: dict[str, Any] = {
    "empty": "",
    "no JSON": "s3cr3t",
    "cut short": ENTRY[:-5],
    "extra data": ENTRY + ENTRY,
    "a list": '["s3cr3t"]',
    "a text": '"s3cr3t"',
    "null": "null",
    "no version": '{"token": {"access_token": "s3cr3t"}}',
    "a later version": ENTRY.replace('"version":1', '"version":2'),
    "no token": '{"version": 1}',
    "token null": '{"version": 1, "token": null}',
    "token a text": '{"version": 1, "token": "s3cr3t"}',
    "token empty": '{"version": 1, "token": {"access_token": ""}}',
    "expiry out of range": ENTRY.replace("2027-01-01T00:00:00+00:00", "9999-12-31T23:59:59-05:00"),
    "expiry in another form": ENTRY.replace("2027-01-01T00:00:00+00:00", "s3cr3t"),
    "nested too deeply": "[" * 100_000,
    "a number of 5,000 digits": '{"version": 1' + "0" * 5000 + "}",
    "no UTF-8": b'{"version": 1, "s3cr3t": "\xff"}',
    "pickle": b"\x80\x04\x95s3cr3t",
    "not text": 5,
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_entry(text: Any) -> None:
    """What encode did not write is a StorageError that quotes nothing; not even its context has the entry."""
    with pytest.raises(StorageError) as caught:
        decode(text)
    assert "s3cr3t" not in f"{caught.value!r} {vars(caught.value)}"
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)


def test_strict_reader_takes_a_later_versions_entry_for_no_absence() -> None:
    """What a later version of tokenkit wrote may have the newest refresh token: a strict reader says what is there."""
    reader = EntryReader("file storage")
    with pytest.raises(StorageError, match="file storage: what is there cannot be read: a later version") as caught:
        reader.read("key", UNREADABLE["a later version"], strict=True)
    assert "s3cr3t" not in f"{caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("name", sorted(UNREADABLE.keys() - {"a later version"}))
def test_strict_reader_takes_junk_for_absent(name: str) -> None:
    """Junk is nobody's: there is no token in it for anyone."""
    assert EntryReader("file storage").read("key", UNREADABLE[name], strict=True) is None


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_reader_takes_the_unreadable_for_absent(text: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A reader finds nothing in an entry that does not decode, and says so once without its content or its key."""
    reader = EntryReader("file storage")
    assert [None, None] == [reader.read("tenant/s3cr3t", text) for _ in range(2)]
    assert [("tokenkit.storage", logging.WARNING)] == [record[:2] for record in caplog.record_tuples]
    assert caplog.text.count("file storage: an entry is ignored until it is overwritten") == 1
    assert "s3cr3t" not in caplog.text


def test_reader_logs_each_key_again_once_it_was_healed(caplog: pytest.LogCaptureFixture) -> None:
    """Another key is another story, and so is the same key after a good entry."""
    reader = EntryReader("file storage")
    for key, text in [("a", "?"), ("b", "?"), ("a", "?"), ("a", ENTRY), ("a", "?"), ("b", "?")]:
        reader.read(key, text)
    assert 3 == len(caplog.messages)


def test_reader_reads(caplog: pytest.LogCaptureFixture) -> None:
    """A reader returns the token of a good entry, and nothing for no entry, without a word."""
    reader = EntryReader("file storage")
    assert TOKEN == reader.read("a", ENTRY) == reader.read("a", ENTRY.encode())
    assert reader.read("b", None) is None
    assert [] == caplog.messages


def test_reader_rejects_for_a_reason_of_the_storage(caplog: pytest.LogCaptureFixture) -> None:
    """A storage that mistrusts an entry says why, once."""
    reader = EntryReader("file storage")
    reader.reject("a", "another user owns it")
    reader.reject("a", "another user owns it")
    assert [
        "file storage: an entry is ignored until it is overwritten: another user owns it [entry-ignored]"
    ] == caplog.messages


@pytest.mark.parametrize(
    ("stored", "expected", "same"),
    [
        (None, None, True),
        (TOKEN, None, False),
        (None, TOKEN, False),
        (TOKEN, decode(ENTRY), True),
        (TOKEN, Token("other"), False),
        (Token("t", extra={"roles": ["a"]}), Token("t", extra={"roles": ("a",)}), True),
    ],
)
def test_matches(stored: Token | None, expected: Token | None, same: bool) -> None:
    """An entry is the expected one if it is what became of it as JSON; absent is what None expects."""
    assert same is matches(stored, expected)


NOW = 1_800_000_000.0
LONG = 400 * 86400


def _token(lifetime: float, **fields: Any) -> Token:
    issued = datetime.fromtimestamp(NOW, timezone.utc)
    return Token("t0ken", issued_at=issued, expires_at=issued + timedelta(seconds=lifetime), **fields)


@pytest.mark.parametrize(
    ("token", "seconds"),
    [
        (Token("t0ken"), None),
        (Token("t0ken", refresh_token="r"), None),
        (_token(3600), 3601),
        (_token(0.5), 2),
        (_token(-10), 1),
        (_token(3600, extra={"refresh_expires_in": 7200}), 3601),
        (_token(3600, refresh_token="r"), LONG + 1),
        (_token(2 * LONG, refresh_token="r"), 2 * LONG + 1),
        *[
            (_token(3600, refresh_token="r", extra={"refresh_expires_in": value}), seconds + 1)
            for value, seconds in [
                (7200, 7200),
                ("7200", 7200),
                (60, 3600),
                (0, LONG),
                (True, LONG),
                (10**400, LONG),
                (1e18, 100 * 365 * 24 * 3600),
            ]
        ],
    ],
)
def test_retention(token: Token, seconds: int | None) -> None:
    """An entry is kept until its access token expired, or its refresh token if that lives longer, and a second more."""
    assert seconds == retention(token, NOW)


@pytest.mark.parametrize("name", ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"])
def test_retention_knows_the_names_of_a_refresh_tokens_lifetime(name: str) -> None:
    """An entry is kept as long as the endpoint says, by whichever of its names it says it."""
    token = _token(60, refresh_token="r", extra={name: 184 * 86400})
    assert 184 * 86400 + 1 == retention(token, NOW)


def test_retention_counts_from_the_issue() -> None:
    """A refresh token's lifetime counts from the issue where that is known, from now where it is not."""
    token = _token(60, refresh_token="r", extra={"refresh_expires_in": 7200})
    assert 7101 == retention(token, NOW + 100)
    unknown = Token("t0ken", expires_at=token.expires_at, refresh_token="r", extra=token.extra)
    assert 7201 == retention(unknown, NOW)
