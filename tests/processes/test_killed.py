"""A process that is killed while it renews costs the others nothing but their wait."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.scripted import ask, outcomes
from support.steps import WatchedStorage

from tokenkit import Token, TokenFetchPipeline, TokenManager, TokenStorage
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.storage import FileTokenStorage
from tokenkit.testing import LocalIdP

CHILD = """
import sys, time
from tokenkit import TokenManager, TokenProvider
from tokenkit.storage import FileTokenStorage

class Hung(TokenProvider):
    service_name = "hung"
    grant_key = sys.argv[2]

    def fetch_token(self):
        raise AssertionError("the stored token has a refresh token")

    def refresh_token(self, current):
        print("refreshes", current.refresh_token, flush=True)
        time.sleep(60)

TokenManager(Hung(), FileTokenStorage(sys.argv[1])).get_token()
"""


@pytest.fixture
def storage(tmp_path: Path) -> FileTokenStorage:
    return FileTokenStorage(tmp_path / "tokens")


@pytest.fixture
def source(local_idp: LocalIdP) -> RefreshTokenFetcher:
    minted = local_idp.issue(kind="refresh").access_token
    client = {"token_url": local_idp.token_url, "client_id": "client", "client_secret": "secret"}
    return RefreshTokenFetcher(refresh_token=minted, **client)


@pytest.fixture
def refreshing(
    storage: FileTokenStorage, source: RefreshTokenFetcher, tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the storage's lock and is about to spend the refresh token of an expired token there."""
    past = datetime.now(timezone.utc) - timedelta(hours=1)
    stored = Token("expired", issued_at=past, expires_at=past, refresh_token=source.refresh_token)
    storage.set(source.grant_key or "", stored)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "tokens"), source.grant_key or ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert f"refreshes {source.refresh_token}\n" == process.stdout.readline()
        yield process
        process.kill()


def by_manager(source: RefreshTokenFetcher, storage: TokenStorage) -> Token:
    with TokenManager(source, storage) as manager:
        return manager.get_token(25)


def by_pipeline(source: RefreshTokenFetcher, storage: TokenStorage) -> Token:
    return TokenFetchPipeline([source], storage).execute(timeout=25)


@pytest.mark.slow
@pytest.mark.parametrize("get", [by_manager, by_pipeline])
def test_the_kill_of_whoever_refreshes_leaves_the_refresh_token_to_the_next(
    local_idp: LocalIdP,
    storage: FileTokenStorage,
    source: RefreshTokenFetcher,
    refreshing: subprocess.Popen[str],
    get: Callable[[RefreshTokenFetcher, TokenStorage], Token],
) -> None:
    """After kill -9 of a process before its request arrived, another that waits refreshes at once."""
    watched = WatchedStorage(storage)
    waiting = ask(lambda: get(source, watched))
    watched.wait_for("lock", 1)
    refreshing.kill()
    (token,) = outcomes(waiting)
    assert replace(token, refresh_token=None) == storage.get(source.cache_key)
    assert (1, 1) == (local_idp.count("token"), local_idp.count("token:refresh_token"))
    assert 0 == local_idp.reuse_detected
