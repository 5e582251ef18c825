"""An API request and the token request that it causes: neither shows in the other."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from typing import Any

import pytest
import requests
import responses

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.fetchers import ClientCredentialsFetcher
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy

IDP, API = "https://idp.example/token", "https://api.example/things"
TRANSPORT = ("timeout", "verify", "cert", "proxies", "stream")

BODIES: dict[str, dict[str, Any]] = {
    "json": {"json": {"api": "json"}},
    "data": {"data": {"api": "form"}},
    "files": {"files": {"api": b"file"}},
}
OPTIONS: dict[str, Any] = {
    "params": {"api": "param"},
    "headers": {"X-Api": "1", "Accept": "api/type"},
    "cookies": {"api": "cookie"},
    "timeout": (7, 8),
    "verify": "api-bundle.pem",
    "cert": "api-cert.pem",
    "proxies": {"https": "http://api-proxy.example:1"},
    "stream": False,
    "allow_redirects": False,
    "hooks": {"response": lambda response, **_: response.headers.update({"X-Hooked": "1"})},
}


def fetcher(**options: Any) -> ClientCredentialsFetcher:
    return ClientCredentialsFetcher(token_url=IDP, client_id="client", client_secret="secret", scope="s", **options)


def session_of(manager: TokenManager) -> requests.Session:
    return AuthorizedSession(manager)


def plain_session(manager: TokenManager) -> requests.Session:
    session = requests.Session()
    session.auth = BearerAuth(manager)
    return session


faces = pytest.mark.parametrize("face", [session_of, plain_session])
threads = pytest.mark.parametrize("background", [True, False], ids=["renewal thread", "caller's thread"])
Face = Callable[[TokenManager], requests.Session]


@pytest.fixture(autouse=True)
def network() -> Iterator[responses.RequestsMock]:
    """A token endpoint that sets a cookie, and an API that rejects its first request."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as network:
        cookie = {"Set-Cookie": "idp=1; Domain=example; Path=/"}
        tokens = count(1)
        network.add_callback(
            "POST", IDP, lambda _: (200, cookie, json.dumps({"access_token": f"token-{next(tokens)}"}))
        )
        network.patch(API, status=401)
        network.patch(API, json={})
        yield network


def sent(network: responses.RequestsMock, url: str) -> list[dict[str, Any]]:
    """Return all that was sent to *url*, and how."""
    requests_sent = [call.request for call in network.calls if call.request.url.startswith(url)]
    return [
        {"method": one.method, "url": one.url, "headers": dict(one.headers), "body": one.body}
        | {name: one.req_kwargs[name] for name in TRANSPORT}
        for one in requests_sent
    ]


def managed(source: ClientCredentialsFetcher, *, background: bool = True) -> TokenManager:
    policy = RefreshPolicy(min_renewal_interval=0, refresh_request_timeout=1000)
    return TokenManager(source, policy=policy, background=background)


@faces
@threads
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_token_request_is_the_same_whatever_asks_for_it(
    face: Face, background: bool, body: dict[str, Any], network: responses.RequestsMock
) -> None:
    """Nothing that an API request is given, and nothing that its session has, goes to the token endpoint."""
    fetcher().fetch()
    (alone,) = sent(network, IDP)
    network.calls.reset()
    with closing(managed(fetcher(), background=background)) as manager, face(manager) as session:
        session.headers["X-Session"] = "1"
        session.params = {"session": "param"}
        session.cookies.set("session", "cookie")
        answer = session.patch(API, **body, **OPTIONS)
    assert (200, "1") == (answer.status_code, answer.headers["X-Hooked"])
    assert [alone, alone] == sent(network, IDP)  # for the first request, and for the second after the 401


@faces
def test_what_a_session_was_set_to_stays_with_it(face: Face, network: responses.RequestsMock) -> None:
    """Its certificate above all, which may be another client's."""
    fetcher().fetch()
    (alone,) = sent(network, IDP)
    network.calls.reset()
    with closing(managed(fetcher())) as manager, face(manager) as session:
        session.cert, session.verify, session.stream = ("api.pem", "api.key"), "api-bundle.pem", True
        session.proxies = {"https": "http://api-proxy.example:1"}
        session.trust_env = False
        session.patch(API)
    assert [alone, alone] == sent(network, IDP)
    assert ("api.pem", "api.key") == sent(network, API)[0]["cert"]


@faces
def test_a_fetchers_transport_is_not_the_apis(face: Face, network: responses.RequestsMock) -> None:
    """Its certificate, proxies and limits go to the token endpoint only, and its cookies nowhere."""
    own: dict[str, Any] = {
        "timeout": (1, 2),
        "verify": "idp-bundle.pem",
        "cert": "idp-cert.pem",
        "proxies": {"https": "http://idp-proxy.example:1"},
    }
    with closing(managed(fetcher(**own))) as manager, face(manager) as session:
        session.patch(API, json={"api": 1}, **{name: OPTIONS[name] for name in own})
    assert [own, own] == [{name: one[name] for name in own} for one in sent(network, IDP)]
    for request in sent(network, API):
        assert {name: OPTIONS[name] for name in own} == {name: request[name] for name in own}
        assert "Bearer token-2" == request["headers"]["Authorization"]  # of both: the request is sent again
        assert "Cookie" not in request["headers"]
