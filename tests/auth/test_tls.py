"""Redirects between http and https, on real sockets: the token stays with the scheme, as it does with the host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.protected import Issuer, Reply, Seen, path_of
from support.tls_server import TLSResource, tls_resource

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.manager import TokenManager

KINDS = ["plain", "own"]


@pytest.fixture
def api(mint: Issuer, tmp_path: Path) -> Iterator[TLSResource]:
    """A server that speaks http and https on one port."""
    with tls_resource(tmp_path, mint) as server:
        yield server


def make_session(kind: str, manager: TokenManager, origins: list[str] | None = None) -> requests.Session:
    if kind == "own":
        return AuthorizedSession(manager, origins=origins)
    session = requests.Session()
    session.auth = BearerAuth(manager, origins=origins)
    return session


def redirecting(api: TLSResource, target: str) -> None:
    """Let '/start' redirect a good token to *target*; everything else wants a good token too."""

    def behave(seen: Seen) -> Reply:
        reply = api.protect(seen)
        return Reply(302, {"Location": target}) if reply.status == 200 and path_of(seen) == "/start" else reply

    api.behave = behave


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("upwards", [True, False], ids=["http to https", "https to http"])
def test_the_token_does_not_change_the_scheme(
    manager: TokenManager, mint: Issuer, api: TLSResource, kind: str, upwards: bool
) -> None:
    """Same host, same port: the other scheme gets no token, and its 401 is final and worth no renewal."""
    schemes = ("http", "https") if upwards else ("https", "http")
    start, end = (api.url, api.secure) if upwards else (api.secure, api.url)
    redirecting(api, f"{end}/end")
    with make_session(kind, manager) as session:
        response = session.get(f"{start}/start", verify=api.trusted, timeout=10)
    assert (401, f"{end}/end", 1) == (response.status_code, response.url, mint.given)
    assert [(schemes[0], "Bearer token-1"), (schemes[1], None)] == api.hops


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
def test_no_header_of_ours_goes_on_to_clear_text(manager: TokenManager, api: TLSResource, header: str) -> None:
    """Whatever it is called."""
    api.behave = lambda seen: Reply(302, {"Location": f"{api.url}/end"}) if seen.path == "/start" else Reply(401)
    with requests.Session() as session:
        session.auth = BearerAuth(manager, header=header)
        session.get(f"{api.secure}/start", verify=api.trusted, timeout=10)
    came = [(seen.headers["x-scheme"], header.lower() in seen.headers) for seen in api.seen]
    assert [("https", True), ("http", False)] == came


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_changes_the_scheme_where_both_are_listed(
    manager: TokenManager, mint: Issuer, api: TLSResource, kind: str
) -> None:
    """An AuthorizedSession takes it on, and renews it there; a plain session takes it off whatever we say."""
    redirecting(api, f"{api.secure}/end")
    with make_session(kind, manager, [api.url, api.secure]) as session:
        response = session.get(f"{api.url}/start", verify=api.trusted, timeout=10)
        again = session.get(f"{api.secure}/end", verify=api.trusted, timeout=10)
    own = kind == "own"
    assert (200 if own else 401, 200) == (response.status_code, again.status_code)
    assert [("http", "Bearer token-1"), ("https", "Bearer token-1" if own else None)] == api.hops[:2]


def test_a_token_that_dies_on_the_way_is_renewed_over_tls(
    manager: TokenManager, mint: Issuer, api: TLSResource
) -> None:
    """The second hop's 401 is answered on the connection that it came on, checked by the same certificates."""

    def behave(seen: Seen) -> Reply:
        if path_of(seen) == "/start":
            mint.revoke()
            return Reply(302, {"Location": f"{api.secure}/end"})
        return api.protect(seen)

    api.behave = behave
    with AuthorizedSession(manager, origins=[api.url, api.secure]) as session:
        response = session.get(f"{api.url}/start", verify=api.trusted, timeout=10)
    assert (200, 2, 2) == (response.status_code, mint.given, api.connections)
    assert ["token-1", "token-1", "token-2"] == [str(token).split()[-1] for _, token in api.hops]


@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_standard_ports_are_two_origins(
    manager: TokenManager, api: TLSResource, monkeypatch: pytest.MonkeyPatch, kind: str, listed: bool
) -> None:
    """From port 80 to 443 of one host requests would keep the credential: it goes on only where both are listed."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    redirecting(api, "https://localhost/end")
    origins = ["http://localhost", "https://localhost"] if listed else None
    with make_session(kind, manager, origins) as session:
        session.proxies = {"http": api.url, "https": api.url}
        response = session.get("http://localhost/start", verify=api.trusted, timeout=10)
    assert (200 if listed else 401) == response.status_code
    assert [("http", "Bearer token-1"), ("https", "Bearer token-1" if listed else None)] == api.hops


def test_a_certificate_that_is_not_trusted_gets_no_token(manager: TokenManager, api: TLSResource) -> None:
    """Not on a redirect that would be allowed either: the handshake comes first."""
    redirecting(api, f"{api.secure}/end")
    with (
        AuthorizedSession(manager, origins=[api.url, api.secure]) as session,
        pytest.raises(requests.exceptions.SSLError),
    ):
        session.get(f"{api.url}/start", verify=True, timeout=10)
    assert [("http", "Bearer token-1")] == api.hops
