"""Keys: the same for the same token, different for different ones."""

import hashlib
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenkit import secrets
from tokenkit._secrecy.identity import canonical, grant_key
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers import (
    ClientCredentialsFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
)

CLIENT = {"token_url": "https://idp.example/token", "client_id": "client", "client_secret": "canary-1"}


def key(**change: Any) -> str:
    return ClientCredentialsFetcher(**{**CLIENT, **change}).cache_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"scope": "a b"}, {"scope": ["b", "a"]}),
        ({"scope": "a  b a"}, {"scope": "a b"}),
        ({"scope": ["a b", "c"]}, {"scope": "a b c"}),
        ({"scope": "", "audience": [], "resource": ""}, {}),
        ({"audience": "a"}, {"audience": ["a"]}),
        ({"resource": ["x", "y"]}, {"resource": ["y", "x"]}),
        ({"extra_params": {"a": "1", "b": "2"}}, {"extra_params": {"b": "2", "a": "1"}}),
        ({"client_secret": "old"}, {"client_secret": "new"}),
        ({"client_auth": "client_secret_post"}, {}),
        ({"timeout": 3}, {"retries": 0}),
    ],
)
def test_what_brings_the_same_token_has_the_same_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Order does not matter, and nor does the client's secret."""
    assert key(**one) == key(**other)


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"token_url": "https://idp.example/token2"},
    {"token_url": None, "issuer": "https://idp.example"},
    {"client_id": "client2"},
    {"scope": "a"},
    {"audience": "a"},
    {"resource": "a"},
    {"scope": "a b"},
    {"audience": ["a", "b"]},
    {"audience": "a b"},
    {"extra_params": {"scope2": "a"}},
    {"extra_params": {"tenant": "1"}},
    {"extra_params": {"tenant": 1}},
]


@pytest.mark.parametrize(("one", "other"), list(combinations(DIFFERENT, 2)))
def test_two_tenants_never_share_a_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Each part that tells tokens apart counts."""
    assert key(**one) != key(**other)


def test_users_of_one_client_have_keys_of_their_own() -> None:
    """Whoever the token is for: the user, or the token that is spent."""
    client = {**CLIENT}
    keys = [PasswordFetcher(**client, username=name, password="p").cache_key for name in ("alice", "bob")]
    keys += [RefreshTokenFetcher(**client, refresh_token=token).cache_key for token in ("r1", "r2")]
    keys += [TokenExchangeFetcher(**client, subject_token=token).cache_key for token in ("r1", "r2")]
    assert 6 == len(set(keys))


@pytest.mark.parametrize("party", ["subject_token", "actor_token", "assertion"])
def test_a_file_stands_for_what_it_holds(tmp_path: Path, party: str) -> None:
    """Each host has its user's token under the same path."""
    keys = []
    for token in ("alice", "bob", "alice"):
        (tmp_path / "token").write_text(token)
        tokens: dict[str, Any] = {party: tmp_path / "token"}
        kind = JwtBearerFetcher if party == "assertion" else TokenExchangeFetcher
        keys.append(kind(**CLIENT, **({"subject_token": "s"} if party == "actor_token" else {}), **tokens).cache_key)
    assert [True, False] == [keys[0] == keys[2], keys[0] == keys[1]]


def test_a_key_can_be_read_and_shows_no_secret() -> None:
    """It starts with the step, the host and the client."""
    readable = RefreshTokenFetcher(**CLIENT, refresh_token="canary-2").cache_key
    assert readable.startswith("refresh_token:idp.example:client:")
    assert "canary" not in readable


def test_a_long_or_odd_client_leaves_the_key_printable() -> None:
    """Whatever is in it."""
    odd = key(client_id="../\n é" + "x" * 500)
    assert odd.isprintable()
    assert len(odd) < 150


def scope() -> str:
    return "a"


def closure(value: str) -> Callable[[], str]:
    return lambda: value


def test_a_function_is_not_read() -> None:
    """Its token is its own fetcher's, whatever the code looks like; within one object the key stays."""
    source = ClientCredentialsFetcher(**CLIENT, scope=scope)
    assert source.cache_key == source.cache_key
    assert 3 == len({source.cache_key, key(scope=scope), key(scope=lambda: "a")})


def test_what_a_user_says_of_a_function_stands_for_it() -> None:
    """The rest of a key tells tokens apart all the same."""
    assert key(scope=scope, cache_key="alice") == key(scope=lambda: "a", cache_key="alice")
    assert 3 == len(
        {key(scope=scope, cache_key="a"), key(scope=scope, cache_key="b"), key(audience=scope, cache_key="a")}
    )


@pytest.mark.parametrize("wrong", ["", 5, b"alice"])
def test_what_is_said_of_a_function_is_a_text(wrong: Any) -> None:
    """An empty one would be everybody's."""
    with pytest.raises(ConfigurationError, match="cache_key"):
        key(cache_key=wrong)


def test_a_client_certificate_is_part_of_a_key(tmp_path: Path) -> None:
    """A token may be bound to it (RFC 8705); a new one under the same path is another."""
    certificate = tmp_path / "client.pem"
    keys = []
    for content in ("one", "two", "one"):
        certificate.write_text(content)
        keys.append(key(cert=str(certificate)))
    assert keys[0] == keys[2] != keys[1]


GIVEN = "canary-2"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"scope": "a"},
        {"audience": "a"},
        {"resource": "https://r.example"},
        {"token_url": None, "issuer": "https://idp.example"},
        {"client_id": "other"},
        {"extra_params": {"a": "b"}},
        {"refresh_token": lambda: GIVEN},
        {"refresh_token": secrets.env("IDENTITY_RT")},
    ],
)
def test_a_grant_is_told_by_its_first_refresh_token_alone(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is changed, and however it is given, the newest refresh token is found."""
    monkeypatch.setenv("IDENTITY_RT", GIVEN)
    one, other = (RefreshTokenFetcher(**{**CLIENT, "refresh_token": GIVEN, **more}) for more in ({}, change))
    assert one.grant_key == other.grant_key == grant_key(GIVEN)


def test_the_key_of_a_grant_is_the_same_in_every_release() -> None:
    """SHA-256 of a label and the token: what a server keeps of a token is another digest."""
    assert "grant:" + hashlib.sha256(b"tokenkit refresh token:" + GIVEN.encode()).hexdigest() == grant_key(GIVEN)


def test_another_refresh_token_is_another_grant() -> None:
    """A function is asked each time."""
    values = ["one"]
    fetcher = RefreshTokenFetcher(**CLIENT, refresh_token=lambda: values[-1])
    first = fetcher.grant_key, fetcher.cache_key
    values.append("two")
    assert not set(first) & {fetcher.grant_key, fetcher.cache_key}


@pytest.mark.parametrize("make", [closure, lambda value: partial(str, value), lambda value: value.upper])
def test_a_function_that_hangs_on_more_than_its_code_shares_no_key(make: Callable[[str], Any]) -> None:
    """Two tenants could differ by just that; within one object the key stays."""
    source = ClientCredentialsFetcher(**CLIENT, scope=make("a"))
    assert source.cache_key == source.cache_key
    assert source.cache_key != key(scope=make("a"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=100, database=None)
@given(VALUES, VALUES)
def test_only_equal_values_look_alike(one: Any, other: Any) -> None:
    """Lengths and types are part of what is hashed."""
    assert _equal(one, other) == (canonical(one, "") == canonical(other, ""))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and bool(one == other)


def test_paths_and_sets_count_as_what_they_are() -> None:
    """A path is not its text, and the order of a set does not matter."""
    assert canonical(Path("a"), "") != canonical("a", "")
    assert canonical({"a", "b"}, "") == canonical(frozenset({"b", "a"}), "") != canonical(["a", "b"], "")
