"""One person is asked once, and what comes of it serves everybody who shares the storage."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from support.scripted import PATIENCE, ask
from support.steps import failing_storage

from tokenkit import TokenManager
from tokenkit._sources.calling import FetcherProvider
from tokenkit._sources.signing_in import SignInMark, store_signed_in
from tokenkit.clock import SystemClock
from tokenkit.errors import SignInRequiredError
from tokenkit.fetchers.oauth2 import BrowserSignIn, SignedInFetcher
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock, LocalIdP
from tokenkit.tokens import Token


@pytest.fixture
def storage() -> Iterator[InMemoryTokenStorage]:
    storage = InMemoryTokenStorage()
    yield storage
    storage.close()


def test_the_second_waits_for_the_first(storage: InMemoryTokenStorage, fake_clock: FakeClock) -> None:
    """It is told that it had to, and so looks for what the first brought."""
    deadline = fake_clock.monotonic() + 300
    with SignInMark(storage, "grant", fake_clock).hold(deadline) as waited:
        assert not waited
        assert SignInMark(storage, "grant", fake_clock).is_set()

        def second() -> bool:
            with SignInMark(storage, "grant", fake_clock).hold(deadline) as waited:
                return waited

        (other,) = ask(second)
        fake_clock.wait_until_parked(1)
    fake_clock.advance(1.0)
    assert other.result(PATIENCE)
    assert not SignInMark(storage, "grant", fake_clock).is_set()


def test_a_holder_that_died_is_waited_for_no_longer_than_its_mark(
    storage: InMemoryTokenStorage, fake_clock: FakeClock
) -> None:
    """After 20 seconds without a renewal the next one asks."""
    now = fake_clock.now()
    storage.set("grant:sign-in", Token("-", issued_at=now, expires_at=now + timedelta(seconds=20), extra={"by": "x"}))
    mark = SignInMark(storage, "grant", fake_clock)
    assert mark.is_set()
    fake_clock.advance(20.0)
    with mark.hold(fake_clock.monotonic() + 1) as waited:
        assert not waited


def test_who_waits_too_long_is_told(storage: InMemoryTokenStorage, fake_clock: FakeClock) -> None:
    """Another program asks, and its person takes longer than the time allowed."""
    with (
        SignInMark(storage, "grant", fake_clock).hold(fake_clock.monotonic() + 300),
        pytest.raises(SignInRequiredError, match="another program"),
        SignInMark(storage, "grant", fake_clock).hold(fake_clock.monotonic()),
    ):
        pass


def test_a_storage_in_trouble_keeps_nobody_from_signing_in(fake_clock: FakeClock) -> None:
    """Better to ask twice than not at all."""
    with SignInMark(failing_storage(), "grant", fake_clock).hold(fake_clock.monotonic()) as waited:
        assert not waited


def test_a_storage_in_trouble_knows_of_no_sign_in(fake_clock: FakeClock) -> None:
    """Nobody is told that a person is being asked; a mark that cannot be renewed is kept as it is."""
    mark = SignInMark(failing_storage(), "grant", fake_clock)
    assert not mark.is_set()
    mine = Token("-", extra={"by": "me"})
    assert mine is mark.renew(mine)


def test_a_mark_is_renewed_by_who_set_it(storage: InMemoryTokenStorage, fake_clock: FakeClock) -> None:
    """In the place of a younger one of another's it puts nothing."""
    mark = SignInMark(storage, "grant", fake_clock)
    mine = Token("-", extra={"by": "me"})
    storage.set("grant:sign-in", mine)
    younger = mark.renew(mine)
    assert younger == storage.get("grant:sign-in") != mine
    assert mine is mark.renew(mine)


def flow_at(idp: LocalIdP, **changes: str) -> BrowserSignIn:
    idp.add_client("app")
    return BrowserSignIn(**{"issuer": idp.issuer, "client_id": "app", "scope": "orders"} | changes)


def store(idp: LocalIdP, storage: InMemoryTokenStorage, flow: BrowserSignIn) -> Token:
    token = flow.sign_in(lambda prompt: idp.approve(prompt.url))
    clock = SystemClock()
    store_signed_in(FetcherProvider(SignedInFetcher(flow), clock), storage, clock, token, 1.0)
    return token


def test_one_sign_in_serves_every_program(local_idp: LocalIdP, storage: InMemoryTokenStorage) -> None:
    """Another program's manager adopts the token, and renews it by the grant, under another name and scope, too."""
    token = store(local_idp, storage, flow_at(local_idp))
    with TokenManager(SignedInFetcher(flow_at(local_idp)), storage) as manager:
        assert token.access_token == manager.get_token().access_token
        assert token.access_token != manager.force_refresh().access_token
    with TokenManager(SignedInFetcher(flow_at(local_idp, name="other", scope="stock")), storage) as manager:
        assert manager.get_token()
    assert 0 == local_idp.reuse_detected


def test_accounts_have_grants_of_their_own(local_idp: LocalIdP, storage: InMemoryTokenStorage) -> None:
    """Bob is asked although alice has signed in."""
    store(local_idp, storage, flow_at(local_idp))
    with (
        TokenManager(SignedInFetcher(flow_at(local_idp, account="bob")), storage) as manager,
        pytest.raises(SignInRequiredError),
    ):
        manager.get_token()


def test_a_new_sign_in_takes_the_place_of_the_old(local_idp: LocalIdP, storage: InMemoryTokenStorage) -> None:
    """Although the old grant is good still, and its refresh token is never sent again."""
    flow = flow_at(local_idp)
    first, second = store(local_idp, storage, flow), store(local_idp, storage, flow)
    with TokenManager(SignedInFetcher(flow), storage) as manager:
        assert second.access_token == manager.get_token().access_token
        manager.force_refresh()
    assert local_idp.is_active(str(first.refresh_token))
