"""What requests documents of its Session: each scenario runs against that and against AuthorizedSession.

What holds of both is what "drop-in" means.
"""

import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import HTTPError, InvalidSchema, MissingSchema, ReadTimeout, TooManyRedirects
from support.protected import Issuer, Reply, Resource, managed
from support.raw_server import hangs, raw_server

from tokenkit.auth import AuthorizedSession


@pytest.fixture(params=["requests", "tokenkit"])
def session(request: pytest.FixtureRequest) -> Iterator[requests.Session]:
    with (
        managed(Issuer()) as manager,
        requests.Session() if request.param == "requests" else AuthorizedSession(manager) as session,
    ):
        yield session


@pytest.fixture
def api(api: Resource) -> Resource:
    """A server that takes all requests, with a token or without."""
    api.behave = lambda seen: Reply(body=seen.body)
    return api


def redirects(**targets: str) -> Any:
    """Behave as pages that lead to others; what is on no list is there."""
    return lambda seen: Reply(302, {"Location": f"/{targets[seen.path[1:]]}"}) if seen.path[1:] in targets else Reply()


# What a session keeps from one request to the next.


def test_cookies_that_an_answer_set_are_sent_from_then_on(session: requests.Session, api: Resource) -> None:
    """Those of one request only are not."""
    api.behave = lambda seen: Reply(200, {"Set-Cookie": "kept=1"} if seen.path == "/set" else {})
    session.get(f"{api.url}/set")
    session.get(api.url, cookies={"once": "2"})
    session.get(api.url)
    assert ["kept=1; once=2", "kept=1"] == [seen.headers["cookie"] for seen in api.seen[1:]]
    assert {"kept": "1"} == session.cookies.get_dict()


def test_headers_of_the_session_are_merged_with_those_of_a_request(session: requests.Session, api: Resource) -> None:
    """The request's win, None leaves one out, and none is kept."""
    session.headers.update({"X-Both": "session", "X-Session": "1"})
    session.get(api.url, headers={"X-Both": "request", "X-Session": None, "X-Request": "2"})  # type: ignore[dict-item]
    session.get(api.url)
    picked = [[seen.headers.get(f"x-{name}") for name in ("both", "session", "request")] for seen in api.seen]
    assert [["request", None, "2"], ["session", "1", None]] == picked


def test_parameters_of_the_session_are_merged_with_those_of_a_request(session: requests.Session, api: Resource) -> None:
    """As the headers are; a list is several."""
    session.params = {"page": "1", "all": "yes"}
    session.get(api.url, params={"all": None, "id": ["a", "b"]})
    assert "/?page=1&id=a&id=b" == api.seen[0].path


def test_a_connection_is_kept_for_the_next_request(session: requests.Session, api: Resource) -> None:
    """Once an answer has been read."""
    for _ in range(3):
        session.get(api.url)
    assert 1 == api.connections


def test_a_session_is_a_context_manager(session: requests.Session, api: Resource) -> None:
    """And can be used after that: closing only lets go of the connections."""
    with session as same:
        same.get(api.url)
    session.get(api.url)
    assert (2, True) == (api.connections, same is session)


# Methods and bodies.


@pytest.mark.parametrize("method", ["get", "options", "head", "post", "put", "patch", "delete"])
def test_each_method_has_a_function(session: requests.Session, api: Resource, method: str) -> None:
    """And request() has them all."""
    getattr(session, method)(api.url)
    session.request(method.upper(), api.url)
    assert [method.upper()] * 2 == [seen.method for seen in api.seen]


@pytest.mark.parametrize("method", ["get", "options", "head", "post", "put", "patch", "delete", "request", "send"])
def test_a_function_takes_by_place_what_that_of_requests_takes(method: str) -> None:
    """Such as the parameters of get(), from requests 2.34 on."""
    theirs, ours = (_by_place(getattr(kind, method)) for kind in (requests.Session, AuthorizedSession))
    assert theirs == ours[: len(theirs)]


def _by_place(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]


@pytest.mark.parametrize(
    ("made", "kind", "body"),
    [
        (lambda: {"data": {"a": ["1", "2"]}}, "application/x-www-form-urlencoded", b"a=1&a=2"),
        (lambda: {"data": [("a", "1"), ("b", "2")]}, "application/x-www-form-urlencoded", b"a=1&b=2"),
        (lambda: {"data": "text"}, None, b"text"),
        (lambda: {"data": b"bytes"}, None, b"bytes"),
        (lambda: {"json": {"a": None}}, "application/json", b'{"a": null}'),
        (lambda: {"data": io.BytesIO(b"a file")}, None, b"a file"),
        (lambda: {"data": iter([b"by ", b"and by"])}, None, b"by and by"),
    ],
    ids=["form", "pairs", "text", "bytes", "json", "file", "iterator"],
)
def test_bodies(
    session: requests.Session, api: Resource, made: Callable[[], Any], kind: str | None, body: bytes
) -> None:
    """Each kind that requests takes, with the type that it says."""
    session.post(api.url, **made())
    assert (kind, body) == (api.seen[0].headers.get("content-type"), api.seen[0].body)


def test_files_are_sent_as_parts(session: requests.Session, api: Resource) -> None:
    """Several of one name, with names and types of their own, besides a form."""
    parts = [
        ("image", ("a.png", io.BytesIO(b"first"), "image/png")),
        ("image", ("b.png", b"second", "image/png", {"X-Part": "2"})),
    ]
    session.post(api.url, data={"note": "both"}, files=parts)
    body = api.seen[0].body
    assert api.seen[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert all(part in body for part in (b'filename="a.png"', b"first", b'filename="b.png"', b"X-Part: 2", b"both"))


# Prepared requests.


def test_a_prepared_request_has_what_the_session_has(session: requests.Session, api: Resource) -> None:
    """It can be changed before it is sent."""
    session.headers["X-Session"] = "1"
    prepared = session.prepare_request(requests.Request("POST", api.url, data="old"))
    prepared.body = "new"
    del prepared.headers["X-Session"]
    prepared.headers["X-New"] = "2"
    answer = session.send(prepared, stream=False, timeout=5)
    seen = api.seen[0]
    assert (b"new", None, "2") == (seen.body, seen.headers.get("x-session"), seen.headers["x-new"])
    assert (200, prepared) == (answer.status_code, answer.request)


def test_the_environment_is_merged_by_hand(
    session: requests.Session, api: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a prepared request, as requests says."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/bundle.pem")
    prepared = session.prepare_request(requests.Request("GET", api.url))
    settings = session.merge_environment_settings(prepared.url, {}, None, None, None)
    assert "/bundle.pem" == settings["verify"]
    assert 200 == session.send(prepared, **settings).status_code


def test_a_request_prepared_without_the_session_has_nothing_of_it(session: requests.Session, api: Resource) -> None:
    """Neither its headers nor its auth."""
    session.headers["X-Session"] = "1"
    session.send(requests.Request("GET", api.url).prepare())
    assert (None, None) == (api.seen[0].headers.get("x-session"), api.tokens[0])


# Answers.


def test_an_answer_can_be_read_piece_by_piece(session: requests.Session, api: Resource) -> None:
    """With stream=True nothing is read before it is asked for."""
    api.behave = lambda seen: Reply(body=b"one\ntwo\nthree")
    with session.get(api.url, stream=True) as answer:
        assert not answer._content_consumed  # type: ignore[attr-defined]
        assert [b"one", b"two", b"three"] == list(answer.iter_lines())
    with session.get(api.url, stream=True) as answer:
        assert b"one\n" == answer.raw.read(4)


def test_an_answer_says_what_became_of_the_request(session: requests.Session, api: Resource) -> None:
    """Its headers in any case, links, cookies, time, and the request itself."""
    api.behave = lambda seen: Reply(200, {"Link": '</2>; rel="next"', "Set-Cookie": "a=1"}, b'{"x": 1}')
    answer = session.get(f"{api.url}/1")
    assert {"x": 1} == answer.json()
    assert ("/2", "1", True) == (answer.links["next"]["url"], answer.cookies["a"], answer.elapsed.total_seconds() > 0)
    assert (f"{api.url}/1", "GET", "8") == (answer.url, answer.request.method, answer.headers["content-LENGTH"])


def test_a_bad_status_is_an_error_on_demand(session: requests.Session, api: Resource) -> None:
    """Not before."""
    api.behave = lambda seen: Reply(404)
    answer = session.get(api.url)
    assert not answer.ok
    with pytest.raises(HTTPError) as caught:
        answer.raise_for_status()
    assert answer is caught.value.response


# Redirects.


def test_redirects_are_followed_and_remembered(session: requests.Session, api: Resource) -> None:
    """In the order in which they were met."""
    api.behave = redirects(a="b", b="c")
    answer = session.get(f"{api.url}/a")
    assert (["/a", "/b"], "/c") == ([one.request.path_url for one in answer.history], answer.request.path_url)


def test_redirects_can_be_left_alone(session: requests.Session, api: Resource) -> None:
    """Those of HEAD are, if nothing else is said; and the next request can be had, and sent."""
    api.behave = redirects(a="b")
    assert 302 == session.head(f"{api.url}/a").status_code
    assert 200 == session.head(f"{api.url}/a", allow_redirects=True).status_code
    answer = session.get(f"{api.url}/a", allow_redirects=False)
    assert ([], f"{api.url}/b") == (answer.history, answer.next.url)
    assert 200 == session.send(answer.next).status_code


def test_a_post_that_is_redirected_becomes_a_get(session: requests.Session, api: Resource) -> None:
    """Without its body; a 307 stays what it was."""
    api.behave = redirects(a="b")
    session.post(f"{api.url}/a", data="body")
    api.behave = lambda seen: Reply(307, {"Location": "/b"}) if seen.path == "/a" else Reply()
    session.post(f"{api.url}/a", data="body")
    assert [("GET", b""), ("POST", b"body")] == [(seen.method, seen.body) for seen in api.seen if seen.path == "/b"]


def test_there_is_an_end_to_redirects(session: requests.Session, api: Resource) -> None:
    """Where the session says."""
    api.behave = redirects(a="a")
    session.max_redirects = 3
    with pytest.raises(TooManyRedirects) as caught:
        session.get(f"{api.url}/a")
    assert (4, True) == (len(api.seen), caught.value.response is not None)


# Hooks, auth, adapters.


def test_hooks_of_the_session_and_of_a_request(session: requests.Session, api: Resource) -> None:
    """They see the answer, and may put another one in its place; a request's come instead of the session's."""
    called: list[str] = []
    session.hooks["response"].append(lambda answer, *_, **__: called.append("session"))
    session.get(api.url)

    def replace(answer: requests.Response, *_: object, **__: object) -> requests.Response:
        called.append("request")
        answer.reason = "replaced"
        return answer

    assert "replaced" == session.get(api.url, hooks={"response": [replace]}).reason
    assert ["session", "request"] == called


def test_another_auth_takes_the_place_of_the_session_s(session: requests.Session, api: Resource) -> None:
    """Of one request, or for good; a pair is a name and a password."""

    class Pizza(AuthBase):
        def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
            r.headers["X-Pizza"] = "margherita"
            return r

    session.get(api.url, auth=Pizza())
    session.auth = ("joe", "secret")
    session.get(api.url)
    assert ("margherita", None) == (api.seen[0].headers["x-pizza"], api.tokens[0])
    assert "Basic am9lOnNlY3JldA==" == api.tokens[1]


class Recording(HTTPAdapter):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[dict[str, Any]] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self.given.append(kwargs)
        return super().send(request, *args, **kwargs)


def test_an_adapter_serves_the_urls_below_its_prefix(session: requests.Session, api: Resource, tmp_path: Path) -> None:
    """The longest prefix wins, and the adapter gets the options of session and request."""
    cert = tmp_path / "cert.pem"
    cert.touch()
    everywhere, special = Recording(), Recording()
    session.mount("http://", everywhere)
    session.mount(f"{api.url}/special", special)
    session.cert = str(cert)
    session.get(f"{api.url}/special/x", timeout=(3, 5), proxies={"no_proxy": "*"}, verify=False, stream=True).close()
    session.get(f"{api.url}/x", verify="/bundle.pem")
    assert (1, 1) == (len(everywhere.given), len(special.given))
    given = special.given[0]
    assert ((3, 5), True, False, str(cert)) == tuple(given[name] for name in ("timeout", "stream", "verify", "cert"))
    assert ("*", "/bundle.pem") == (given["proxies"]["no_proxy"], everywhere.given[0]["verify"])


# Errors.


def test_errors_are_those_of_requests(session: requests.Session) -> None:
    """Of a URL before it is sent, of the network, and of time."""
    with pytest.raises(MissingSchema):
        session.get("api.example.com/x")
    with pytest.raises(requests.exceptions.ConnectionError) as refused:
        session.get("http://127.0.0.1:1/")
    assert "http://127.0.0.1:1/" == refused.value.request.url
    with raw_server(hangs) as server, pytest.raises(ReadTimeout):
        session.get(server.url, timeout=0.1)


def test_a_prefix_without_an_adapter_is_an_error(session: requests.Session, api: Resource) -> None:
    """As for any scheme that nobody serves."""
    session.adapters.clear()
    with pytest.raises(InvalidSchema):
        session.get(api.url)


def test_a_session_of_ours_is_one_of_theirs(session: requests.Session) -> None:
    """For whoever asks by type; with every attribute that theirs has."""
    assert isinstance(session, requests.Session)
    assert set(vars(requests.Session())) <= set(vars(session))
