"""A token may be bound to the client certificate that it was asked with (RFC 8705): a new one makes it due."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import needs

from tokenkit import RefreshPolicy, TokenFetchPipeline, TokenManager
from tokenkit.contracts import TokenFetcher, TokenStorage
from tokenkit.errors import TransportError
from tokenkit.fetchers import ChainedTokenFetcher, ClientCredentialsFetcher
from tokenkit.fetchers.oauth2 import BrowserSignIn, OAuth2Fetcher, SignedInFetcher
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock, LocalIdP

LOOK = 300.0  # seconds: the default storage_poll
Wrap = Callable[[OAuth2Fetcher], Any]


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    path = tmp_path / "client.pem"
    path.write_text("the first")
    return path


def client(idp: LocalIdP, cert: Path, **more: Any) -> ClientCredentialsFetcher:
    arguments = {"token_url": idp.token_url, "client_id": "client", "client_secret": "secret"}
    return ClientCredentialsFetcher(**{**arguments, "cert": str(cert), **more})


def in_pipeline(fetcher: TokenFetcher) -> TokenFetchPipeline:
    return TokenFetchPipeline([fetcher], InMemoryTokenStorage())


class Running:
    """A manager on a clock that a test moves from one wake-up of its thread to the next."""

    def __init__(self, source: Any, clock: FakeClock, storage: TokenStorage | None = None) -> None:
        self.clock = clock
        self.manager = TokenManager(source, storage, clock=clock, policy=RefreshPolicy(jitter=0))
        self.manager.get_token()

    def live(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.wait_until_parked(1)
            self.clock.advance(min(self.clock.until_next_wake, end - self.clock.monotonic()))
        self.clock.wait_until_parked(1)


@pytest.fixture
def run(fake_clock: FakeClock) -> Iterator[Callable[..., Running]]:
    """Start managers, each with its first token."""
    started: list[Running] = []

    def start(source: Any, storage: TokenStorage | None = None, clock: FakeClock = fake_clock) -> Running:
        started.append(Running(source, clock, storage))
        return started[-1]

    yield start
    for one in started:
        one.manager.close()


@pytest.mark.parametrize("wrap", [lambda one: one, ChainedTokenFetcher, in_pipeline], ids=["alone", "chained", "step"])
def test_a_new_certificate_makes_the_token_due(
    local_idp: LocalIdP, cert: Path, run: Callable[..., Running], wrap: Wrap
) -> None:
    """Within storage_poll another token is asked for, once, and nobody waits for it."""
    running = run(wrap(client(local_idp, cert)))
    before = running.manager.current
    cert.write_text("the second")
    running.live(LOOK)
    assert before != running.manager.current
    running.live(3 * LOOK)
    assert 2 == local_idp.count("token")


@pytest.mark.parametrize("change", [lambda cert: cert.touch(), Path.unlink], ids=["the same", "gone"])
def test_only_another_certificate_does(
    local_idp: LocalIdP, cert: Path, run: Callable[..., Running], change: Callable[[Path], None]
) -> None:
    """One that is written again as it was, or cannot be read now, is no reason to ask."""
    running = run(client(local_idp, cert))
    change(cert)
    running.live(2 * LOOK)
    assert 1 == local_idp.count("token")


def test_who_share_a_storage_ask_once_for_a_new_certificate(
    local_idp: LocalIdP, cert: Path, run: Callable[..., Running]
) -> None:
    """The second finds what the first has stored under the new certificate's key."""
    storage = InMemoryTokenStorage()
    first, second = (run(client(local_idp, cert), storage) for _ in range(2))
    cert.write_text("the second")
    first.clock.wait_until_parked(1)
    first.live(2 * LOOK)
    assert first.manager.current == second.manager.current
    assert 2 == local_idp.count("token")


def test_what_a_look_finds_under_the_new_certificate_is_no_reason_to_ask(
    local_idp: LocalIdP, cert: Path, run: Callable[..., Running], fake_clock: FakeClock
) -> None:
    """Not at the next look either: whoever adopts what another has asked for knows the certificate, too."""
    storage = InMemoryTokenStorage()
    first = run(client(local_idp, cert), storage)
    second = run(client(local_idp, cert), storage, FakeClock(fake_clock.time()))
    cert.write_text("the second")
    first.live(LOOK)
    second.live(3 * LOOK)
    assert first.manager.current == second.manager.current
    assert 2 == local_idp.count("token")


def test_a_signed_in_grant_has_its_flows_certificate(cert: Path) -> None:
    """It is asked with that one, too."""
    flow = BrowserSignIn(issuer="https://idp.example", client_id="app", client_auth="none", cert=str(cert))
    assert None is not flow.certificate == SignedInFetcher(flow).certificate


def test_the_new_certificate_is_the_one_shown(tmp_path: Path) -> None:
    """Each fetch reads the file that the path names, so that the server sees the next one at the next fetch."""
    needs.module("cryptography")
    from tokenkit.testing.certificates import self_signed

    old, new, shown = tmp_path / "old", tmp_path / "new", tmp_path / "shown.pem"
    for directory in (old, new):
        directory.mkdir()
    context, trusted = self_signed(old)
    self_signed(new)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(new / "cert.pem")

    def show(directory: Path) -> None:
        shown.write_text((directory / "cert.pem").read_text() + (directory / "key.pem").read_text())

    show(old)
    with LocalIdP(tls=context) as idp:
        fetcher = client(idp, shown, verify=str(trusted), retries=0)
        with pytest.raises(TransportError):  # the server does not know it any more
            fetcher.fetch()
        show(new)
        assert idp.is_active(fetcher.fetch())
