"""manager.sign_in(): a person is asked once, and the manager has the token."""

import logging
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tokenkit import RefreshPolicy, TokenManager
from tokenkit.clock import Clock, SystemClock
from tokenkit.errors import ConfigurationError, SignInRequiredError
from tokenkit.fetchers import StaticTokenFetcher
from tokenkit.fetchers.oauth2 import BrowserSignIn, SignedInFetcher, SignInPrompt
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import FakeClock, LocalIdP
from tokenkit.tokens import Token

CLOCK = SystemClock()


class CountingStorage(InMemoryTokenStorage):
    """Counts how often a token is looked for."""

    reads = 0

    def get(self, key: str) -> Token | None:
        self.reads += not key.endswith(":sign-in")
        return super().get(key)


def manager_at(idp: LocalIdP, storage: object = None, *, clock: Clock = CLOCK, background: bool = True) -> TokenManager:
    idp.add_client("app")
    flow = BrowserSignIn(issuer=idp.issuer, client_id="app", scope="orders", retries=0)
    policy = RefreshPolicy(jitter=0)
    source = SignedInFetcher(flow)
    return TokenManager(source, storage, policy=policy, clock=clock, background=background)  # type: ignore[arg-type]  # a storage or None


@pytest.fixture
def manager(local_idp: LocalIdP) -> Iterator[TokenManager]:
    with manager_at(local_idp, InMemoryTokenStorage()) as manager:
        yield manager


def test_a_manager_has_what_its_person_brought(local_idp: LocalIdP, manager: TokenManager) -> None:
    """Before, it says what to call; afterwards it gives the token, and renews it by the grant."""
    with pytest.raises(SignInRequiredError, match="sign_in"):
        manager.get_token()
    token = manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
    assert token.access_token == manager.get_token().access_token
    assert token.access_token != manager.force_refresh().access_token
    assert 0 == local_idp.reuse_detected


def test_a_sign_in_is_told_in_the_log(
    local_idp: LocalIdP, manager: TokenManager, caplog: pytest.LogCaptureFixture
) -> None:
    """At INFO, and who signed in is not."""
    caplog.set_level(logging.INFO, "tokenkit.manager")
    manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
    assert f"a person has signed in for {manager.status().service_name}" in caplog.messages


def test_without_a_storage_the_grant_lives_as_long_as_the_manager(local_idp: LocalIdP) -> None:
    """It is held in memory, and spent there."""
    with manager_at(local_idp) as manager:
        manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
        assert manager.force_refresh().access_token
    assert 0 == local_idp.reuse_detected


def test_a_sign_in_starts_no_refresh_thread_for_who_wants_none(
    local_idp: LocalIdP, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``background=False`` the callers renew what it brought."""
    started, start = [], threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(self.name), start(self)))
    with manager_at(local_idp, background=False) as manager:
        manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
    assert "tokenkit-refresh" not in started


def test_the_sign_in_outlives_the_program(local_idp: LocalIdP, tmp_path: object) -> None:
    """Another one finds the grant in the files, and asks nobody."""
    with manager_at(local_idp, FileTokenStorage(str(tmp_path))) as manager:
        manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
    with manager_at(local_idp, FileTokenStorage(str(tmp_path))) as again:
        assert again.get_token()
        assert again.force_refresh()
    assert 0 == local_idp.reuse_detected


def test_who_meets_a_sign_in_under_way_is_told(local_idp: LocalIdP) -> None:
    """The error says that a person is being asked already, and is the same kind."""
    storage = InMemoryTokenStorage()

    def show(prompt: SignInPrompt) -> None:
        with manager_at(local_idp, storage) as other, pytest.raises(SignInRequiredError, match="being asked"):
            other.get_token()
        local_idp.approve(prompt.url)

    with manager_at(local_idp, storage) as manager:
        manager.sign_in(show)


@pytest.mark.parametrize("background", [True, False])
def test_a_sign_in_elsewhere_is_seen_within_a_second(
    local_idp: LocalIdP, fake_clock: FakeClock, background: bool
) -> None:
    """Who was refused for want of a person gets the token although the back-off is not over, in thread or caller."""
    storage = InMemoryTokenStorage()
    with manager_at(local_idp, storage, clock=fake_clock, background=background) as manager:
        with pytest.raises(SignInRequiredError):
            manager.get_token()
        with manager_at(local_idp, storage) as elsewhere:
            token = elsewhere.sign_in(lambda prompt: local_idp.approve(prompt.url))
        fake_clock.advance(1.0)
        assert token.access_token == manager.get_token(5).access_token
    assert 1 == local_idp.count("token")


def test_the_storage_is_looked_into_once_a_second(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A loop of callers who are refused costs one look a second, and no attempt before the back-off is over."""
    storage = CountingStorage()
    with manager_at(local_idp, storage, clock=fake_clock) as manager:
        looks = []
        for _ in range(3):
            for _ in range(20):
                with pytest.raises(SignInRequiredError):
                    manager.get_token(5)
            looks.append(storage.reads)
            fake_clock.advance(1.0)
        assert [1, 1] == [later - earlier for earlier, later in pairwise(looks)]
        assert 1 == manager.status().attempts


def test_who_may_not_wait_is_refused_at_once(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A timeout of 0 hears of the person who is wanted, not that there was no time."""
    with manager_at(local_idp, InMemoryTokenStorage(), clock=fake_clock) as manager:
        with pytest.raises(SignInRequiredError):
            manager.get_token()
        fake_clock.advance(1.0)
        with pytest.raises(SignInRequiredError):
            manager.get_token(0)


def test_two_programs_ask_one_person(local_idp: LocalIdP) -> None:
    """The second waits, and takes what the first one's person brought."""
    storage = InMemoryTokenStorage()
    asked, may_answer = threading.Event(), threading.Event()

    def slowly(prompt: object) -> None:
        asked.set()
        assert may_answer.wait(20)
        local_idp.approve(prompt.url)  # type: ignore[attr-defined]  # a SignInPrompt

    with manager_at(local_idp, storage) as first, manager_at(local_idp, storage) as second:
        one = threading.Thread(target=first.sign_in, args=(slowly,))
        one.start()
        assert asked.wait(20)
        tokens: list[str] = []
        two = threading.Thread(
            target=lambda: tokens.append(
                second.sign_in(lambda _: pytest.fail("a second person was asked")).access_token
            )
        )
        two.start()
        may_answer.set()
        one.join(20)
        two.join(20)
        assert [first.get_token().access_token] == tokens


def test_signing_out_forgets_the_grant(local_idp: LocalIdP, tmp_path: object) -> None:
    """The server is told, and the next program must ask again."""
    manager = manager_at(local_idp, FileTokenStorage(str(tmp_path)))
    token = manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
    manager.close(revoke=True)
    assert not local_idp.is_active(token)
    with manager_at(local_idp, FileTokenStorage(str(tmp_path))) as again, pytest.raises(SignInRequiredError):
        again.get_token()


def test_only_where_people_sign_in() -> None:
    """Another source says what is wanted."""
    with TokenManager(StaticTokenFetcher("token")) as manager:
        with pytest.raises(ConfigurationError, match="SignedInFetcher"):
            manager.sign_in()
        with pytest.raises(ConfigurationError, match="timeout"):
            manager.sign_in(timeout=0)
