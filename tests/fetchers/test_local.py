"""Sources that ask no network."""

import base64
import json
import math
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.zones import zone

from tokenkit.contracts import FetchContext
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError
from tokenkit.fetchers import (
    CallableTokenFetcher,
    EnvTokenFetcher,
    FileTokenFetcher,
    StaticTokenFetcher,
    StoredTokenFetcher,
)
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock
from tokenkit.tokens import Token

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)


def jwt(exp: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


# Static


def test_a_static_token_is_returned() -> None:
    """Given as a string or as a Token."""
    assert Token("a") == StaticTokenFetcher("a").fetch()
    assert Token("a", "Custom") == StaticTokenFetcher(Token("a", "Custom")).fetch()


def test_a_static_token_that_expired_is_none() -> None:
    """There is no other to be had."""
    with pytest.raises(AuthenticationError, match="expired") as caught:
        StaticTokenFetcher(Token("a", expires_at=PAST), name="mine").fetch()
    assert "mine" == caught.value.step_name


def test_a_static_token_may_be_given_a_lifetime() -> None:
    """Counted from each fetch where its issue is unknown."""
    token = StaticTokenFetcher("a", ttl=timedelta(seconds=50)).fetch()
    assert 45 < token.expires_in() <= 50  # type: ignore[operator]  # not None


@pytest.mark.parametrize("token", ["", "two words", "canary\n", None, 7])
def test_what_is_no_token_is_refused_at_once(token: Any) -> None:
    """Without quoting it."""
    with pytest.raises(ConfigurationError) as caught:
        StaticTokenFetcher(token)
    assert "canary" not in str(caught.value)


# Callable


def test_a_function_gives_the_token() -> None:
    """It is called with the context only where it takes one."""
    context = FetchContext({"app": Token("inner")})
    assert "a" == CallableTokenFetcher(lambda: Token("a")).fetch(context).access_token
    assert "inner" == CallableTokenFetcher(lambda steps: steps["app"]).fetch(context).access_token
    assert "0" == CallableTokenFetcher(lambda steps: Token(str(len(steps)))).fetch().access_token


def test_a_function_may_be_given_a_lifetime() -> None:
    """It overrides the token's own."""
    token = CallableTokenFetcher(lambda: Token("a"), ttl=timedelta(seconds=50)).fetch()
    assert 45 < token.expires_in() <= 50  # type: ignore[operator]  # not None


def test_what_a_function_raises_goes_on() -> None:
    """It is the user's own error."""
    with pytest.raises(ZeroDivisionError):
        CallableTokenFetcher(lambda: 1 / 0).fetch()  # type: ignore[arg-type,return-value]  # never returns


def test_a_function_that_returns_no_token_is_named() -> None:
    """By the type of what it returned, not its value."""
    with pytest.raises(MalformedResponseError, match="returned list") as caught:
        CallableTokenFetcher(lambda: ["canary"], name="mine").fetch()  # type: ignore[arg-type,return-value]  # on purpose
    assert ("mine", False) == (caught.value.step_name, "canary" in str(caught.value))


def test_a_function_may_return_a_text_or_an_answer() -> None:
    """A string is an access token; a mapping is what a token endpoint would have answered."""
    assert "t" == CallableTokenFetcher(lambda: "t").fetch().access_token
    assert HOUR == lifetime(CallableTokenFetcher(lambda: {"access_token": "t", "expires_in": 3600}).fetch())
    assert HOUR == lifetime(CallableTokenFetcher(lambda: "t", ttl=HOUR).fetch())


@pytest.mark.parametrize(
    ("value", "advice"), [("token", "StaticTokenFetcher"), (Token("t"), "StaticTokenFetcher"), (5, "int")]
)
def test_what_is_no_function_is_told_what_to_use(value: Any, advice: str) -> None:
    """A token at hand needs no function."""
    with pytest.raises(ConfigurationError, match=advice):
        CallableTokenFetcher(value)


HOUR = timedelta(hours=1)


def lifetime(token: Token) -> timedelta:
    assert token.expires_at is not None
    assert token.issued_at is not None
    return token.expires_at - token.issued_at


# Environment


def test_the_environment_is_read_at_each_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """White space around the token does not count."""
    source = EnvTokenFetcher("MY_TOKEN")
    for token in ("one", "two"):
        monkeypatch.setenv("MY_TOKEN", f" {token}\n")
        assert token == source.fetch().access_token


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    """Another try would not help."""
    monkeypatch.delenv("MY_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_TOKEN", value)
    with pytest.raises(AuthenticationError, match="MY_TOKEN") as caught:
        EnvTokenFetcher("MY_TOKEN").fetch()
    assert not caught.value.transient


def test_what_a_variable_holds_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is no token."""
    monkeypatch.setenv("MY_TOKEN", "canary canary")
    with pytest.raises(MalformedResponseError) as caught:
        EnvTokenFetcher("MY_TOKEN").fetch()
    assert ("env", False) == (caught.value.step_name, "canary" in str(caught.value))


# File


def test_a_file_is_read_at_each_fetch(tmp_path: Path) -> None:
    """Also where its link was swapped, as Kubernetes does."""
    link = tmp_path / "token"
    source = FileTokenFetcher(link)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(f"{name}\n")
        (tmp_path / "next").symlink_to(tmp_path / name / "token")
        (tmp_path / "next").replace(link)
        assert name == source.fetch().access_token


def test_a_jwt_in_a_file_expires_by_its_claim(tmp_path: Path) -> None:
    """And a manager is told to look again long before."""
    expiry = int(time.time()) + 600
    path = tmp_path / "token"
    path.write_text(jwt(expiry))
    token = FileTokenFetcher(str(path), reread=timedelta(seconds=30)).fetch()
    assert token.expires_at == datetime.fromtimestamp(expiry, timezone.utc)
    assert 30 == token.extra["refresh_in"]


@pytest.mark.parametrize("here", ["XST-5:30", "XST+8"])
def test_local_time_plays_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    """A JWT that is good for ten more minutes is so wherever this is, and was issued now."""
    path = tmp_path / "token"
    path.write_text(jwt(time.time() + 600))
    monkeypatch.setenv("MY_TOKEN", path.read_text())
    with zone(here):
        static = StaticTokenFetcher("a", ttl=timedelta(seconds=600))
        for source in (FileTokenFetcher(path), EnvTokenFetcher("MY_TOKEN"), static):
            token = source.fetch()
            assert 0 < token.expires_in() <= 600
            assert abs((token.issued_at - datetime.now(timezone.utc)).total_seconds()) < 600


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two words", b"\xff\xfe", b"a" * (1 << 21), "expired"])
def test_a_file_without_a_good_token_may_have_one_later(tmp_path: Path, content: Any) -> None:
    """The error is transient, names the file or the fault, and quotes nothing."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(jwt(time.time() - 5).encode() if content == "expired" else content)
    with pytest.raises(AuthenticationError) as caught:
        FileTokenFetcher(path, name="mine").fetch()
    assert ("mine", True) == (caught.value.step_name, caught.value.transient)
    assert caught.value.__context__ is None
    assert "words" not in str(caught.value)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, FakeClock, TokenManager]]:
    """A file, a clock that shows the time of day at first, and a manager of what the file holds."""
    path, clock = tmp_path / "token", FakeClock(time.time())
    source = FileTokenFetcher(path, reread=300)
    path.write_text("one")
    with closing(TokenManager(source, policy=RefreshPolicy(jitter=0), clock=clock)) as manager:
        assert "one" == manager.get_token().access_token
        yield path, clock, manager


def pass_time(clock: FakeClock, seconds: float) -> None:
    """Let time pass for the manager's idle thread, and wait until it has done what it had to do."""
    clock.wait_until_parked(1)
    clock.advance(seconds)
    clock.wait_until_parked(1)


def test_a_manager_finds_a_changed_file(watched: tuple[Path, FakeClock, TokenManager]) -> None:
    """Behind its callers, and not before *reread* is over."""
    path, clock, manager = watched
    path.write_text("two")
    for seconds, token in ((20, "one"), (20, "one"), (20, "one"), (350, "two")):
        pass_time(clock, seconds)
        assert token == manager.current.access_token


def test_a_manager_keeps_the_last_good_token(watched: tuple[Path, FakeClock, TokenManager]) -> None:
    """Where the file is gone, or half written, when it looks; and finds the next one all the same."""
    path, clock, manager = watched
    path.unlink()
    pass_time(clock, 400)
    assert "one" == manager.get_token().access_token
    path.write_text("half a token")
    pass_time(clock, 60)
    assert "one" == manager.get_token().access_token
    path.write_text("two")
    pass_time(clock, 60)
    assert "two" == manager.get_token().access_token


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """The system's word for it is passed on."""
    with pytest.raises(AuthenticationError, match="Is a directory"):
        FileTokenFetcher(tmp_path).fetch()


# Storage


def test_a_stored_token_is_returned() -> None:
    """Until there is none, or an expired one; another program may put one there."""
    storage = InMemoryTokenStorage()
    source = StoredTokenFetcher(storage, "shared", name="mine")
    for state, token in (("no token", None), ("an expired token", Token("a", expires_at=PAST))):
        if token is not None:
            storage.set("shared", token)
        with pytest.raises(AuthenticationError, match=state) as caught:
            source.fetch()
        assert ("mine", True) == (caught.value.step_name, caught.value.transient)
    storage.set("shared", Token("good"))
    assert "good" == source.fetch().access_token


# All of them


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: StaticTokenFetcher("canary", **options),
        lambda **options: CallableTokenFetcher(lambda: Token("canary"), **options),
        lambda **options: EnvTokenFetcher("NAME", **options),
        lambda **options: FileTokenFetcher("/name", **options),
        lambda **options: StoredTokenFetcher(InMemoryTokenStorage(), "key", **options),
    ],
)
def test_a_local_source_is_a_step(make: Any) -> None:
    """It has a name, dependencies, a key of its own, and a repr that shows no secret."""
    source = make(name="step", depends_on=["other"])
    assert ("step", ("other",)) == (source.name, source.depends_on)
    assert "step" in repr(source)
    assert "canary" not in repr(source) + source.cache_key
    source.close()
    with pytest.raises(ConfigurationError, match="name"):
        make(name="")


@pytest.mark.parametrize(
    "make",
    [
        lambda: CallableTokenFetcher("no function"),  # type: ignore[arg-type]  # on purpose
        lambda: EnvTokenFetcher(""),
        lambda: EnvTokenFetcher("A=B"),
        lambda: FileTokenFetcher(""),
        lambda: FileTokenFetcher(7),  # type: ignore[arg-type]  # on purpose
        lambda: FileTokenFetcher("x", reread=0),
        lambda: FileTokenFetcher("x", reread=math.inf),
        lambda: StoredTokenFetcher(InMemoryTokenStorage(), ""),
        lambda: StoredTokenFetcher(None, "key"),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_a_wrong_argument_is_found_at_once(make: Any) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigurationError):
        make()


def test_a_file_is_told_apart_by_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hosts have different tokens under one path; a relative path is the file it means."""
    monkeypatch.chdir(tmp_path)
    keys = []
    for text in ("a", "b", "a"):
        Path("token").write_text(text)
        keys.append(FileTokenFetcher(tmp_path / "token").cache_key)
    assert [True, False] == [keys[0] == keys[2], keys[0] == keys[1]]
    assert keys[2] == FileTokenFetcher("token").cache_key


def test_a_static_token_is_told_apart() -> None:
    """Two programs with tokens of their own may use one storage."""
    assert StaticTokenFetcher("a").cache_key == StaticTokenFetcher(Token("a")).cache_key
    assert 2 == len({StaticTokenFetcher(token).cache_key for token in ("canary-a", "canary-b")})
    assert "canary" not in StaticTokenFetcher("canary-a").cache_key


def test_a_variable_is_told_apart_by_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes have different tokens in one variable."""
    keys = []
    for text in ("a", "b", "a"):
        monkeypatch.setenv("TOKEN", text)
        keys.append(EnvTokenFetcher("TOKEN").cache_key)
    assert [True, False] == [keys[0] == keys[2], keys[0] == keys[1]]


@pytest.mark.parametrize("fetcher", [FileTokenFetcher("missing"), EnvTokenFetcher("MISSING")], ids=["file", "variable"])
def test_what_is_not_there_shares_nothing(fetcher: FileTokenFetcher | EnvTokenFetcher) -> None:
    """Nobody knows whose token will stand there."""
    assert fetcher.cache_key != fetcher.cache_key


def test_half_a_character_in_a_variable_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """An undecodable byte of the environment is a surrogate in Python; it has a key, and is no token."""
    monkeypatch.setenv("TOKENKIT_TEST_BYTES", "t\udcff")
    source = EnvTokenFetcher("TOKENKIT_TEST_BYTES")
    assert source.cache_key == EnvTokenFetcher("TOKENKIT_TEST_BYTES").cache_key
    with pytest.raises(MalformedResponseError, match="visible ASCII"):
        source.fetch()
