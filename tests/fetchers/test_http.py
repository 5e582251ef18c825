"""The HTTP fetchers: what is sent, how it is read, and what subclasses may change."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
import responses
from responses.matchers import header_matcher, json_params_matcher, query_param_matcher, urlencoded_params_matcher

from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError, MalformedResponseError, TokenEndpointError, TransportError
from tokenkit.fetchers import BodyTokenFetcher, HeaderTokenFetcher, HttpTokenFetcher
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token

URL = "https://idp.example"
CONTEXT = FetchContext({"app": Token("app-token")})


def answers(*matchers: Any, json: Any = None, **options: Any) -> None:
    body = {"access_token": "good"} if json is None else json
    responses.post(f"{URL}/token", json=body, match=matchers, **options)


@responses.activate
def test_data_is_sent_as_a_form() -> None:
    """And with the headers that were given."""
    answers(urlencoded_params_matcher({"id": "7"}), header_matcher({"X-Device": "d"}))
    source = HttpTokenFetcher("app", URL, "/token", request_headers={"X-Device": "d"}, request_data={"id": "7"})
    assert "good" == source.fetch().access_token


@responses.activate
def test_data_is_sent_as_json() -> None:
    """Where the content type says so."""
    answers(json_params_matcher({"id": 7, "deep": {"list": [1]}}))
    data = {"id": 7, "deep": {"list": [1]}}
    assert "good" == HttpTokenFetcher("a", URL, "token", content_type="json", request_data=data).fetch().access_token


@responses.activate
def test_get_sends_the_data_in_the_query() -> None:
    """Added to a query that the endpoint has already."""
    responses.get(f"{URL}/token", json={"access_token": "good"}, match=[query_param_matcher({"v": "1", "id": "7"})])
    assert (
        "good" == HttpTokenFetcher("a", URL, "token?v=1", method="get", request_data={"id": "7"}).fetch().access_token
    )


@responses.activate
@pytest.mark.parametrize(
    "headers", [lambda context: {"X-App-Token": context["app"].access_token}, lambda: {"X-App-Token": "app-token"}]
)
def test_headers_and_data_may_be_functions(headers: Any) -> None:
    """They are called at each fetch, with the context only where they take one."""
    answers(header_matcher({"X-App-Token": "app-token"}), urlencoded_params_matcher({"id": "7"}))
    source = HttpTokenFetcher("a", URL, "/token", request_headers=headers, request_data=lambda: {"id": "7"})
    assert "good" == source.fetch(CONTEXT).access_token


@responses.activate
@pytest.mark.parametrize("base", [HttpTokenFetcher, BodyTokenFetcher, HeaderTokenFetcher])
def test_a_subclass_adds_to_headers_and_data(base: type[HttpTokenFetcher]) -> None:
    """Every kind of fetcher calls the hooks, and they may call super()."""

    class Mine(base):  # type: ignore[misc,valid-type]  # one of three
        def _build_request_headers(self, context: FetchContext) -> dict[str, str]:
            return {**super()._build_request_headers(context), "X-App-Token": context["app"].access_token}

        def _build_request_data(self, context: FetchContext) -> dict[str, Any]:
            data = super()._build_request_data(context)
            data["more"] = "2"
            return data

    answers(
        header_matcher({"X-App-Token": "app-token", "X-Given": "1"}),
        urlencoded_params_matcher({"given": "1", "more": "2"}),
        headers={"Authorization": "Bearer good"},
    )
    source = Mine("a", URL, "/token", request_headers={"X-Given": "1"}, request_data={"given": "1"})
    assert "good" == source.fetch(CONTEXT).access_token


@responses.activate
def test_a_subclass_reads_the_answer_in_its_own_way() -> None:
    """It gets the whole answer, without the request that led to it."""

    class Mine(HttpTokenFetcher):
        def _parse_response(self, response: requests.Response) -> Token:
            assert response.request is None
            return Token(response.text.partition("=")[2])

    responses.post(f"{URL}/token", body="token=good")
    assert "good" == Mine("a", URL, "/token").fetch().access_token


@responses.activate
@pytest.mark.parametrize("expression", ["response.json()", "{}['token']", "None.token", "len(3)", "Token('')"])
def test_an_answer_that_a_subclass_cannot_read_is_malformed(expression: str) -> None:
    """Its error is neither quoted nor chained: a JSONDecodeError keeps the body."""

    class Mine(HttpTokenFetcher):
        def _parse_response(self, response: requests.Response) -> Token:
            return eval(expression)  # the test's own words

    responses.post(f"{URL}/token", body="canary, not JSON")
    with pytest.raises(MalformedResponseError, match="could not be read") as caught:
        Mine("mine", URL, "/token").fetch()
    assert ("mine", None, None) == (caught.value.step_name, caught.value.__cause__, caught.value.__context__)


@responses.activate
def test_a_subclass_with_its_own_constructor_works() -> None:
    """It calls super().__init__ as any class does."""

    class Mine(BodyTokenFetcher):
        def __init__(self, device: str) -> None:
            super().__init__("device", URL, "/token", request_data={"device": device}, token_field="jwt")

    answers(urlencoded_params_matcher({"device": "d-1"}), json={"jwt": "good"})
    assert "good" == Mine("d-1").fetch().access_token


# The body


ODD = {
    "data": {"token": "t", "list": [{"jwt": "j"}]},
    "a.b": "dotted",
    "kind": "Custom",
    "life": "60",
    "more": {"rt": "r"},
}


@responses.activate
@pytest.mark.parametrize(
    ("path", "token"), [("data.token", "t"), ("data.list.0.jwt", "j"), ("a.b", "dotted"), ("more.rt", "r")]
)
def test_a_field_may_lie_deep(path: str, token: str) -> None:
    """Parts are joined by dots; a field of that very name comes first."""
    answers(json=ODD)
    assert token == BodyTokenFetcher("a", URL, "/token", token_field=path).fetch().access_token


@responses.activate
@pytest.mark.parametrize("path", ["token", "data.token.x", "data.list.1.jwt", "data.list.x", "data"])
def test_a_field_that_is_not_there_is_malformed(path: str) -> None:
    """The message names the field where there is nothing at all."""
    answers(json=ODD)
    with pytest.raises(MalformedResponseError) as caught:
        BodyTokenFetcher("a", URL, "/token", token_field=path).fetch()
    assert "a" == caught.value.step_name


@responses.activate
def test_all_fields_may_have_other_names() -> None:
    """Type, lifetime and refresh token are read where they are; the rest goes to extra, without them."""
    answers(json={**ODD, "region": "eu"})
    source = BodyTokenFetcher(
        "a",
        URL,
        "/token",
        token_field="data.token",
        token_type_field="kind",
        expires_in_field="life",
        refresh_token_field="more.rt",
        refresh_data={"token": "{refresh_token}"},
    )
    token = source.fetch()
    assert ("Custom t", "r") == (token.authorization, token.refresh_token)
    assert 55 < token.expires_in() <= 60  # type: ignore[operator]  # not None
    assert {"a.b": "dotted", "region": "eu"} == dict(token.extra)


@responses.activate
def test_the_type_may_be_given() -> None:
    """For answers that name none."""
    answers(json={"access_token": "a"})
    source = BodyTokenFetcher("a", URL, "/token", default_token_type="Token")
    assert "Token a" == source.fetch().authorization


@responses.activate
def test_other_names_for_the_lifetime_are_known() -> None:
    """An answer without the field may still have expires_at or expires_on."""
    answers(json={"access_token": "a", "expires_at": "2100-01-01T00:00:00Z"})
    token = BodyTokenFetcher("a", URL, "/token").fetch()
    assert token.expires_at is not None
    assert 2100 == token.expires_at.year


@responses.activate
@pytest.mark.parametrize("kind", [HttpTokenFetcher, BodyTokenFetcher, HeaderTokenFetcher])
def test_ttl_overrides_the_answer(kind: type[HttpTokenFetcher]) -> None:
    """For every kind of fetcher."""
    answers(json={"access_token": "a", "expires_in": 7}, headers={"Authorization": "a"})
    token = kind("a", URL, "/token", ttl=timedelta(hours=1)).fetch()
    assert 3590 < token.expires_in() <= 3600  # type: ignore[operator]  # not None


# The header


@responses.activate
@pytest.mark.parametrize(
    ("value", "token"), [("good", "good"), ("Bearer good", "good"), ("bearer  good", "good"), (" good ", "good")]
)
def test_a_header_brings_the_token(value: str, token: str) -> None:
    """A leading scheme word is taken off; the body does not count."""
    responses.post(f"{URL}/token", body=b"", headers={"Authorization": value})
    assert f"Bearer {token}" == HeaderTokenFetcher("a", URL, "/token").fetch().authorization


@responses.activate
@pytest.mark.parametrize("value", ["", "Basic good", "a b", "Bearer", "bearer "])
def test_a_header_without_a_token_is_malformed(value: str) -> None:
    """Neither another scheme nor the scheme alone is a token; the value is not quoted."""
    responses.post(f"{URL}/token", body=b"", headers={"Authorization": value} if value else {})
    with pytest.raises(MalformedResponseError) as caught:
        HeaderTokenFetcher("a", URL, "/token").fetch()
    assert "good" not in caught.value.message


@responses.activate
def test_another_header_and_type_may_be_named() -> None:
    """As for a device token."""
    responses.post(f"{URL}/token", body=b"", headers={"X-Device-Token": "Device good"})
    source = HeaderTokenFetcher("a", URL, "/token", token_header="x-device-token", token_type="Device")
    assert "Device good" == source.fetch().authorization


# Refusals and arguments


@responses.activate
def test_any_field_that_was_sent_is_taken_out_of_a_refusal() -> None:
    """An endpoint that echoes what it got does not get it into a log."""
    answers(
        json={"error": "bad", "error_description": "header-canary, ab, data-canary, inner-canary and cab"},
        status=400,
    )
    headers = {"X-Key": "header-canary", "X-Short": "ab"}
    data = {"key": "data-canary", "deep": {"key": ["inner-canary"]}}
    with pytest.raises(TokenEndpointError) as caught:
        HttpTokenFetcher("a", URL, "/token", request_headers=headers, request_data=data, content_type="json").fetch()
    assert "[secret], [secret], [secret], [secret] and cab" == caught.value.error_description


@responses.activate
def test_an_unknown_failure_of_the_transport_is_named_by_its_type() -> None:
    """Its text may quote anything, so it is left out."""
    responses.post(f"{URL}/token", body=requests.exceptions.RequestException("canary"))
    with pytest.raises(TransportError, match=r"\(RequestException\)") as caught:
        HttpTokenFetcher("a", URL, "/token").fetch()
    assert (False, None) == (caught.value.transient, caught.value.__context__)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"base_url": "ftp://idp.example"}, "base_url must be an absolute"),
        ({"base_url": "https://"}, "base_url must be an absolute"),
        ({"base_url": None}, "base_url must be an absolute"),
        ({"base_url": "https://idp.exa mple"}, "base_url must be an absolute"),
        ({"base_url": "https://[::1"}, "base_url must be an absolute"),
        ({"base_url": "http://idp.example"}, "in the clear"),
        ({"base_url": "http://localhost.evil.example"}, "in the clear"),
        ({"base_url": "https://user@idp.example"}, "user name"),
        ({"endpoint": "/token#part"}, "fragment"),
        ({"base_url": f"{URL}?key=1"}, "query belongs to the endpoint"),
        ({"method": "GET /"}, "method"),
        ({"content_type": "xml"}, "content_type"),
        ({"ttl": timedelta(0)}, "ttl"),
        ({"timeout": "5"}, "timeout"),
        ({"timeout": (1, 2, 3)}, "timeout"),
        ({"depends_on": [""]}, "depends_on"),
        ({"retries": 1.5}, "retries"),
        ({"endpoint": None}, "endpoint"),
        ({"request_headers": "X-Key: 1"}, "request_headers"),
        ({"request_data": 7}, "request_data"),
        ({"proxies": "proxy.example"}, "proxies"),
        ({"session": "https"}, "session"),
    ],
)
def test_a_wrong_argument_is_found_before_any_network(change: dict[str, Any], problem: str) -> None:
    """The error names it."""
    arguments = {"name": "a", "base_url": URL, "endpoint": "/token", **change}
    with pytest.raises(ConfigurationError, match=problem):
        HttpTokenFetcher(**arguments)


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        (BodyTokenFetcher, "token_type_field"),
        (BodyTokenFetcher, "default_token_type"),
        (HeaderTokenFetcher, "token_header"),
        (HeaderTokenFetcher, "token_type"),
    ],
)
@pytest.mark.parametrize("value", ["", None])
def test_what_names_a_part_of_an_answer_is_a_name(kind: Any, argument: str, value: Any) -> None:
    """A field, a header or a type without a name is refused at once."""
    with pytest.raises(ConfigurationError, match=argument):
        kind("a", URL, "/token", **{argument: value})


@pytest.mark.parametrize(
    ("base", "endpoint", "url"),
    [
        (URL, "/token", f"{URL}/token"),
        (f"{URL}/", "token", f"{URL}/token"),
        (f"{URL}/v1/", "/a/b", f"{URL}/v1/a/b"),
        (URL, "", URL),
        (f"{URL}/token", "", f"{URL}/token"),
    ],
)
@responses.activate
def test_base_url_and_endpoint_are_joined(base: str, endpoint: str, url: str) -> None:
    """With one slash, and none where there is no endpoint."""
    responses.post(url, json={"access_token": "good"})
    assert "good" == HttpTokenFetcher("a", base, endpoint).fetch().access_token


def test_a_fetcher_shows_its_name_and_host() -> None:
    """And neither query nor secrets."""
    source = BodyTokenFetcher("a", f"{URL}:8443/canary", "canary?canary", request_data={"canary": "canary"})
    assert "<BodyTokenFetcher 'a' at idp.example:8443>" == repr(source)


@responses.activate
@pytest.mark.parametrize(
    ("header", "description"),
    [
        ("Basic dXNlcjpwJTJGdy1jYW5hcnk=", "no [secret] for [secret]"),
        ("Basic not-base64", "no p/w-canary for p%2Fw-canary"),
        ("Other dXNlcjpwJTJGdy1jYW5hcnk=", "no p/w-canary for p%2Fw-canary"),
    ],
)
def test_a_password_in_basic_credentials_is_a_secret_too(header: str, description: str) -> None:
    """However it was encoded for the header."""
    answers(json={"error": "bad", "error_description": "no p/w-canary for p%2Fw-canary"}, status=400)
    with pytest.raises(TokenEndpointError) as caught:
        HttpTokenFetcher("a", URL, "/token", request_headers={"Authorization": header}).fetch()
    assert description == caught.value.error_description


def test_a_lifetime_counts_from_the_request(local_idp: LocalIdP) -> None:
    """The server's began before its answer was read: who counted from then would send a dead token."""
    local_idp.latency = 0.3
    grant = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "secret"}
    token = HttpTokenFetcher("f", local_idp.url, "/token", request_data=grant).fetch()
    assert token.issued_at is not None
    assert (datetime.now(timezone.utc) - token.issued_at).total_seconds() >= 0.3
    assert token.expires_at == token.issued_at + timedelta(seconds=3600)
