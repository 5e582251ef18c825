"""WWW-Authenticate is read as RFC 9110 section 11 writes it."""

import pytest

from tokenkit.auth._challenges import is_scope_refusal, parse_challenges, rejection
from tokenkit.contracts import Challenge

READINGS = {
    "": [],
    "Bearer": [("bearer", None, {})],
    'Bearer realm="a"': [("bearer", None, {"realm": "a"})],
    "Bearer realm=a , error=b": [("bearer", None, {"realm": "a", "error": "b"})],
    'bEARER REALM="a", Error = "b"': [("bearer", None, {"realm": "a", "error": "b"})],
    r'Basic realm="a, \"b\" Bearer error=x"': [("basic", None, {"realm": 'a, "b" Bearer error=x'})],
    'Negotiate, Basic realm="x", Bearer error="e"': [
        ("negotiate", None, {}),
        ("basic", None, {"realm": "x"}),
        ("bearer", None, {"error": "e"}),
    ],
    "NTLM TlRMTVNTUAAC==, Bearer": [("ntlm", "TlRMTVNTUAAC==", {}), ("bearer", None, {})],
    ", ,Bearer realm=a, ,": [("bearer", None, {"realm": "a"})],
    "Bearer error=a, error=b": [("bearer", None, {"error": "a"})],
    'Bearer realm="never closed, error=x': [("bearer", None, {"realm": "never closed, error=x"})],
    '"junk", =x, Bearer error=a': [("bearer", None, {"error": "a"})],
    'Bearer realm="a",\r\n Digest nonce="b"': [("bearer", None, {"realm": "a"}), ("digest", None, {"nonce": "b"})],
}


@pytest.mark.parametrize(("header", "challenges"), READINGS.items())
def test_a_header_is_read(header: str, challenges: list[object]) -> None:
    """Schemes, parameters, quoted strings, token68, empty elements and several challenges in one value."""
    assert challenges == [tuple(one) for one in parse_challenges(header)]


@pytest.mark.parametrize("mark", ['"', "\\", ",", "a=", "a ", '="', "Bearer ", '\\"', "x=y,"])
def test_a_hostile_header_is_read_in_linear_time(mark: str) -> None:
    """60 kB of any mark are read at once; the test's time limit is the judge."""
    parse_challenges(mark * (60_000 // len(mark)))
    parse_challenges('Bearer a="' + mark * (60_000 // len(mark)))


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        ('Bearer error="insufficient_scope", scope="a b"', True),
        ('Basic realm="x", Bearer error=insufficient_scope', True),
        ('Bearer error="invalid_token"', False),
        ('Bearer error="insufficient_scope", Bearer error="invalid_token"', False),
        ('Bearer realm="error=insufficient_scope"', False),
        ("DPoP error=insufficient_scope", False),
        ("", False),
    ],
)
def test_a_lack_of_scope_is_told_from_a_bad_token(header: str, refused: bool) -> None:
    """Only a Bearer challenge that says so, and none that says otherwise, means that the token was good."""
    assert refused == is_scope_refusal(header)


REJECTIONS = {
    "": None,
    "???": None,
    "Bearer": Challenge(),
    'Bearer realm="a", error="insufficient_claims", claims="eyJhIjoxfQ=="': Challenge(
        error="insufficient_claims", claims="eyJhIjoxfQ=="
    ),
    'Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age="300", scope="a b"': Challenge(
        error="insufficient_user_authentication", acr_values="gold silver", max_age=300, scope="a b"
    ),
    'Basic realm="a", Bearer realm="b", Bearer error="invalid_token", Bearer error="other"': Challenge(
        error="invalid_token"
    ),
    "Digest error=stale, Token": Challenge(scheme="digest", error="stale"),
    "Bearer max_age=-1": Challenge(),
    f"Bearer max_age={'9' * 5000}": Challenge(),
}


@pytest.mark.parametrize(("header", "challenge"), REJECTIONS.items())
def test_what_it_says_of_the_token_is_found(header: str, challenge: Challenge | None) -> None:
    """That of the bearer challenge which names an error, else of the first bearer challenge, else of the first."""
    assert challenge == rejection(header)
