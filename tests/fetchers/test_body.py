"""Answers as endpoints of all kinds give them: where the token, its lifetime and its refresh token are."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import responses
from responses.matchers import json_params_matcher

from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError, MalformedResponseError, TokenEndpointError
from tokenkit.fetchers import BodyTokenFetcher, HeaderTokenFetcher, HttpTokenFetcher
from tokenkit.testing import FakeClock
from tokenkit.tokens import Token

URL = "https://api.example.com"
CLOCK = FakeClock(datetime(2027, 1, 1, tzinfo=timezone.utc).timestamp())
THEN = FetchContext(clock=CLOCK)
ISO, EPOCH = "2027-01-01T01:00:00Z", int(CLOCK.time()) + 3600
HOUR = timedelta(hours=1)


def fetch(
    body: Any, headers: dict[str, str] | None = None, content_type: str = "application/json", **options: Any
) -> Token:
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    with responses.RequestsMock() as mock:
        mock.post(f"{URL}/t", body=text, headers=headers, content_type=content_type)
        return BodyTokenFetcher("a", URL, "/t", **options).fetch(THEN)


# (the answer, what reads it): each tells a lifetime of an hour
HOURS: dict[str, tuple[Any, dict[str, Any]]] = {
    "GitHub App": ({"token": "t", "expires_at": ISO}, {"token_field": "token"}),
    "Kubernetes TokenRequest": (
        {"status": {"token": "t", "expirationTimestamp": ISO}},
        {"token_field": "status.token"},
    ),
    "CodeArtifact": ({"authorizationToken": "t", "expiration": EPOCH}, {"token_field": "authorizationToken"}),
    "Google": ({"accessToken": "t", "expireTime": ISO}, {"token_field": "accessToken"}),
    "camel case": ({"accessToken": "t", "expiresIn": 3600}, {"token_field": "accessToken"}),
    "beside": ({"data": {"token": "t", "expires_in": 3600}}, {"token_field": "data.token"}),
    "beside, an instant": ({"data": {"token": "t", "expires_at": EPOCH}}, {"token_field": "data.token"}),
    "at the top": ({"data": {"token": "t"}, "expires_in": 3600}, {"token_field": "data.token"}),
    "said where": ({"token": "t", "x": {"until": ISO}}, {"token_field": "token", "expires_at_field": "x.until"}),
    "in a list": ([{"jwt": "t", "expires_in": 3600}], {"token_field": "0.jwt"}),
    "a form": ("access_token=t&expires_in=3600", {}),
    "by default": ({"access_token": "t"}, {"default_lifetime": HOUR}),
    "null, by default": ({"access_token": "t", "expiry": "soon"}, {"default_lifetime": HOUR}),
}


@pytest.mark.parametrize(("body", "options"), HOURS.values(), ids=HOURS)
def test_a_lifetime_is_found_where_it_is(body: Any, options: dict[str, Any]) -> None:
    """Under the names that services have for it, beside the token or at the top, or where an option says."""
    kind = "application/x-www-form-urlencoded" if body == HOURS["a form"][0] else "application/json"
    token = fetch(body, content_type=kind, **options)
    assert "t" == token.access_token
    assert CLOCK.now() + HOUR == token.expires_at


@pytest.mark.parametrize("options", [{"expires_at_field": "until"}, {"expires_in_field": "end"}])
def test_a_number_that_is_no_lifetime_is_refused(options: dict[str, str]) -> None:
    """An instant in place of seconds would be good for 57 years, and what is missing for ever."""
    with pytest.raises(MalformedResponseError, match=r"until|too large"):
        fetch({"access_token": "t", "end": EPOCH}, **options)


@pytest.mark.parametrize("text", ["Bearer t", "bearer t", " t", "t\n", "Bearer  t "])
def test_a_scheme_in_the_body_is_no_part_of_the_token(text: str) -> None:
    """Nor is white space around it."""
    assert "Bearer t" == fetch({"token": text}, token_field="token").authorization


@pytest.mark.parametrize(("body", "kind"), [("eyJ.a.b\n", "text/plain"), ('"eyJ.a.b"', "application/json")])
def test_a_body_may_be_the_token(body: str, kind: str) -> None:
    """As plain text, or as a JSON string."""
    assert "eyJ.a.b" == fetch(body, content_type=kind, token_field="").access_token


@pytest.mark.parametrize(
    ("charset", "said"),
    [("iso-8859-1", "UTF-8"), ("iso-8859-1", "iso-8859-1"), ("utf-16", "utf-16")],
)
def test_an_answer_is_decoded_as_requests_decodes_it(charset: str, said: str) -> None:
    """Where it is no UTF of any kind, its header names the charset; a wrong one spoils other fields only."""
    body = '{"access_token": "t", "user_name": "Jos\u00e9"}'.encode(charset)
    assert "t" == fetch(body, content_type=f"application/json;charset={said}").access_token


@responses.activate
def test_a_refresh_token_is_spent_as_the_endpoint_wants_it() -> None:
    """At its own path, with its own fields; one that is not replaced is kept."""
    responses.post(f"{URL}/login", json={"access": "a1", "refresh": "r1"}, match=[json_params_matcher({"user": "u"})])
    responses.post(
        f"{URL}/renew", json={"access": "a2"}, match=[json_params_matcher({"refresh": "r1", "of": {"k": "r1"}})]
    )
    source = BodyTokenFetcher(
        "login",
        URL,
        "/login",
        content_type="json",
        request_data={"user": "u"},
        token_field="access",
        refresh_token_field="refresh",
        refresh_endpoint="/renew",
        refresh_data={"refresh": "{refresh_token}", "of": {"k": "{refresh_token}"}},
    )
    first = source.fetch()
    second = source.refresh(first)
    assert ("a2", "r1") == (second.access_token, second.refresh_token)


@responses.activate
def test_a_refresh_token_under_any_name_is_sent_once() -> None:
    """A request that may have arrived is not repeated: the server may have rotated the token."""
    responses.post(f"{URL}/login", status=503)
    source = BodyTokenFetcher("a", URL, "/login", refresh_data=lambda token: {"grant": token.refresh_token})
    with pytest.raises(TokenEndpointError):
        source.refresh(Token("a", refresh_token="r1"))
    assert ["grant=r1"] == [call.request.body for call in responses.calls]


@responses.activate
def test_a_refresh_token_that_cannot_be_spent_is_not_kept() -> None:
    """It would only make a failed renewal look like a refused refresh."""
    responses.post(f"{URL}/login", json={"access_token": "a", "refresh_token": "r"})
    source = BodyTokenFetcher("a", URL, "/login")
    assert source.fetch().refresh_token is None
    assert "a" == source.refresh(Token("old", refresh_token="r")).access_token


def test_a_refresh_endpoint_needs_what_to_send_there() -> None:
    """Otherwise it would never be asked."""
    with pytest.raises(ConfigurationError, match="refresh_data"):
        BodyTokenFetcher("a", URL, "/t", refresh_endpoint="/renew")


@responses.activate
@pytest.mark.parametrize(
    ("headers", "options"),
    [
        ({"X-Expires-In": "3600"}, {"expires_in_header": "X-Expires-In"}),
        ({"X-Until": ISO}, {"expires_at_header": "X-Until"}),
        ({}, {"expires_at_field": "token.expires_at"}),
    ],
)
def test_a_token_in_a_header_has_its_lifetime_somewhere(headers: dict[str, str], options: dict[str, str]) -> None:
    """In another header, or in the body, as OpenStack's Keystone has it."""
    told = {"token": {"expires_at": ISO}}
    responses.post(f"{URL}/t", json=told, headers={"X-Subject-Token": "t", **headers})
    token = HeaderTokenFetcher("a", URL, "/t", token_header="X-Subject-Token", **options).fetch(THEN)
    assert CLOCK.now() + HOUR == token.expires_at


def test_an_answer_tells_its_cookies() -> None:
    """A subclass may find the token there."""

    class Login(HttpTokenFetcher):
        def _parse_response(self, response: Any) -> Token:
            return Token.of(response.cookies["session"])

    with responses.RequestsMock() as mock:
        mock.post(f"{URL}/t", json={}, headers={"Set-Cookie": "session=abc; Path=/"})
        assert "abc" == Login("a", URL, "/t").fetch().access_token


def test_a_wrong_clock_does_not_shorten_a_token() -> None:
    """What is left of an instant counts by the answer's own Date."""
    token = fetch({"access_token": "t", "expires_at": EPOCH + 7200}, headers={"Date": "Fri, 01 Jan 2027 02:00:00 GMT"})
    assert CLOCK.now() + HOUR == token.expires_at


def test_a_refresh_token_is_filled_in_wherever_it_is_asked_for() -> None:
    """In lists and tables, however deep; what is no text stays as it is."""
    asked = {"grants": [{"token": "{refresh_token}"}], "version": 2}
    source = BodyTokenFetcher("a", URL, "/t", refresh_data=asked, content_type="json")
    with responses.RequestsMock() as mock:
        wanted = {"grants": [{"token": "r1"}], "version": 2}
        mock.post(f"{URL}/t", json={"access_token": "t"}, match=[json_params_matcher(wanted)])
        assert "t" == source.refresh(Token("old", refresh_token="r1"), THEN).access_token


def test_json_that_is_called_a_form_is_read_as_what_it_is() -> None:
    """Some servers name the type of the request in their answer."""
    assert "t" == fetch({"access_token": "t"}, content_type="application/x-www-form-urlencoded").access_token


def test_where_the_token_is_must_be_said_in_text() -> None:
    """None is easily meant for 'the whole body', which is the empty text."""
    with pytest.raises(ConfigurationError, match="token_field must be a string; '' for a body that is the token"):
        BodyTokenFetcher("a", URL, "/t", token_field=None)  # type: ignore[arg-type]  # wrong
