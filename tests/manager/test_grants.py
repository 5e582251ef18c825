"""A grant is never lost: a server that rotates refresh tokens sees no reuse, whatever the storage does."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.steps import WatchedStorage, failing_storage

from tokenkit import Token, TokenFetchPipeline, TokenManager
from tokenkit._sources.grants import is_ended, take_out
from tokenkit.clock import SystemClock
from tokenkit.contracts import TokenStorage
from tokenkit.errors import (
    AuthenticationError,
    SignInRequiredError,
    StorageError,
    StorageLockTimeoutError,
    TokenEndpointError,
)
from tokenkit.fetchers import CallableTokenFetcher, PasswordFetcher, RefreshTokenFetcher
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import FakeClock, LocalIdP

Make = Callable[..., RefreshTokenFetcher]


@pytest.fixture
def make(local_idp: LocalIdP) -> Make:
    """Make a fetcher of one grant, as each start of a program does."""
    given = local_idp.issue(kind="refresh").access_token

    def fetcher(**more: Any) -> RefreshTokenFetcher:
        urls = {"revocation_url": local_idp.revoke_url, "introspection_url": local_idp.introspect_url}
        client = {"token_url": local_idp.token_url, "client_id": "client", "client_secret": "secret", **urls}
        return RefreshTokenFetcher(**{**client, "refresh_token": given, **more})

    return fetcher


@pytest.fixture
def no_reuse(local_idp: LocalIdP) -> Iterator[None]:
    """Whatever a test does, the server sees no reuse in it."""
    yield
    assert 0 == local_idp.reuse_detected


def start(fetcher: RefreshTokenFetcher, storage: TokenStorage | None, **more: Any) -> TokenManager:
    return TokenManager(fetcher, storage, background=False, **more)


def run_once(fetcher: RefreshTokenFetcher, storage: TokenStorage) -> Token:
    """Renew once, as a job that is started by cron does."""
    with start(fetcher, storage) as manager:
        return manager.force_refresh(timeout=10)


def grant_of(storage: TokenStorage, fetcher: RefreshTokenFetcher) -> Token:
    assert fetcher.grant_key is not None
    entry = storage.get(fetcher.grant_key)
    assert entry is not None
    return entry


def broken(*_: object) -> None:
    raise StorageError("the disk is full")


pytestmark = pytest.mark.usefixtures("no_reuse")

CHANGES: list[dict[str, Any]] = [
    {"name": "another"},
    {"scope": "read"},
    {"audience": "https://api.example"},
    {"resource": "https://api.example"},
    {"extra_params": {"tenant": "1"}},
    {"client_auth": "client_secret_post"},
]


def test_no_edit_of_a_program_loses_its_grant(make: Make) -> None:
    """Each start finds the newest refresh token, however the fetcher is made by then."""
    storage = InMemoryTokenStorage()
    for change in [{}, *CHANGES, {}]:
        run_once(make(**change), storage)


def test_who_share_a_grant_never_get_each_others_access_token(make: Make, local_idp: LocalIdP) -> None:
    """Two scopes on one grant share the refresh token, and that alone."""
    storage = InMemoryTokenStorage()
    scopes = ["read", "write", "read"]
    tokens = [start(make(scope=scope), storage).get_token() for scope in scopes]
    assert tokens[0].access_token == tokens[2].access_token
    assert scopes == [make().introspect(token)["scope"] for token in tokens]
    assert 2 == local_idp.count("token:refresh_token")


def test_a_stored_access_token_has_no_refresh_token(make: Make) -> None:
    """The newest one is in one place, and the grant's entry is no access token."""
    storage, fetcher = InMemoryTokenStorage(), make()
    token = run_once(fetcher, storage)
    stored = storage.get(fetcher.cache_key)
    assert stored is not None
    assert stored.refresh_token is None
    assert token.refresh_token == grant_of(storage, fetcher).refresh_token
    assert grant_of(storage, fetcher).is_expired()


def test_the_grant_is_stored_before_the_access_token(make: Make) -> None:
    """A crash between the two leaves the newest refresh token."""
    storage, written = WatchedStorage(), []
    storage.before["replace"] = lambda key, *_: written.append(key)
    fetcher = make()
    run_once(fetcher, storage)
    assert [fetcher.grant_key, fetcher.cache_key] == written


# What this process knows


def test_a_storage_that_lost_a_write_is_not_believed(make: Make) -> None:
    """A failover or a backup brings back what was spent; the process that saw that goes on with the newest."""
    storage, fetcher = InMemoryTokenStorage(), make()
    with start(fetcher, storage) as manager:
        manager.force_refresh(timeout=10)
        before = grant_of(storage, fetcher)
        manager.force_refresh(timeout=10)
        storage.set(fetcher.grant_key or "", before)
        manager.force_refresh(timeout=10)
    assert before.refresh_token != grant_of(storage, fetcher).refresh_token


def test_a_pipeline_whose_write_failed_once_goes_on(make: Make) -> None:
    """It holds no token itself, but knows which refresh token is spent."""
    storage = WatchedStorage()
    pipeline = TokenFetchPipeline([make()], storage)
    pipeline.execute()
    storage.before["replace"] = broken
    pipeline.execute(force_refresh=True)
    del storage.before["replace"]
    pipeline.execute(force_refresh=True)
    run_once(make(), storage)


def test_another_fetcher_of_the_process_knows_it_too(make: Make) -> None:
    """What one manager could not store, another one on the same storage spends and stores."""
    storage = WatchedStorage()
    with start(make(), storage) as one, start(make(scope="read"), storage) as other:
        one.get_token()
        storage.before["replace"] = broken
        one.force_refresh(timeout=10)
        del storage.before["replace"]
        other.get_token()
    run_once(make(), storage)


def test_an_unsaved_rotation_is_stored_when_the_manager_closes(make: Make) -> None:
    """The next start, even of another process, finds it."""
    inner = InMemoryTokenStorage()
    storage = WatchedStorage(inner)
    with start(make(), storage) as manager:
        manager.get_token()
        storage.before["replace"] = broken
        manager.force_refresh(timeout=10)
        del storage.before["replace"]
    run_once(make(), inner)


def test_an_unsaved_rotation_is_stored_when_a_pipeline_closes(make: Make) -> None:
    """It holds no token, so that nobody else would."""
    inner = InMemoryTokenStorage()
    storage, fetcher = WatchedStorage(inner), make()
    pipeline = TokenFetchPipeline([fetcher], storage)
    pipeline.execute()
    before = grant_of(inner, fetcher)
    storage.before["replace"] = broken
    pipeline.execute(force_refresh=True)
    del storage.before["replace"]
    assert before == grant_of(inner, fetcher)
    pipeline.close()
    assert before != grant_of(inner, fetcher)
    run_once(make(), inner)


def test_an_unsaved_rotation_is_stored_soon(make: Make) -> None:
    """The thread tries again a second later, long before its next look is due."""
    inner, clock = InMemoryTokenStorage(), FakeClock()
    storage, fetcher = WatchedStorage(inner), make()
    with TokenManager(fetcher, storage, clock=clock) as manager:
        manager.get_token()
        storage.before["replace"] = broken
        newest = manager.force_refresh(timeout=10).refresh_token
        del storage.before["replace"]
        calls = storage.calls["replace"]
        clock.wait_until_parked(1)
        clock.advance(1.5)
        storage.wait_for("replace", calls + 1)
        clock.wait_until_parked(1)
        assert newest == grant_of(inner, fetcher).refresh_token


def test_what_could_not_be_stored_is_told_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """As a warning that says what may come of it."""
    storage = WatchedStorage()
    storage.before["replace"] = broken
    with start(make(), storage) as manager:
        manager.get_token()
        manager.force_refresh(timeout=10)
    assert 1 == caplog.text.count("its next start may need a person to sign in")


@pytest.mark.parametrize("storage", [None, InMemoryTokenStorage()])
def test_a_refresh_token_that_ends_with_the_process_is_told_once(
    make: Make, caplog: pytest.LogCaptureFixture, storage: TokenStorage | None
) -> None:
    """At the first replacement, with what to pass."""
    with start(make(), storage) as manager:
        manager.get_token()
        manager.force_refresh(timeout=10)
    assert 1 == caplog.text.count("pass a storage that outlives it")


@pytest.mark.parametrize("storage", [None, InMemoryTokenStorage()])
def test_nothing_is_told_where_nothing_can_be_lost(
    make: Make, local_idp: LocalIdP, caplog: pytest.LogCaptureFixture, storage: TokenStorage | None
) -> None:
    """The server gives the same one again, or a full grant needs no person."""
    client = {"token_url": local_idp.token_url, "client_id": "client", "client_secret": "secret"}
    with start(PasswordFetcher(**client, username="alice", password="wonderland"), storage) as manager:
        manager.get_token()
        manager.force_refresh(timeout=10)
    local_idp.rotate_refresh_tokens = False
    for more in ({}, {"rotates": False}):
        with start(make(**more), storage) as manager:
            manager.get_token()
            manager.force_refresh(timeout=10)
    assert "pass a storage" not in caplog.text


def test_a_storage_that_outlives_the_process_is_no_cause_to_warn(
    make: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A file is enough."""
    with start(make(), FileTokenStorage(tmp_path)) as manager:
        manager.force_refresh(timeout=10)
    assert "pass a storage" not in caplog.text


def test_an_entry_that_is_gone_throws_no_answer_away(make: Make) -> None:
    """An application that clears its cache while the server is asked: what comes is stored all the same."""
    storage, fetcher = InMemoryTokenStorage(), make()
    with start(fetcher, storage) as manager:
        manager.get_token()
        storage.clear()
        manager.force_refresh(timeout=10)
    run_once(make(), storage)


# What cannot be read is not absent


@pytest.mark.parametrize("call", ["get", "lock"])
def test_a_configured_refresh_token_is_not_spent_unread(make: Make, local_idp: LocalIdP, call: str) -> None:
    """There may be a newer one: the failure names the storage's trouble, and passes."""
    storage = WatchedStorage()
    storage.before[call] = broken if call == "get" else held_by_another
    with start(make(), storage) as manager:
        with pytest.raises(AuthenticationError, match="is not spent while the storage") as caught:
            manager.get_token()
        assert caught.value.transient
        assert 0 == local_idp.count("token")
        del storage.before[call]
        manager.force_refresh(timeout=10)


def held_by_another(*_: object) -> None:
    raise StorageLockTimeoutError("another holds it")


@pytest.mark.parametrize("more", [{"rotates": False}])
def test_a_server_that_never_rotates_needs_no_storage(make: Make, local_idp: LocalIdP, more: dict[str, Any]) -> None:
    """Where it is said that the given one is always the newest, a dead storage is no hindrance."""
    local_idp.rotate_refresh_tokens = False
    assert start(make(**more), failing_storage()).get_token().access_token


def test_a_storage_that_dies_later_costs_no_token(make: Make) -> None:
    """The process has the newest refresh token itself."""
    storage = WatchedStorage()
    with start(make(), storage) as manager:
        manager.get_token()
        storage.before.update(get=broken, lock=broken, replace=broken)
        manager.force_refresh(timeout=10)
        manager.force_refresh(timeout=10)
        storage.before.clear()


def test_a_storage_that_cannot_be_written_is_no_hindrance(make: Make) -> None:
    """Read-only, or full: what is there is known."""
    storage = WatchedStorage()
    storage.before.update(lock=broken, replace=broken)
    with start(make(), storage) as manager:
        assert manager.get_token().access_token
        storage.before.clear()


def test_a_server_that_does_not_rotate_goes_on_for_ever(make: Make, local_idp: LocalIdP) -> None:
    """The given refresh token is the current one, for each start and each process."""
    local_idp.rotate_refresh_tokens = False
    storage = InMemoryTokenStorage()
    with start(make(), storage) as one, start(make(), storage) as other:
        for manager in (one, other, one, other):
            manager.force_refresh(timeout=10)


@pytest.mark.parametrize("storage", [InMemoryTokenStorage, FileTokenStorage])
def test_a_storage_that_was_cleared_is_filled_again(
    make: Make, tmp_path: Path, storage: type[InMemoryTokenStorage] | type[FileTokenStorage]
) -> None:
    """By the next renewal of a process that holds the grant: the refresh token in its entry, and the access token."""
    kept = FileTokenStorage(tmp_path) if storage is FileTokenStorage else InMemoryTokenStorage()
    fetcher = make()
    with start(fetcher, kept) as manager:
        manager.get_token()
        kept.clear()
        token = manager.force_refresh(timeout=10)
        assert token.refresh_token == grant_of(kept, fetcher).refresh_token
        stored = kept.get(fetcher.cache_key)
        assert stored is not None
        assert token.access_token == stored.access_token


def test_a_new_refresh_token_is_spent_by_one_of_all_who_are_given_it(make: Make, local_idp: LocalIdP) -> None:
    """A person has signed in again: the others, who held the old grant, go on from what the first of them stored."""
    given = [local_idp.issue(kind="refresh").access_token]
    storage = InMemoryTokenStorage()
    programs = [start(make(refresh_token=lambda: given[0]), storage) for _ in range(3)]
    for _ in range(2):
        for one in programs:
            one.force_refresh(timeout=10)  # may find what another has just got
            assert local_idp.is_active(one.force_refresh(timeout=10))
        given[0] = local_idp.issue(kind="refresh").access_token
    assert 0 == local_idp.reuse_detected


@pytest.mark.parametrize("moment", ["lock", "get"])
def test_a_refresh_token_that_is_given_in_mid_renewal_is_not_spent_unread(
    make: Make, local_idp: LocalIdP, moment: str
) -> None:
    """The lock is of the old grant then: the attempt begins anew, and finds what another has for the new one."""
    old, new = (local_idp.issue(kind="refresh").access_token for _ in range(2))
    given, storage = [old], WatchedStorage()
    for _ in range(2):
        run_once(make(refresh_token=new), storage.inner)
    with start(make(refresh_token=lambda: given[0]), storage) as manager:
        manager.force_refresh(timeout=10)
        storage.before[moment] = lambda *_: given.__setitem__(0, new)
        assert local_idp.is_active(manager.force_refresh(timeout=10))
    assert 0 == local_idp.reuse_detected


def test_a_bare_pipeline_does_not_spend_it_either(make: Make, local_idp: LocalIdP) -> None:
    """It fails, says so, and goes on from the newest at the next call."""
    old, new = (local_idp.issue(kind="refresh").access_token for _ in range(2))
    given, storage = [old], WatchedStorage()
    for _ in range(2):
        run_once(make(refresh_token=new), storage.inner)
    pipeline = TokenFetchPipeline([make(refresh_token=lambda: given[0])], storage)
    pipeline.execute()
    storage.before["lock"] = lambda *_: given.__setitem__(0, new)
    with pytest.raises(AuthenticationError, match="another refresh token was given") as caught:
        pipeline.execute(force_refresh=True)
    assert caught.value.transient
    assert local_idp.is_active(pipeline.execute(force_refresh=True))


def test_the_old_grant_is_left_although_the_new_one_could_not_be_asked_at_once(make: Make, local_idp: LocalIdP) -> None:
    """Without a storage, too, and however often the first try with the new refresh token fails."""
    given = [local_idp.issue(kind="refresh").access_token]
    with start(make(refresh_token=lambda: given[0], retries=0), None) as manager:
        manager.get_token()
        given[0] = local_idp.issue(kind="refresh").access_token
        local_idp.fail("token", status=503, times=2)
        for _ in range(2):
            with pytest.raises(TokenEndpointError):
                manager.force_refresh(timeout=10)
        manager.force_refresh(timeout=10)
        assert [given[0]] == local_idp.last_form["refresh_token"]


REFUSALS: list[dict[str, Any]] = [
    {"status": 403},
    {"status": 404},
    {"status": 403, "body": "<html>blocked</html>"},
    {"status": 401, "body": {"error": "invalid_client"}},
    {"status": 400, "body": {"error": "invalid_client"}},
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["403", "404", "a proxy's page", "401 client", "400 client"])
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "held"])
def test_a_refusal_that_is_not_of_the_grant_costs_nothing(
    make: Make, local_idp: LocalIdP, fake_clock: FakeClock, refusal: dict[str, Any], stored: bool
) -> None:
    """After a minute of it the same refresh token is spent, by this process or by the next."""
    storage = InMemoryTokenStorage() if stored else None
    manager = start(make(), storage, clock=fake_clock)
    newest = manager.get_token().refresh_token
    local_idp.fail("token", times=None, **refusal)
    for _ in range(3):
        fake_clock.advance(3600)
        with pytest.raises(TokenEndpointError):
            manager.get_token()
        assert newest == local_idp.last_form["refresh_token"][0]
    local_idp.heal()
    if stored:
        manager = start(make(), storage, clock=fake_clock)
    fake_clock.advance(60)
    assert local_idp.is_active(manager.get_token())
    assert newest == local_idp.last_form["refresh_token"][0]


# Ending a grant


def test_what_is_revoked_is_taken_out_of_the_storage(make: Make) -> None:
    """The next process is not given a revoked token, and asks for a person."""
    storage, fetcher = InMemoryTokenStorage(), make()
    manager = start(fetcher, storage)
    manager.get_token()
    manager.close(revoke=True)
    assert storage.get(fetcher.cache_key) is None
    assert storage.get(fetcher.grant_key or "") is None
    with pytest.raises(SignInRequiredError):
        start(make(), storage).get_token()


def test_another_process_does_not_undo_a_revocation(make: Make, local_idp: LocalIdP) -> None:
    """Who held the refresh token drops it: it is neither sent nor written back."""
    storage, fetcher = InMemoryTokenStorage(), make()
    other = start(make(), storage)
    other.get_token()
    manager = start(fetcher, storage)
    manager.get_token()
    manager.close(revoke=True)
    with pytest.raises(AuthenticationError):
        other.force_refresh(timeout=10)
    assert storage.get(fetcher.grant_key or "") is None


def test_a_pipelines_steps_are_revoked(local_idp: LocalIdP) -> None:
    """Each that can be, and all of them leave the storage."""
    client = {"token_url": local_idp.token_url, "client_id": "client", "client_secret": "secret"}
    step = PasswordFetcher(**client, revocation_url=local_idp.revoke_url, username="alice", password="wonderland")
    storage = InMemoryTokenStorage()
    pipeline = TokenFetchPipeline([step], storage)
    token = pipeline.execute()
    pipeline.revoke()
    assert not local_idp.is_active(token)
    assert storage.get(step.cache_key) is None


def test_a_step_without_a_grant_is_passed_over(local_idp: LocalIdP) -> None:
    """Its token is nobody's to revoke; the others are revoked all the same."""
    client = {"token_url": local_idp.token_url, "client_id": "client", "client_secret": "secret"}
    step = PasswordFetcher(**client, revocation_url=local_idp.revoke_url, username="alice", password="wonderland")
    last = CallableTokenFetcher(lambda: Token("made"), name="last", depends_on=[step.name])
    pipeline = TokenFetchPipeline([step, last], InMemoryTokenStorage())
    assert "made" == pipeline.execute().access_token
    pipeline.revoke()
    assert 0 < local_idp.count("revoke")


def test_nothing_is_taken_out_that_could_not_be_revoked(
    make: Make, local_idp: LocalIdP, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, and the grant can be revoked another time."""
    storage, fetcher = InMemoryTokenStorage(), make(retries=0)
    manager = start(fetcher, storage)
    manager.get_token()
    local_idp.fail("revoke", status=503, times=None)
    with caplog.at_level(logging.WARNING):
        manager.close(revoke=True)
    assert "could not revoke" in caplog.text
    assert grant_of(storage, fetcher).refresh_token


def test_a_mark_is_kept_for_a_day(make: Make) -> None:
    """It shows nothing of what it stands for."""
    storage, fetcher = InMemoryTokenStorage(), make()
    manager = start(fetcher, storage)
    token = manager.get_token()
    manager.close(revoke=True)
    mark = storage.get(f"ended:{fetcher.grant_key}")
    assert mark is not None
    assert mark.issued_at is not None
    assert mark.issued_at + timedelta(days=1) == mark.expires_at
    assert str(token.refresh_token) not in str(mark.to_dict())


def test_what_is_taken_out_is_not_put_back_by_a_renewal_under_way(make: Make, local_idp: LocalIdP) -> None:
    """Whoever takes it out waits for the lock that the renewal holds, and takes out what that has stored."""
    storage, fetcher = WatchedStorage(), make()
    run_once(fetcher, storage)
    before, asked = storage.calls["lock"], local_idp.count("token")
    local_idp.fail("token", kind="hang")
    pipeline = TokenFetchPipeline([fetcher], storage)
    with ThreadPoolExecutor() as threads:
        renewal = threads.submit(pipeline.execute, force_refresh=True)
        local_idp.wait_for_requests("token", asked + 1)
        forgetting = threads.submit(pipeline.forget)
        storage.wait_for("lock", before + 2)
        local_idp.heal()
        renewal.result(10)
        forgetting.result(10)
    assert storage.get(fetcher.grant_key or "") is None
    assert storage.get(fetcher.cache_key) is None


def test_forgetting_twice_leaves_the_mark(make: Make) -> None:
    """Without a word to the server, and the second time there is nothing to take out."""
    storage, fetcher = InMemoryTokenStorage(), make()
    newest = run_once(fetcher, storage).refresh_token
    key = fetcher.grant_key or ""
    for _ in range(2):
        take_out(storage, fetcher.cache_key, key, None, lambda _token: None, SystemClock().now())
    assert storage.get(key) is None
    assert is_ended(storage, key, newest)
