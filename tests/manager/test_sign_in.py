"""manager.sign_in(): a person is asked once, and the manager has the token."""

import logging
import threading
from collections.abc import Iterator

import pytest

from tokenkit import TokenManager
from tokenkit.errors import ConfigurationError, SignInRequiredError
from tokenkit.fetchers import StaticTokenFetcher
from tokenkit.fetchers.oauth2 import BrowserSignIn, SignedInFetcher
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import LocalIdP


def manager_at(idp: LocalIdP, storage: object = None) -> TokenManager:
    idp.add_client("app")
    flow = BrowserSignIn(issuer=idp.issuer, client_id="app", scope="orders", retries=0)
    return TokenManager(SignedInFetcher(flow), storage)  # type: ignore[arg-type]  # a storage or None


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


def test_the_sign_in_outlives_the_program(local_idp: LocalIdP, tmp_path: object) -> None:
    """Another one finds the grant in the files, and asks nobody."""
    with manager_at(local_idp, FileTokenStorage(str(tmp_path))) as manager:
        manager.sign_in(lambda prompt: local_idp.approve(prompt.url))
    with manager_at(local_idp, FileTokenStorage(str(tmp_path))) as again:
        assert again.get_token()
        assert again.force_refresh()
    assert 0 == local_idp.reuse_detected


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
