"""No token reaches an origin that must not have it, whatever session, thread or hook has the request."""

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from support.protected import UNLIMITED, Issuer, Reply, Resource, Seen, managed, resource

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.errors import ConfigurationError
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
from tokenkit.manager import TokenManager

HEADERS = ["Authorization", "X-Token"]


class Keeping(requests.Session):
    """A session that keeps credentials on redirects, as some libraries' do."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        pass


class KeepingAuthorized(AuthorizedSession):
    """One of ours that does."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        pass


SESSIONS = [requests.Session, Keeping, AuthorizedSession, KeepingAuthorized]


def session_of(kind: type[requests.Session], manager: TokenManager, **options: Any) -> requests.Session:
    if issubclass(kind, AuthorizedSession):
        return kind(manager, **options)
    session = kind()
    session.auth = BearerAuth(manager, **options)
    return session


def field(seen: Seen, header: str) -> str | None:
    return seen.headers.get(header.lower())


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("listed", [False, True])
def test_a_session_that_keeps_credentials_keeps_none_of_ours(
    manager: TokenManager, api: Resource, header: str, kind: type[requests.Session], listed: bool
) -> None:
    """Its class decides about credentials of its own; where the token goes is decided by origins."""
    api.behave = lambda seen: Reply(302, {"Location": f"{api.elsewhere}/x"}) if seen.path == "/" else Reply()
    options = {"origins": [api.url]} if listed else {}
    with session_of(kind, manager, header=header, extra_headers={"X-Key": "k"}, **options) as session:
        session.get(f"{api.url}/")
    assert [("Bearer token-1", "k"), (None, None)] == [(field(one, header), field(one, "X-Key")) for one in api.seen]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("kind", SESSIONS)
def test_a_prepared_request_can_be_sent_after_a_redirect(
    manager: TokenManager, api: Resource, header: str, kind: type[requests.Session]
) -> None:
    """It has its token again once the redirect was followed; requests never changes what it was given either."""
    api.behave = lambda seen: Reply(302, {"Location": f"{api.elsewhere}/x"}) if seen.path == "/" else Reply()
    with session_of(kind, manager, header=header) as session:
        request = session.prepare_request(requests.Request("GET", f"{api.url}/"))
        for _ in range(3):
            session.send(request)
        assert "Bearer token-1" == request.headers[header]
    assert ["Bearer token-1", None] * 3 == [field(seen, header) for seen in api.seen]
    assert 1 == len(request.hooks["response"])


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_request_whose_redirect_led_nowhere_heals(
    manager: TokenManager, api: Resource, mint: Issuer, kind: type[requests.Session]
) -> None:
    """Its next 401 is answered with a token; the redirect that follows carries none."""

    def behave(seen: Seen) -> Reply:
        if seen.path == "/x":
            return Reply()
        return Reply(302, {"Location": targets.pop(0)}) if field(seen, "X-Token") in mint.good else Reply(401)

    api.behave, targets = behave, ["http://localhost:1/", f"{api.elsewhere}/x"]
    with session_of(kind, manager, header="X-Token") as session:
        request = session.prepare_request(requests.Request("GET", f"{api.url}/"))
        with pytest.raises(requests.exceptions.ConnectionError):
            session.send(request)
        assert 200 == session.send(request).status_code
    assert (api.seen[-1].path, None) == ("/x", field(api.seen[-1], "X-Token"))
    assert 1 == mint.given


def test_a_redirect_back_home_is_not_authorised_again(manager: TokenManager, api: Resource) -> None:
    """What another origin sends here is not the owner's wish, even where it is the very URL of the first request."""
    visits: list[str] = []

    def behave(seen: Seen) -> Reply:
        visits.append(seen.path)
        if seen.path == "/away":
            return Reply(302, {"Location": f"{api.url}/"})
        return Reply(302, {"Location": f"{api.elsewhere}/away"}) if len(visits) == 1 else Reply(401)

    api.behave = behave
    with requests.Session() as session:
        session.auth = BearerAuth(manager, header="X-Token")
        assert 401 == session.get(f"{api.url}/").status_code
    assert ["Bearer token-1", None, None] == [field(seen, "X-Token") for seen in api.seen]


def test_two_threads_with_one_request_leak_nothing(mint: Issuer) -> None:
    """One is rejected while the other is on its way elsewhere, held up by a hook of the user's."""
    held, renewed = threading.Event(), threading.Event()

    def hold(response: requests.Response, **_: object) -> None:
        if response.status_code == 302:
            held.set()
            assert renewed.wait(10)

    gate = threading.Barrier(2)
    with resource(mint) as api, managed(mint) as manager, requests.Session() as session:

        def behave(seen: Seen) -> Reply:
            token = field(seen, "X-Token")
            if seen.path == "/x" or token == "Bearer token-2":
                return Reply()
            if gate.wait(10):
                assert held.wait(10)
                return Reply(401)
            return Reply(302, {"Location": f"{api.elsewhere}/x"})

        api.behave = behave
        session.auth, session.hooks["response"] = BearerAuth(manager, header="X-Token"), [hold]
        request = session.prepare_request(requests.Request("GET", f"{api.url}/"))
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(session.send, request) for _ in range(2)]
            while not any(future.done() for future in futures):
                threading.Event().wait(0.01)
            renewed.set()
            assert [200, 200] == [future.result().status_code for future in futures]
        assert [None] == [field(seen, "X-Token") for seen in api.seen if seen.path == "/x"]
        assert "Bearer token-2" == request.headers["X-Token"]


@pytest.mark.parametrize("fresh", [False, True], ids=["waiting for a token", "with a token"])
def test_a_request_that_is_turned_elsewhere_gets_no_token(manager: TokenManager, api: Resource, fresh: bool) -> None:
    """An AuthorizedSession looks at the list when it sends."""
    api.behave = lambda seen: Reply()
    if fresh:
        manager.get_token()
    with AuthorizedSession(manager, origins=[api.url]) as session:
        request = session.prepare_request(requests.Request("GET", api.url))
        request.url = f"{api.elsewhere}/"
        session.send(request)
    assert [None] == api.tokens


# Graphs of redirects over five origins, walked by several threads with one request.

NAMES = ["127.0.0.1", "localhost", "127.0.0.2", "127.0.0.3", "127.0.0.4"]
GRAPHS = int(os.environ.get("TOKENKIT_GRAPHS", "40"))


class World:
    """One server that every name leads to; a request's Host says at which origin it arrived."""

    def __init__(self, server: Resource) -> None:
        self.server = server
        self.origins = [f"http://{name}:{server.port}" for name in NAMES]

    def lay(self, chance: random.Random, header: str, mint: Issuer) -> None:
        """Draw a graph: each place redirects, rejects or answers, as it may again at its next visit."""
        self.edges = {
            f"/{place}": [self._reply(chance) for _ in range(chance.randint(1, 3))]
            for place in range(chance.randint(2, 5))
        }
        self.visits: list[tuple[str, str | None]] = []
        lock = threading.Lock()

        def behave(seen: Seen) -> Reply:
            with lock:
                self.visits.append((seen.host, field(seen, header)))
                replies = self.edges[seen.path]
                reply = replies[0] if len(replies) == 1 else replies.pop(0)
            if reply.status == 401:
                mint.revoke()
            return reply

        self.server.behave = behave

    def _reply(self, chance: random.Random) -> Reply:
        kind = chance.random()
        if kind < 0.2:
            return Reply()
        if kind < 0.45:
            return Reply(401)
        target = f"{chance.choice(self.origins)}/{chance.randint(0, 1)}"
        return Reply(chance.choice([301, 302, 303, 307, 308]), {"Location": target})


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with resource(host="0.0.0.0") as server:
        yield World(server)


def walk(world: World, seed: int) -> list[str]:
    """Send one request through a graph; return the origins that got a token and must not."""
    chance, mint = random.Random(seed), Issuer()
    header, kind = chance.choice(HEADERS), chance.choice(SESSIONS)
    world.lay(chance, header, mint)
    start = chance.randrange(5)
    listed = {start, *chance.sample(range(5), chance.randint(0, 2))} if chance.random() < 0.5 else None
    options: dict[str, Any] = {"header": header, "max_refresh_attempts": chance.randint(0, 2)}
    if listed is not None:
        options["origins"] = [world.origins[number] for number in listed]
    with managed(mint, UNLIMITED) as manager, session_of(kind, manager, **options) as session:
        session.max_redirects = 8
        request = session.prepare_request(requests.Request(chance.choice(["GET", "POST"]), f"{world.origins[start]}/0"))

        def send() -> None:
            for _ in range(2):
                try:
                    session.send(request, timeout=10)
                except requests.exceptions.TooManyRedirects:
                    pass

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(send) for _ in range(chance.randint(1, 4))]:
                future.result()
    may = {NAMES[number] for number in listed or {start}}
    return [host for host, token in world.visits if token is not None and host not in may]


def test_no_graph_of_redirects_leads_a_token_astray(world: World) -> None:
    """Five origins, four session classes, one to four threads, and a header of one's own or requests' own."""
    first = random.randrange(1 << 40)
    for seed in range(first, first + GRAPHS):
        assert [] == walk(world, seed), f"seed {seed}"


# A proxy of the environment, and this machine.


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resource]:
    """A proxy that the environment names."""
    with resource() as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        proxy.behave = lambda seen: Reply(body=b'{"access_token": "by-proxy"}')
        yield proxy


def test_our_session_goes_to_this_machine_directly(manager: TokenManager, api: Resource, proxy: Resource) -> None:
    """By a request, a prepared one, and a redirect; ``proxies=`` is the user's own word."""
    api.behave = lambda seen: Reply(302, {"Location": "/end"}) if seen.path == "/" else Reply()
    with AuthorizedSession(manager) as session:
        session.get(f"{api.url}/")
        session.send(session.prepare_request(requests.Request("GET", f"{api.url}/")))
        assert ([], 4) == (proxy.seen, len(api.seen))
        session.get(f"{api.url}/end", proxies={"http": proxy.url})
        session.proxies = {"http": proxy.url}
        session.get(f"{api.url}/end")
    assert (2, 4) == (len(proxy.seen), len(api.seen))


def test_a_redirect_to_this_machine_is_followed_directly(manager: TokenManager, api: Resource, proxy: Resource) -> None:
    """What an earlier hop had from the environment does not count there."""
    proxy.behave = lambda seen: Reply(302, {"Location": f"{api.url}/end"})
    api.behave = lambda seen: Reply()
    with AuthorizedSession(manager, allow_insecure=True) as session:
        session.get("http://api.example.com/")
    assert (1, 1) == (len(proxy.seen), len(api.seen))


def test_a_plain_session_is_refused(manager: TokenManager, api: Resource, proxy: Resource) -> None:
    """Before a token is fetched: it would go to the proxy in clear text."""
    with pytest.raises(ConfigurationError, match="proxy of the environment"):
        requests.get(api.url, auth=BearerAuth(manager), timeout=10)
    assert ([], None) == (proxy.seen, manager.current)


def test_a_proxy_that_is_named_later_is_told_too(
    manager: TokenManager, api: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where requests to this machine have gone directly before, the next asks the environment of its own moment."""
    session = requests.Session()
    session.auth = BearerAuth(manager)
    session.get(api.url)
    session.get(api.url)
    monkeypatch.setenv("Http_Proxy", "http://proxy.example:3128")
    with pytest.raises(ConfigurationError, match="proxy of the environment"):
        session.get(api.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    session.get(api.url)
    assert 3 == len(api.seen)


def test_a_token_request_to_this_machine_goes_there_directly(api: Resource, proxy: Resource) -> None:
    """With its secret; proxies= is the user's own word here, too."""
    api.behave = lambda seen: Reply(body=b'{"access_token": "direct"}')
    options = {"token_url": f"{api.url}/token", "client_id": "c", "client_secret": "hush"}
    assert "direct" == ClientCredentialsFetcher(**options).fetch().access_token
    assert "by-proxy" == ClientCredentialsFetcher(**options, proxies={"http": proxy.url}).fetch().access_token
    assert 1 == len(proxy.seen)
