"""Redirects: the token stays in its origin, whoever asks for it elsewhere."""

import copy
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.exceptions import InvalidURL
from support.protected import UNLIMITED, Issuer, Reply, Resource, Seen, managed, path_of, resource
from support.raw_server import raw_server, says

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.manager import TokenManager


@pytest.fixture
def session(manager: TokenManager) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.auth = BearerAuth(manager)
        yield session


def redirecting(api: Resource, target: str, status: int = 302) -> None:
    """Let '/start' redirect a good token to *target*; everything else wants a good token too."""

    def behave(seen: Seen) -> Reply:
        reply = api.protect(seen)
        return Reply(status, {"Location": target}) if reply.status == 200 and path_of(seen) == "/start" else reply

    api.behave = behave


def test_a_redirect_within_the_origin_keeps_the_token(session: requests.Session, api: Resource) -> None:
    """As with every header that requests sends on."""
    redirecting(api, "/end")
    assert 200 == session.get(f"{api.url}/start").status_code


def test_a_redirect_to_another_host_loses_the_token(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """Its 401 is neither answered with a token nor worth a renewal."""
    redirecting(api, f"{api.elsewhere}/end")
    assert 401 == session.get(f"{api.url}/start").status_code
    assert (["Bearer token-1", None], 1) == (api.tokens, mint.given)


def test_a_redirect_after_a_renewal_carries_the_new_token(
    session: requests.Session, manager: TokenManager, api: Resource, mint: Issuer
) -> None:
    """The rejected one is not sent to the next hop."""
    redirecting(api, "/end")
    manager.get_token()
    mint.revoke()
    assert 200 == session.get(f"{api.url}/start").status_code
    assert ["Bearer token-1", "Bearer token-2", "Bearer token-2"] == api.tokens


def test_a_hop_that_rejects_is_sent_again(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """A token that is revoked between two hops is renewed at the second; requests' history is of redirects alone."""
    revoked = threading.Event()

    def behave(seen: Seen) -> Reply:
        if path_of(seen) == "/start":
            return Reply(302, {"Location": "/end"})
        if not revoked.is_set():
            revoked.set()
            mint.revoke()
        return api.protect(seen)

    api.behave = behave
    response = session.get(f"{api.url}/start")
    assert (200, 2) == (response.status_code, mint.given)
    assert "Bearer token-2" == response.request.headers["Authorization"]
    assert [302] == [one.status_code for one in response.history]


def test_both_hops_may_reject(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """A token that took the first one's place is known as ours on the next hop."""
    good = {"/start": "Bearer token-2", "/end": "Bearer token-3"}

    def behave(seen: Seen) -> Reply:
        if seen.token != good[path_of(seen)]:
            return Reply(401)
        return Reply(302, {"Location": "/end"}) if path_of(seen) == "/start" else Reply()

    api.behave = behave
    assert 200 == session.get(f"{api.url}/start").status_code
    assert [1, 2, 2, 3] == [int(str(token)[-1]) for token in api.tokens]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_post_is_redirected_as_requests_does(session: requests.Session, api: Resource, status: int) -> None:
    """Method and body are requests' affair, after a renewal too."""
    redirecting(api, "/end", status)
    session.post(f"{api.url}/start", data=b"abc")
    kept = status in (307, 308)
    assert ("POST" if kept else "GET", b"abc" if kept else b"") == (api.seen[-1].method, api.seen[-1].body)


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_no_header_of_ours_leaves_its_origin(manager: TokenManager, api: Resource, header: str) -> None:
    """Requests takes off Authorization only; another header would be sent on to anybody."""
    api.behave = lambda seen: Reply(302, {"Location": f"{api.elsewhere}/end"}) if seen.path == "/start" else Reply()
    with requests.Session() as session:
        session.auth = BearerAuth(manager, header=header)
        response = session.get(f"{api.url}/start")
    assert [True, False] == [header.lower() in seen.headers for seen in api.seen]
    assert header in response.history[0].request.headers


@pytest.mark.parametrize(
    "location",
    [
        "//localhost:{port}/end",
        "////localhost:{port}/end",
        "////localhost/end",
        "http://localhost:{port}\\@127.0.0.1/end",
        "http://127.0.0.1:{port}@localhost:{port}/end",
        "http:\\\\localhost:{port}/end",
        "http://127.0.0.1:{other}/end",
        "http://LOCALHOST:{port}/end",
        "http://[::1]:{port}/end",
        "http://127.0.0.1:{port}\t.localhost/end",
        "https://127.0.0.1:{port}/end",
    ],
)
@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_no_spelling_of_another_origin_gets_the_token(manager: TokenManager, location: str, header: str) -> None:
    """Whatever the Location looks like, the request that requests makes of it has no token, or stays at home."""
    hops: list[requests.PreparedRequest] = []

    class Watching(requests.Session):
        def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
            hops.append(request)
            if len(hops) > 1:
                raise requests.exceptions.ConnectionError("far enough")
            return super().send(request, **options)  # type: ignore[arg-type]

    with resource() as api, Watching() as session:
        target = location.format(port=api.port, other=api.port + 1)
        api.behave = lambda seen: Reply(302, {"Location": target})
        session.auth = BearerAuth(manager, header=header)
        with pytest.raises((requests.exceptions.RequestException, ValueError)):
            session.get(f"{api.url}/start")
    for hop in hops[1:]:
        assert header not in hop.headers or (hop.url or "").startswith(f"{api.url}/")


@pytest.mark.parametrize("location", [b"http://\xff\xfe/", b"http://[::1/", b"http://127.0.0.1:99999/"])
@pytest.mark.parametrize("kind", ["plain", "authorized"])
def test_a_location_that_is_no_url_is_an_error_of_requests(manager: TokenManager, location: bytes, kind: str) -> None:
    """Requests alone would raise a ValueError, and follow it no more than we do."""
    head = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
    with (
        raw_server(says(head)) as server,
        requests.Session() if kind == "plain" else AuthorizedSession(manager) as session,
    ):
        session.auth = BearerAuth(manager)
        with pytest.raises(InvalidURL) as caught:
            session.get(server.url, timeout=10)
        assert (1, f"{server.url}/") == (len(server.requests), caught.value.request.url)


def test_the_next_request_of_a_redirect_that_is_not_followed(session: requests.Session, api: Resource) -> None:
    """allow_redirects=False leaves response.next, which carries no token to another host."""
    redirecting(api, f"{api.elsewhere}/end")
    response = session.get(f"{api.url}/start", allow_redirects=False)
    assert response.next is not None
    assert "Authorization" not in response.next.headers


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_redirect_that_gets_no_answer_leaves_a_request_without_its_token(
    session: requests.Session, api: Resource, duplicate: Callable[[object], requests.PreparedRequest]
) -> None:
    """Its owner may send it again, or a copy of it: a 401 brings the token back, where it is not another's to send."""
    redirecting(api, "http://127.0.0.1:9/end")
    prepared = session.prepare_request(requests.Request("GET", f"{api.url}/start"))
    with pytest.raises(requests.ConnectionError):
        session.send(prepared)
    again = duplicate(prepared)
    assert "Authorization" not in again.headers
    prepared.url = f"{api.url}/other"
    assert 200 == session.send(prepared).status_code
    assert [None, "Bearer token-1"] == api.tokens[1:]


def test_hooks_are_themselves_wherever_they_are_copied_to(session: requests.Session, api: Resource) -> None:
    """They know their request by what they are; a request is copied with them."""
    redirecting(api, "http://127.0.0.1:9/end")
    prepared = session.prepare_request(requests.Request("GET", f"{api.url}/start"))
    with pytest.raises(requests.ConnectionError):
        session.send(prepared)
    with AuthorizedSession(session.auth.manager.source) as waiting:  # type: ignore[union-attr]  # of BearerAuth
        later = waiting.prepare_request(requests.Request("GET", api.url))
    hooks = [request.hooks["response"][0] for request in (prepared, later)]
    assert hooks == [copy.copy(one) for one in hooks]


def test_an_upgrade_to_https_is_another_origin(manager: TokenManager) -> None:
    """Requests would keep the header from http on port 80 to https on port 443; origins are exact."""
    import responses

    with responses.RequestsMock() as mock, requests.Session() as session:
        mock.get("http://localhost/start", status=302, headers={"Location": "https://localhost/end"})
        mock.get("https://localhost/end", json={})
        session.auth = BearerAuth(manager)
        session.get("http://localhost/start")
        assert "Authorization" not in mock.calls[1].request.headers


# A graph of redirects over three origins, with rejections at any hop.

ORIGINS = 3


@dataclass(frozen=True)
class Hop:
    """What the node of a graph does: at which origin it is, and how often it rejects even a good token."""

    origin: int
    rejects: int


graphs = st.lists(st.builds(Hop, st.integers(0, ORIGINS - 1), st.integers(0, 2)), min_size=1, max_size=5)


class Graph:
    """Serves a chain of hops, each wanting a token that is good, and revoking it first as often as it says."""

    def __init__(self, servers: list[Resource], names: list[str]) -> None:
        self.servers = servers
        self.names = names

    def lay(self, hops: list[Hop], mint: Issuer) -> None:
        self.left = [hop.rejects for hop in hops]
        self.hops = hops
        self.mint = mint
        for number, server in enumerate(self.servers):
            server.seen.clear()
            server.behave = lambda seen, number=number: self.reply(number, seen)  # type: ignore[misc]

    def reply(self, origin: int, seen: Seen) -> Reply:
        place = int(path_of(seen).strip("/"))
        if self.hops[place].origin != origin:
            return Reply(500)
        if self.left[place]:
            self.left[place] -= 1
            self.mint.revoke()
        if seen.token not in self.mint.good:
            return Reply(401)
        return self.next_of(place)

    def next_of(self, place: int) -> Reply:
        if place + 1 == len(self.hops):
            return Reply(200, body=b"end")
        return Reply(307, {"Location": f"{self.url_of(place + 1)}"})

    def url_of(self, place: int) -> str:
        return f"{self.names[self.hops[place].origin]}/{place}"


@pytest.fixture(scope="module")
def graph() -> Iterator[Graph]:
    with resource() as one, resource() as two, resource() as three:
        yield Graph([one, two, three], [one.url, two.elsewhere, three.url])


def reachable(hops: list[Hop], listed: set[int]) -> int:
    """Return how many hops get a token: until the first that is at another origin than the one before it."""
    for place in range(1, len(hops)):
        here, before = hops[place].origin, hops[place - 1].origin
        if here != before and here not in listed:
            return place
    return len(hops)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hops=graphs, listing=st.sets(st.integers(0, ORIGINS - 1)) | st.none(), own=st.booleans())
def test_tokens_stay_where_they_may(graph: Graph, hops: list[Hop], listing: set[int] | None, own: bool) -> None:
    """No origin but the first gets a token unless it is listed, and every request that can succeed does.

    A plain session follows requests' rule and loses the token on the way to any other host; an AuthorizedSession
    takes it on to an origin that is listed.
    """
    mint = Issuer()
    graph.lay(hops, mint)
    listed = None if listing is None else {*listing, hops[0].origin}
    origins = None if listed is None else [graph.names[number] for number in listed]
    with managed(mint, UNLIMITED) as manager:
        session = AuthorizedSession(manager, origins=origins) if own else requests.Session()
        if not own:
            session.auth = BearerAuth(manager, origins=origins)
        with session:
            response = session.get(graph.url_of(0), timeout=10)
    may = {hops[0].origin} | (listed or set())
    for number, server in enumerate(graph.servers):
        assert number in may or {None} >= set(server.tokens)
    whole = reachable(hops, (listed or set()) if own else set()) == len(hops)
    assert (200 if whole else 401) == response.status_code


def test_names_of_this_machine_are_two_hosts() -> None:
    """What these tests rest on: localhost leads to 127.0.0.1, and requests takes them for two."""
    assert "127.0.0.1" == socket.gethostbyname("localhost")
    assert requests.Session().should_strip_auth("http://127.0.0.1/", "http://localhost/")
