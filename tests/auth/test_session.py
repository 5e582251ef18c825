"""AuthorizedSession: a requests.Session that authorises, with a base URL, retries and no .netrc."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from requests.exceptions import InvalidURL
from support.copyable import CANARY
from support.forked import Child
from support.protected import Issuer, Reply, Resource
from support.raw_server import answer, raw_server, resets, says
from urllib3.util import Retry

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.errors import AuthenticationError, ConfigurationError, RenewalStoppedError
from tokenkit.fetchers.local import CallableTokenFetcher, StaticTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token


@pytest.fixture
def session(manager: TokenManager) -> Iterator[AuthorizedSession]:
    with AuthorizedSession(manager) as session:
        yield session


def test_every_request_is_authorised(session: AuthorizedSession, api: Resource) -> None:
    """Whatever the method."""
    for method in ("get", "post", "put", "patch", "delete", "head", "options"):
        assert 200 == getattr(session, method)(api.url).status_code


def test_a_rejected_token_is_replaced(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """As by BearerAuth, and with the options given here."""
    session.get(api.url)
    mint.revoke()
    assert 200 == session.get(api.url).status_code


def test_options_reach_the_auth_object(manager: TokenManager, mint: Issuer, api: Resource) -> None:
    """refresh_status_codes and max_refresh_attempts are BearerAuth's."""
    api.behave = lambda seen: Reply(200 if seen.token == "Bearer token-2" else 403)
    with AuthorizedSession(manager, refresh_status_codes=[403], max_refresh_attempts=1) as session:
        assert 200 == session.get(api.url).status_code


@pytest.mark.parametrize(
    ("base", "url", "path"),
    [
        ("/v1/", "users", "/v1/users"),
        ("/v1/", "users/1?a=b", "/v1/users/1?a=b"),
        ("/v1/", "/users", "/users"),
        ("/v1/", "../v2/users", "/v2/users"),
        ("/v1/", "", "/v1/"),
        ("/v1/", "?page=2", "/v1/?page=2"),
        ("/v1", "users", "/v1/users"),
        ("/v1", "/users", "/users"),
        ("/v1", "", "/v1"),
        ("/v1", "?page=2", "/v1?page=2"),
        ("", "users", "/users"),
        ("", "users//1", "/users//1"),
        ("/v1/", "users//1/?a=//b", "/v1/users//1/?a=//b"),
        ("/v1/", "proxy/http://example.com/a", "/v1/proxy/http://example.com/a"),
        ("/v1", "a//", "/v1/a//"),
        ("/v1/", "../v2//./a/../b", "/v2//b"),
        ("/v1/", "/a//b", "/a//b"),
    ],
)
def test_relative_urls_are_joined(manager: TokenManager, api: Resource, base: str, url: str, path: str) -> None:
    """As a browser joins them, below the base, whether that ends in a slash or not."""
    with AuthorizedSession(manager, base_url=api.url + base) as session:
        session.get(url)
    assert path == api.seen[0].path


def test_an_absolute_url_ignores_the_base(manager: TokenManager, api: Resource) -> None:
    """It is used as it is; origins= says whether it gets the token."""
    api.behave = lambda seen: Reply()
    with AuthorizedSession(manager, base_url=f"{api.url}/v1/", origins=[api.url]) as session:
        session.get(f"{api.elsewhere}/x")
        session.get(b"y")
    assert [("localhost", None), ("127.0.0.1", "Bearer token-1")] == [(seen.host, seen.token) for seen in api.seen]


def test_a_prepared_request_is_joined_too(manager: TokenManager, api: Resource) -> None:
    """session.prepare_request() knows the base URL as session.get() does."""
    with AuthorizedSession(manager, base_url=f"{api.url}/v1/") as session:
        prepared = session.prepare_request(requests.Request("GET", "users"))
        assert f"{api.url}/v1/users" == prepared.url
        assert 200 == session.send(prepared).status_code


def test_a_url_that_cannot_be_joined_is_an_error_of_requests(manager: TokenManager) -> None:
    """As one that it cannot parse."""
    session = AuthorizedSession(manager, base_url="https://api.example.com/v1/")
    with session, pytest.raises(InvalidURL, match="cannot be joined"):
        session.get("http://[::1/")


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .netrc that knows both hosts."""
    lines = [f"machine {host} login joe password secret\n" for host in ("127.0.0.1", "localhost")]
    (tmp_path / "netrc").write_text("".join(lines))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.usefixtures("netrc")
def test_netrc_never_replaces_the_token(session: AuthorizedSession, api: Resource) -> None:
    """Neither on the first request nor on a redirect; and no other host gets a password from it."""
    targets = {"/a": "/b", "/b": f"{api.elsewhere}/c"}
    api.behave = lambda seen: Reply(302, {"Location": targets[seen.path]}) if seen.path in targets else Reply()
    session.get(f"{api.url}/a")
    assert ["Bearer token-1", "Bearer token-1", None] == api.tokens


@pytest.mark.usefixtures("netrc")
def test_a_plain_session_takes_netrc_after_a_redirect(manager: TokenManager, api: Resource) -> None:
    """Which is why there is this class: requests asks .netrc again, whatever auth= said."""
    api.behave = lambda seen: Reply(302, {"Location": "/b"}) if seen.path == "/a" else Reply()
    with requests.Session() as plain:
        plain.auth = BearerAuth(manager)
        plain.get(f"{api.url}/a")
    assert str(api.tokens[1]).startswith("Basic ")


def test_a_redirect_to_a_listed_origin_keeps_the_token(manager: TokenManager, api: Resource) -> None:
    """Both are trusted; requests alone would drop it."""
    api.behave = lambda seen: Reply(302, {"Location": f"{api.elsewhere}/b"}) if seen.path == "/a" else Reply()
    with AuthorizedSession(manager, origins=[api.url, api.elsewhere]) as session:
        session.get(f"{api.url}/a")
    assert ["Bearer token-1"] * 2 == api.tokens


def test_another_credential_keeps_to_its_host(manager: TokenManager, api: Resource) -> None:
    """auth= of one request is used in place of the token, and follows no redirect to another host."""
    api.behave = lambda seen: Reply(302, {"Location": f"{api.elsewhere}/b"}) if seen.path == "/a" else Reply()
    with AuthorizedSession(manager, origins=[api.url, api.elsewhere]) as session:
        session.get(f"{api.url}/a", auth=("joe", "secret"))
    assert [True, False] == [str(token).startswith("Basic ") for token in api.tokens]
    assert manager.current is None


@pytest.mark.parametrize("auth", [(), "", False], ids=repr)
@pytest.mark.parametrize("warm", [True, False])
def test_an_empty_auth_is_none(manager: TokenManager, api: Resource, auth: object, warm: bool) -> None:
    """As in requests: the one request is sent without, whether a token is at hand or not."""
    if warm:
        manager.get_token()
    with AuthorizedSession(manager) as session:
        session.get(api.url, auth=auth)
    assert [None] == api.tokens


def test_proxies_of_the_environment_are_used(
    manager: TokenManager, api: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to look into .netrc does not mean not to look into the environment."""
    api.behave = lambda seen: Reply()
    monkeypatch.setenv("http_proxy", api.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with AuthorizedSession(manager, origins=[]) as session:
        session.get("http://api.example.com/x")
    assert "http://api.example.com/x" == api.seen[0].path


def test_a_count_of_retries_is_for_requests_that_did_not_arrive(manager: TokenManager) -> None:
    """As of requests' adapter, for both schemes."""
    scripts = (resets(), resets(), says(answer(b"{}")))
    with raw_server(*scripts) as server, AuthorizedSession(manager, retries=2) as session:
        assert 200 == session.get(server.url).status_code
        assert {2} == {adapter.max_retries.total for adapter in session.adapters.values()}


def test_a_policy_of_retries_is_taken_as_it_is(manager: TokenManager, api: Resource) -> None:
    """With the statuses that it names."""
    api.behave = lambda seen: Reply(503 if len(api.seen) < 3 else 200)
    with AuthorizedSession(manager, retries=Retry(3, status_forcelist=[503])) as session:
        assert 200 == session.get(api.url).status_code


def test_a_policy_of_a_class_of_its_own_stays_one(manager: TokenManager) -> None:
    """A subclass of Retry may do what it likes."""

    class Own(Retry):
        pass

    policy = Own(3)
    with AuthorizedSession(manager, retries=policy) as session:
        assert policy is session.get_adapter("https://x").max_retries


def test_nothing_is_retried_by_default(manager: TokenManager) -> None:
    """As with requests' own session."""
    raises = pytest.raises(requests.exceptions.ConnectionError)
    with raw_server(resets(), says(answer(b"{}"))) as server, AuthorizedSession(manager) as session, raises:
        session.get(server.url)


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_url": "users"},
        {"base_url": "ftp://host/"},
        {"base_url": 5},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": (1,)},
        {"timeout": (1, 0)},
        {"timeout": "5"},
        {"timeout": True},
        {"retries": -1},
        {"retries": "2"},
        {"retries": True},
        {"refresh_timeout": -1},
        {"max_refresh_attempts": -1},
        {"refresh_status_codes": [200]},
        {"origins": ["x"]},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_at_once(manager: TokenManager, arguments: dict[str, object]) -> None:
    """A ConfigurationError, where the mistake is made."""
    with pytest.raises(ConfigurationError):
        AuthorizedSession(manager, **arguments)  # type: ignore[arg-type]


def test_a_wrong_argument_is_named_as_it_was_given(manager: TokenManager) -> None:
    """What is handed on to BearerAuth under another name is told under its own."""
    with pytest.raises(ConfigurationError, match="refresh_timeout"):
        AuthorizedSession(manager, refresh_timeout=-1)


def test_a_fetcher_is_enough() -> None:
    """The session makes a manager of it, and closes that with itself."""
    with AuthorizedSession(StaticTokenFetcher(Token("abc"))) as session:
        request = session.prepare_request(requests.Request("GET", "https://api.example.com/"))
        assert str(request.headers["Authorization"]).startswith("Bearer ")
    with pytest.raises(RenewalStoppedError):
        session.auth.manager.get_token()


def test_a_manager_that_is_given_stays_open(manager: TokenManager) -> None:
    """Others may share it."""
    AuthorizedSession(manager).close()
    assert manager.get_token()


def test_errors_are_those_of_requests(session: AuthorizedSession, api: Resource, mint: Issuer) -> None:
    """No token: a RequestException that knows its request."""
    mint.failing = True
    with pytest.raises(requests.exceptions.RequestException) as caught:
        session.get(api.url)
    assert isinstance(caught.value, AuthenticationError)
    assert f"{api.url}/" == caught.value.request.url


def test_closing_leaves_the_manager_open(manager: TokenManager, api: Resource) -> None:
    """Others may share it, and what they ask of it is still renewed."""
    with AuthorizedSession(manager) as session:
        session.get(api.url)
    assert "token-1" == manager.get_token(0).access_token
    assert "token-2" == manager.force_refresh().access_token


def make_token() -> Token:
    return Token(CANARY)


def test_it_pickles_with_its_manager(api: Resource) -> None:
    """The copy has all options, and the retries, and no token."""
    api.behave = lambda seen: Reply()
    with (
        TokenManager(CallableTokenFetcher(make_token, name="made")) as manager,
        AuthorizedSession(manager, base_url=f"{api.url}/v1/", timeout=7, retries=2) as session,
    ):
        session.get("x")
        data = pickle.dumps(session)
    other = pickle.loads(data)
    with other, other.auth.manager:
        assert (7, 2) == (other.timeout, other.get_adapter("https://x").max_retries.total)
        assert 200 == other.get("y").status_code
    assert CANARY.encode() not in data
    assert ["/v1/x", "/v1/y"] == [seen.path for seen in api.seen]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_opens_connections_of_its_own(session: AuthorizedSession, api: Resource) -> None:
    """Two processes on one connection would read each other's answers."""
    session.get(api.url)
    assert 200 == Child(lambda: session.get(api.url, timeout=5).status_code).result()
    assert 200 == session.get(api.url).status_code
    assert (3, 2) == (len(api.seen), api.connections)
