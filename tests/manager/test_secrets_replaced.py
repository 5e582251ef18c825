"""A secret given by reference that was refused and has been replaced ends the pause: nobody waits for its end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenkit import RefreshPolicy, TokenManager, secrets
from tokenkit.contracts import TokenFetcher
from tokenkit.errors import TokenEndpointError
from tokenkit.fetchers import ChainedTokenFetcher, ClientCredentialsFetcher
from tokenkit.pipeline import TokenFetchPipeline
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock, LocalIdP

Wrap = Callable[[TokenFetcher], Any]
SOURCES: dict[str, Wrap] = {
    "alone": lambda fetcher: fetcher,
    "chained": lambda fetcher: ChainedTokenFetcher(fetcher, name="chain"),
    "pipeline": lambda fetcher: TokenFetchPipeline([fetcher], InMemoryTokenStorage()),
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with what is not the client's secret."""
    path = tmp_path / "secret"
    path.write_text("wrong")
    return path


@pytest.fixture
def make(local_idp: LocalIdP, secret: Path, fake_clock: FakeClock) -> Iterator[Callable[..., TokenManager]]:
    """Make managers whose client has the secret of the file."""
    made: list[TokenManager] = []

    def manager(wrap: Wrap = SOURCES["alone"], **options: Any) -> TokenManager:
        fetcher = ClientCredentialsFetcher(
            token_url=local_idp.token_url, client_id="client", client_secret=secrets.file(str(secret)), retries=0
        )
        made.append(TokenManager(wrap(fetcher), policy=RefreshPolicy(jitter=0), clock=fake_clock, **options))
        return made[-1]

    yield manager
    for one in made:
        one.close(0)


def refused(manager: TokenManager) -> bool:
    try:
        manager.get_token(5)
    except TokenEndpointError:
        return True
    return False


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("wrap", SOURCES.values(), ids=SOURCES)
def test_the_next_caller_is_served(
    make: Callable[..., TokenManager], secret: Path, fake_clock: FakeClock, wrap: Wrap, background: bool
) -> None:
    """A second after the refusal at the latest, rather than after the minute that a refusal costs otherwise."""
    manager = make(wrap, background=background)
    assert refused(manager)
    secret.write_text("secret")
    fake_clock.advance(1)
    assert not refused(manager)


def test_the_same_secret_is_not_tried_again(
    make: Callable[..., TokenManager], local_idp: LocalIdP, fake_clock: FakeClock
) -> None:
    """Clients that show a wrong one again and again get blocked."""
    manager = make(background=False)
    for _ in range(20):
        assert refused(manager)
        fake_clock.advance(2)
    assert 1 == local_idp.count("token")


def test_a_token_is_renewed_ahead_as_soon_as_the_secret_is_right(
    make: Callable[..., TokenManager], secret: Path, local_idp: LocalIdP, fake_clock: FakeClock
) -> None:
    """Within ten seconds, though nobody calls and the pause beside a good token is longer."""
    secret.write_text("secret")
    manager = make()
    first = manager.get_token()
    secret.write_text("wrong")
    fake_clock.wait_until_parked(1)
    fake_clock.advance(local_idp.lifetime * 0.8)
    fake_clock.wait_until_parked(1)
    assert 2 == local_idp.count("token")
    secret.write_text("secret")
    for _ in range(3):
        fake_clock.advance(10)
        fake_clock.wait_until_parked(1)
    assert 3 == local_idp.count("token")
    assert manager.current is not first


def test_what_tells_the_secrets_shows_none_of_them(secret: Path) -> None:
    """It is a digest; a literal secret has none, as it cannot change."""
    given = {"token_url": "https://idp.example.com/token", "client_id": "client"}
    by_reference = ClientCredentialsFetcher(**given, client_secret=secrets.file(str(secret)))
    assert "wrong" not in str(by_reference.credentials)
    assert ClientCredentialsFetcher(**given, client_secret="literal").credentials is None
