"""What real storages do to a grant that a server rotates: nothing is ever spent twice, and what can be kept is kept."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import daemons, needs

from tokenkit import AuthenticationError, TokenManager
from tokenkit.contracts import TokenStorage
from tokenkit.errors import SignInRequiredError
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import LocalIdP

Start = Callable[[TokenStorage], TokenManager]


@pytest.fixture
def start(local_idp: LocalIdP) -> Iterator[Start]:
    """Start a program, as one that knows nothing but the first refresh token; at the end nothing was spent twice."""
    first = local_idp.issue(kind="refresh").access_token
    managers: list[TokenManager] = []

    def make(storage: TokenStorage) -> TokenManager:
        fetcher = RefreshTokenFetcher(
            token_url=local_idp.token_url, client_id="client", client_secret="secret", refresh_token=first
        )
        managers.append(TokenManager(fetcher, storage))
        return managers[-1]

    yield make
    for manager in managers:
        manager.close(0)
    assert 0 == local_idp.reuse_detected


def renew(manager: TokenManager) -> None:
    """Have *manager* spend a refresh token, whatever access token it finds."""
    manager.force_refresh(timeout=10)


# Encryption


@pytest.fixture
def keys() -> list[bytes]:
    """Two keys, an old one and a new one."""
    fernet = needs.module("cryptography.fernet").Fernet
    return [fernet.generate_key(), fernet.generate_key()]


def test_a_grant_survives_the_deployments_of_a_new_key(start: Start, keys: list[bytes]) -> None:
    """New key last everywhere, then first, then the old one dropped; at each step programs of both releases renew."""
    old, new = keys
    encrypted = needs.module("tokenkit.storage.encrypted").EncryptedTokenStorage
    inner = InMemoryTokenStorage()
    for deployment in ([old], [old, new]), ([old, new], [new, old]), ([new, old], [new]):
        for release in (*deployment[::-1], deployment[1]):
            with start(encrypted(inner, release)) as manager:
                renew(manager)


def test_a_program_without_the_key_spends_nothing(start: Start, keys: list[bytes], local_idp: LocalIdP) -> None:
    """It fails, says that no key decrypts what is there, and asks the server nothing."""
    old, new = keys
    encrypted = needs.module("tokenkit.storage.encrypted").EncryptedTokenStorage
    inner = InMemoryTokenStorage()
    with start(encrypted(inner, [new, old])) as ahead:
        renew(ahead)
        before = local_idp.count("token")
        with (
            start(encrypted(inner, old)) as behind,
            pytest.raises(AuthenticationError, match="no key decrypts it") as e,
        ):
            behind.get_token(timeout=10)
        assert (True, before) == (e.value.transient, local_idp.count("token"))
        assert not isinstance(e.value, SignInRequiredError)
        renew(ahead)


# Files


@pytest.mark.posix
def test_a_mount_for_a_group_costs_no_grant(start: Start, tmp_path: Path, local_idp: LocalIdP) -> None:
    """Where the modes were changed below it, a program spends nothing until it is told to trust the group."""
    directory = tmp_path / "tokens"
    with start(FileTokenStorage(directory)) as first:
        renew(first)
    directory.chmod(0o2770)
    for path in directory.iterdir():
        path.chmod(0o660)
    with start(FileTokenStorage(directory)) as wary, pytest.raises(AuthenticationError, match="trust_group=True"):
        wary.get_token(timeout=10)
    before = local_idp.count("token")
    with start(FileTokenStorage(directory, trust_group=True)) as second:
        renew(second)
    assert before + 1 == local_idp.count("token")


@pytest.mark.posix
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_costs_no_grant(start: Start, tmp_path: Path) -> None:
    """What a job left when somebody ran it as root is not taken for absence, and is read again when it is mended."""
    directory = tmp_path / "tokens"
    with start(FileTokenStorage(directory)) as first:
        renew(first)
    for path in directory.glob("*.json"):
        os.chown(path, 65534, 65534)
    with start(FileTokenStorage(directory)) as second:
        with pytest.raises(AuthenticationError, match="another user owns it"):
            second.get_token(timeout=10)
        for path in directory.glob("*.json"):
            os.chown(path, os.geteuid(), os.getegid())
        renew(second)


# Servers


@pytest.mark.server
def test_a_failover_to_a_replica_that_lags_costs_no_grant(start: Start, tmp_path: Path) -> None:
    """The primary dies with the last write: the program goes on with the refresh token that it has, and stores it."""
    redis = needs.module("redis")
    storage_class = needs.module("tokenkit.storage.redis").RedisTokenStorage
    for name in ("primary", "replica", "next"):
        (tmp_path / name).mkdir()
    quick = ("--repl-diskless-sync-delay", "0")
    with daemons.redis_server(tmp_path / "replica", *quick) as replica, redis.Redis(port=replica.port) as admin:
        with daemons.redis_server(tmp_path / "primary", *quick) as primary:
            admin.replicaof("127.0.0.1", primary.port)
            _await_sync(admin)
            manager = start(storage_class(primary.redis_url))
            renew(manager)
            with redis.Redis(port=primary.port) as writer:
                writer.wait(1, 5000)  # until the replica has it
            admin.replicaof("NO", "ONE")  # cut off
            renew(manager)  # stored on the primary alone, which dies
        with daemons.redis_server(tmp_path / "next", "--replicaof", "127.0.0.1", str(replica.port), port=primary.port):
            with redis.Redis(port=primary.port) as promoted:
                _await_sync(promoted)
                promoted.replicaof("NO", "ONE")
            renew(manager)
            with start(storage_class(primary.redis_url)) as another_process:
                renew(another_process)
            manager.close()


def _await_sync(server: Any) -> None:
    deadline = time.monotonic() + 20
    while server.info("replication").get("master_link_status") != "up":
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)  # a server tells nobody


@pytest.mark.server
def test_a_redis_that_is_down_at_the_start_costs_no_grant(start: Start, tmp_path: Path, local_idp: LocalIdP) -> None:
    """A program that cannot read the storage spends nothing, and goes on with the newest when the server is back."""
    needs.module("redis")
    storage_class = needs.module("tokenkit.storage.redis").RedisTokenStorage
    persists = ("--appendonly", "yes", "--appendfsync", "always")
    with daemons.redis_server(tmp_path, *persists) as server, start(storage_class(server.redis_url)) as first:
        renew(first)
    before = local_idp.count("token")
    with start(storage_class(server.redis_url)) as second:
        with pytest.raises(AuthenticationError, match="cannot be"):
            second.get_token(timeout=10)
        assert before == local_idp.count("token")
        with daemons.redis_server(tmp_path, *persists, port=server.port):
            renew(second)
