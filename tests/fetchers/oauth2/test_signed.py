"""A JWT that is signed here is the token."""

import base64
import json
from typing import Any

import pytest
from support import needs

from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers import SignedJwtFetcher
from tokenkit.testing import FakeClock

SECRET = "s" * 32
CLOCK = FakeClock(4_000_000_000.0)
THEN = FetchContext(clock=CLOCK)


def claims_of(source: SignedJwtFetcher) -> tuple[dict[str, Any], dict[str, Any]]:
    needs.module("jwt")
    head, claims, _signature = source.fetch(THEN).access_token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, claims))  # type: ignore[return-value]


def test_the_clock_of_who_asks_dates_it() -> None:
    """It begins a little ago, where a server's clock may be behind, and ends after its lifetime."""
    source = SignedJwtFetcher(SECRET, {"iss": "app"}, algorithm="HS256", lifetime=540, backdate=60)
    claims = claims_of(source)[1]
    assert ("app", 3_999_999_940, 4_000_000_540) == (claims["iss"], claims["iat"], claims["exp"])
    assert 540 == source.fetch(THEN).expires_in(CLOCK.now())
    assert claims["jti"] != claims_of(source)[1]["jti"]


def test_claims_and_headers_are_its_users() -> None:
    """They win over those that are added; a function may read the context."""
    source = SignedJwtFetcher(
        SECRET, lambda _context: {"exp": 4_000_000_060}, algorithm="HS256", key_id=lambda: "k", headers={"x5t": "t"}
    )
    head, claims = claims_of(source)
    assert ("k", "t", 4_000_000_060) == (head["kid"], head["x5t"], claims["exp"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"key": ""}, "key is missing"),
        ({"key": 5}, "key must be PEM"),
        ({"claims": "iss"}, "claims must be a mapping"),
        ({"lifetime": 0}, "lifetime must be"),
        ({"backdate": -1}, "backdate must be"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], problem: str) -> None:
    """At once, and not in a thread of the manager."""
    with pytest.raises(ConfigurationError, match=problem):
        SignedJwtFetcher(**{"key": SECRET, "claims": {}, **arguments})


def test_another_key_signs_another_token() -> None:
    """Two apps with equal claims do not share one."""
    one, same, other = (SignedJwtFetcher(key, {"iss": "a"}) for key in (SECRET, SECRET, SECRET[1:]))
    assert one.cache_key == same.cache_key
    assert one.cache_key != other.cache_key


def test_a_key_may_be_an_object() -> None:
    """Of the package cryptography, as those give it that keep keys in hardware."""
    needs.module("jwt")
    from cryptography.hazmat.primitives.asymmetric import ec

    head, claims = claims_of(SignedJwtFetcher(lambda: ec.generate_private_key(ec.SECP256R1()), {"iss": "app"}))
    assert ("ES256", "app") == (head["alg"], claims["iss"])


def test_a_key_of_another_kind_cannot_sign() -> None:
    """The error names the algorithm that was asked for, and has nothing of what the libraries said."""
    needs.module("jwt")
    from cryptography.hazmat.primitives.asymmetric import ec

    source = SignedJwtFetcher(lambda: ec.generate_private_key(ec.SECP256R1()), {"iss": "app"}, algorithm="RS256")
    with pytest.raises(ConfigurationError, match="key cannot sign these claims with the algorithm RS256") as caught:
        source.fetch(THEN)
    assert caught.value.__context__ is None
