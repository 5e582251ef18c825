"""The commands that end a grant: what is left behind, and who hears of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenkit import TokenManager
from tokenkit.cli import main
from tokenkit.config import from_config
from tokenkit.errors import AuthenticationError
from tokenkit.storage import FileTokenStorage
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token

SIGN_IN = 77


@pytest.fixture
def table(tmp_path: Path, local_idp: LocalIdP) -> Path:
    """A configuration whose table ``job`` has a refresh token, and ``chain`` a pipeline of one with a password."""
    given = tmp_path / "refresh-token"
    given.write_text(local_idp.issue(kind="refresh").access_token)
    given.chmod(0o600)
    client = f"""
token_url = "{local_idp.token_url}"
revocation_url = "{local_idp.revoke_url}"
client_id = "client"
client_secret = "secret"
"""
    path = tmp_path / "tokens.toml"
    path.write_text(f"""
[job]
grant = "refresh_token"
refresh_token = "file:{given}"
{client}
[job.storage]
type = "file"
directory = "{tmp_path}/tokens"

[chain.storage]
type = "file"
directory = "{tmp_path}/tokens"
[[chain.steps]]
name = "user"
grant = "password"
username = "alice"
password = "wonderland"
{client}
""")
    return path


@pytest.fixture
def storage(tmp_path: Path) -> FileTokenStorage:
    return FileTokenStorage(tmp_path / "tokens")


@pytest.fixture
def other(table: Path) -> Iterator[TokenManager]:
    """Another program that holds the grant."""
    with from_config(table, "job") as manager:
        manager.get_token()
        yield manager


def run(command: str, table: Path, name: str) -> int:
    return main([command, "--config", str(table), name])


def entries_of(storage: FileTokenStorage, source: Any) -> list[Token | None]:
    return [storage.get(source.cache_key), storage.get(source.grant_key)]


def test_forget_takes_the_grant_out_and_leaves_a_mark(
    table: Path, storage: FileTokenStorage, other: TokenManager, local_idp: LocalIdP
) -> None:
    """Twice, too; the server hears nothing, and the mark shows nothing of the refresh token."""
    newest = other.current.refresh_token  # type: ignore[union-attr]  # it has just fetched one
    before = sum(local_idp.counts.values())
    assert [0, 0] == [run("forget", table, "job") for _ in range(2)]
    assert [None, None] == entries_of(storage, other.source)
    mark = storage.get(f"ended:{other.source.grant_key}")
    assert mark is not None
    assert newest not in str(mark.to_dict())
    assert before == sum(local_idp.counts.values())


def test_another_program_does_not_undo_it(
    table: Path, storage: FileTokenStorage, other: TokenManager, local_idp: LocalIdP
) -> None:
    """It drops the refresh token that it holds: it neither sends it nor writes it back."""
    run("forget", table, "job")
    asked = local_idp.count("token")
    with pytest.raises(AuthenticationError, match="a person must sign in again"):
        other.force_refresh(timeout=10)
    assert [None, None] == entries_of(storage, other.source)
    assert asked == local_idp.count("token")


def test_the_next_command_says_that_a_person_must_sign_in(table: Path, other: TokenManager) -> None:
    """The refresh token in the configuration was spent long ago."""
    run("forget", table, "job")
    assert SIGN_IN == run("token", table, "job")


def test_a_pipelines_steps_are_forgotten(table: Path, tmp_path: Path, local_idp: LocalIdP) -> None:
    """Each of them, from the storage that the steps share."""
    with from_config(table, "chain") as manager:
        manager.get_token()
        assert 0 == run("forget", table, "chain")
        step = manager.source.pipeline.get_step("user")
    kept = FileTokenStorage(tmp_path / "tokens")
    assert kept.get(step.cache_key) is None
    assert kept.get(f"ended:{step.cache_key}") is not None
    assert 0 == local_idp.count("revoke")


@pytest.mark.parametrize("name", ["job", "chain"])
def test_logout_tells_the_server_and_forgets(table: Path, name: str, local_idp: LocalIdP) -> None:
    """The token that was handed out is good no longer."""
    with from_config(table, name) as manager:
        token = manager.get_token()
    assert 0 == run("logout", table, name)
    assert not local_idp.is_active(token)
