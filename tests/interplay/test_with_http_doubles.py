"""With software that takes the place of the network in users' tests: nothing goes past it, and a 401 is renewed."""

import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support import needs
from support.protected import Issuer, Reply, Resource, managed

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.errors import AuthenticationError
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
from tokenkit.manager import TokenManager

API, IDP = "https://api.example.com/x", "https://id.example.com/token"
MakeSession = Callable[[TokenManager], requests.Session]


def plain(manager: TokenManager) -> requests.Session:
    session = requests.Session()
    session.auth = BearerAuth(manager)
    return session


sessions = pytest.mark.parametrize("make", [plain, AuthorizedSession])


def fetcher(url: str = IDP) -> ClientCredentialsFetcher:
    return ClientCredentialsFetcher(token_url=url, client_id="c", client_secret="s", retries=0)


@pytest.fixture(autouse=True)
def _their_sockets() -> Iterator[None]:
    """Some of these leave connections to the collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def renewing(api: Resource, manager: TokenManager) -> Iterator[Resource]:
    """A server that takes the second token only, and gives one."""
    token = json.dumps({"access_token": "abc", "expires_in": 3600}).encode()

    def behave(seen: Any) -> Reply:
        if seen.path == "/token":
            return Reply(200, {"Content-Type": "application/json"}, token)
        return Reply() if seen.token == "Bearer token-2" else Reply(401, {"WWW-Authenticate": "Bearer"}, b"no")

    api.behave = behave
    return api


@sessions
def test_vcrpy_records_and_replays(make: MakeSession, renewing: Resource, tmp_path: Path) -> None:
    """A 401 on the cassette is answered with another token, and with none left to play nothing goes out."""
    vcr = needs.module("vcr")
    cassette = str(tmp_path / "cassette.yaml")
    for mode in ("once", "none"):
        with managed(Issuer()) as manager, make(manager) as session, vcr.use_cassette(cassette, record_mode=mode):
            response = session.get(f"{renewing.url}/x", timeout=10)
            assert (200, "no") == (response.status_code, response.history[0].text)
    assert 2 == len(renewing.seen)


@sessions
def test_vcrpy_lets_nothing_past_an_empty_cassette(make: MakeSession, renewing: Resource, tmp_path: Path) -> None:
    """``record_mode="none"`` is how suites make sure of that; token requests included."""
    vcr = needs.module("vcr")
    nothing = vcr.use_cassette(str(tmp_path / "none.yaml"), record_mode="none")
    with managed(Issuer()) as manager, make(manager) as session, nothing:
        with pytest.raises(Exception, match=r"(?i)can't (play back|overwrite)"):
            session.get(f"{renewing.url}/x", timeout=10)
        with pytest.raises(AuthenticationError):
            TokenManager(fetcher(f"{renewing.url}/token"), background=False).get_token()
    assert [] == renewing.seen


@sessions
def test_vcrpy_records_a_token_request(make: MakeSession, renewing: Resource, tmp_path: Path) -> None:
    """And plays it."""
    vcr = needs.module("vcr")
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "token.yaml")):
            assert "abc" == fetcher(f"{renewing.url}/token").fetch().access_token
    assert 1 == len(renewing.seen)


@sessions
def test_requests_mock(make: MakeSession) -> None:
    """The obvious test of the headline feature: a 401, then a 200; a redirect that leaves the origin is followed."""
    requests_mock = needs.module("requests_mock")
    with requests_mock.Mocker() as mock, managed(Issuer()) as manager, make(manager) as session:
        mock.get(API, [{"status_code": 401}, {"text": "fine"}])
        assert ("fine", 2) == (session.get(API).text, mock.call_count)
        mock.get("http://localhost/a", status_code=302, headers={"Location": "https://localhost/b"})
        mock.get("https://localhost/b", text="there")
        assert "there" == session.get("http://localhost/a").text
        assert "Authorization" not in mock.last_request.headers
        mock.post(IDP, json={"access_token": "abc"})
        assert "abc" == fetcher().fetch().access_token


@pytest.mark.parametrize("replaced", ["requests.adapters.HTTPAdapter.send", "requests.sessions.Session.request"])
def test_a_response_made_by_hand(replaced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a test has put in the place of requests' own has a content and no connection; it is read as any."""
    response = requests.Response()
    response.status_code, response.url = 200, IDP
    response._content = b'{"access_token": "abc"}'
    monkeypatch.setattr(replaced, lambda *_args, **_options: response)
    assert "abc" == fetcher().fetch().access_token


def test_a_function_in_the_place_of_an_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets what a session of requests gives: the request, and the rest by name."""
    response = requests.Response()
    response.status_code, response.url = 200, API
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "requests.adapters.HTTPAdapter.send", lambda _self, _request, **rest: given.append(rest) or response
    )
    with managed(Issuer()) as manager, AuthorizedSession(manager) as session:
        assert 200 == session.get(API).status_code
    assert {"stream", "timeout", "verify", "cert", "proxies"} == set(given[0])


@sessions
def test_an_adapter_of_the_users_own_scheme(make: MakeSession) -> None:
    """``mock://``, as requests-mock shows it: the token goes there, and is renewed."""
    adapter = needs.module("requests_mock").Adapter()
    adapter.register_uri(
        "GET", "mock://api/a", [{"status_code": 401}, {"status_code": 302, "headers": {"Location": "mock://api/b"}}]
    )
    adapter.register_uri("GET", "mock://api/b", text="there")
    with managed(Issuer()) as manager, make(manager) as session:
        session.mount("mock://", adapter)
        assert "there" == session.get("mock://api/a").text
    assert "Bearer token-2" == adapter.last_request.headers["Authorization"]


@sessions
def test_a_unix_socket(make: MakeSession, tmp_path: Path) -> None:
    """``http+unix://``, by requests-unixsocket."""
    unixsocket = needs.module("requests_unixsocket")
    import http.server
    import socketserver
    import threading
    from urllib.parse import quote

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["Authorization"] == "Bearer token-2" else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def address_string(self) -> str:
            return "local"

        def log_message(self, *_: object) -> None:
            pass

    path = str(tmp_path / "s")
    with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with managed(Issuer()) as manager, make(manager) as session:
            session.mount("http+unix://", unixsocket.UnixAdapter())
            assert 200 == session.get(f"http+unix://{quote(path, safe='')}/x").status_code
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # betamax, from Python 3.12 on
@sessions
def test_betamax_records_and_replays(make: MakeSession, renewing: Resource, tmp_path: Path) -> None:
    """Its answers have the request of the recording."""
    betamax = needs.module("betamax")
    for mode in ("once", "none"):
        with managed(Issuer()) as manager, make(manager) as session:
            recorder = betamax.Betamax(session, cassette_library_dir=str(tmp_path))
            match = ["method", "uri", "headers"]
            with recorder.use_cassette("tape", record=mode, match_requests_on=match):
                assert 200 == session.get(f"{renewing.url}/x", headers={"Accept": "*/*"}).status_code
    assert 2 == len(renewing.seen)


def run(program: str) -> str:
    """Return what *program* prints, in a process of its own: what it puts in the place of sockets stays there."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


@pytest.mark.filterwarnings("ignore:'urllib3.contrib.pyopenssl' module:DeprecationWarning")  # of urllib3 2.0 and mocket
def test_mocket() -> None:
    """Its readers cannot be taken apart, and are read as they are; by fetchers, too."""
    needs.module("mocket")
    program = """
import requests
from mocket import Mocketizer
from mocket.mocks.mockhttp import Entry
from tokenkit import AuthorizedSession, BearerAuth
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
url = "http://127.0.0.1:4242"
with Mocketizer(strict_mode=True):
    Entry.single_register(Entry.GET, f"{url}/x", body="fake")
    Entry.single_register(Entry.POST, f"{url}/token", body='{"access_token": "abc"}')
    source = ClientCredentialsFetcher(token_url=f"{url}/token", client_id="c", client_secret="s", retries=0)
    with AuthorizedSession(source) as session, BearerAuth(source) as auth:
        print(session.get(f"{url}/x").text, requests.get(f"{url}/x", auth=auth).text)
"""
    assert "fake fake" == run(program)


@sessions
def test_wsgi_intercept(make: MakeSession) -> None:
    """What it intercepts reaches the application, and not the network."""
    needs.module("wsgi_intercept")
    from wsgi_intercept import add_wsgi_intercept, remove_wsgi_intercept, requests_intercept

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"access_token": "abc"}']

    requests_intercept.install()
    add_wsgi_intercept("127.0.0.1", 4243, lambda: app)
    try:
        with managed(Issuer()) as manager, make(manager) as session:
            assert {"access_token": "abc"} == session.get("http://127.0.0.1:4243/x").json()
        assert "abc" == fetcher("http://127.0.0.1:4243/token").fetch().access_token
    finally:
        remove_wsgi_intercept()
        requests_intercept.uninstall()


def test_pyopenssl(tmp_path: Path) -> None:
    """Under urllib3 it has sockets that cannot tell their time-out."""
    needs.module("OpenSSL")
    needs.module("cryptography")
    program = f"""
import warnings
warnings.simplefilter("ignore")
import urllib3.contrib.pyopenssl
urllib3.contrib.pyopenssl.inject_into_urllib3()
from pathlib import Path
from tokenkit.auth import AuthorizedSession
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
from tokenkit.testing import LocalIdP
from tokenkit.testing.certificates import self_signed
context, trusted = self_signed(Path({str(tmp_path)!r}))
trusted = str(trusted)
with LocalIdP(tls=context) as idp:
    client = {{"client_id": "client", "client_secret": "secret"}}
    with AuthorizedSession(ClientCredentialsFetcher(token_url=idp.token_url, verify=trusted, **client)) as session:
        for options in ({{}}, {{"max_allowed_time": 10}}):
            print(session.get(idp.api("x"), verify=trusted, **options).status_code, end=" ")
"""
    assert "200 200" == run(program)
