"""The commands that end a grant: what is left behind, and who hears of it."""

import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
retries = 0
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

[person]
grant = "device_code"
token_url = "{local_idp.token_url}"
device_authorization_url = "{local_idp.url}/device_authorization"
client_id = "app"
revocation_url = "{local_idp.revoke_url}"
[person.storage]
type = "file"
directory = "{tmp_path}/tokens"

[bare]
source = "static"
token = "abc"

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


@pytest.mark.parametrize(("name", "status", "code"), [("job", 503, 75), ("chain", 503, 75), ("job", 403, 1)])
def test_a_logout_that_the_server_refuses(
    table: Path, name: str, status: int, code: int, local_idp: LocalIdP, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says so, and what is stored stays, so that the same command can be given again."""
    with from_config(table, name) as manager:
        token = manager.get_token()
    local_idp.fail("revoke", status=status, times=None)
    assert code == run("logout", table, name)
    assert 1 == capsys.readouterr().err.count("\n")
    local_idp.heal("revoke")
    assert 0 == run("logout", table, name)
    assert not local_idp.is_active(token)


@pytest.fixture
def person(local_idp: LocalIdP, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who confirms the code that standard error shows, as soon as a browser would be opened."""
    local_idp.add_client("app")
    local_idp.device_interval = 0.05
    monkeypatch.setattr(
        webbrowser, "open", lambda url: local_idp.approve(parse_qs(urlsplit(url).query)["user_code"][0])
    )


@pytest.mark.usefixtures("person")
def test_login_stores_what_a_person_brings(
    table: Path, local_idp: LocalIdP, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before, a person is wanted; afterwards each command has a token, and none of them shows the refresh token."""
    assert SIGN_IN == run("token", table, "person")
    assert "call manager.sign_in(), or run 'tokenkit login'" in capsys.readouterr().err
    assert 0 == run("login", table, "person")
    out, err = capsys.readouterr()
    assert "To sign in, open" in err
    assert "fingerprint:" in out
    assert [0, 0] == [run(command, table, "person") for command in ("token", "status")]
    assert local_idp.last_form["device_code"][0] not in out + err + capsys.readouterr().out


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize("command", ["logout", "forget"])
def test_after_it_a_person_must_sign_in_again(table: Path, command: str, local_idp: LocalIdP) -> None:
    """Logout ends the grant at the server too; forget does not. A second time is harmless; a new login helps."""
    assert 0 == run("login", table, "person")
    assert [0, 0] == [run(command, table, "person") for _ in range(2)]
    assert (command == "logout") == (local_idp.count("revoke") > 0)
    assert SIGN_IN == run("token", table, "person")
    assert [0, 0] == [run(again, table, "person") for again in ("login", "token")]


def test_login_that_a_person_refuses(
    table: Path, local_idp: LocalIdP, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status is that of a person who is wanted, and the error is one line."""
    local_idp.add_client("app")
    local_idp.device_interval = 0.05
    monkeypatch.setattr(webbrowser, "open", lambda url: local_idp.deny(parse_qs(urlsplit(url).query)["user_code"][0]))
    assert SIGN_IN == run("login", table, "person")
    assert capsys.readouterr().err.splitlines()[-1].startswith("tokenkit: ")


@pytest.mark.parametrize(
    ("command", "said"), [("login", "SignedInFetcher"), ("logout", "tokenkit forget"), ("forget", "has no storage")]
)
def test_a_source_that_has_no_grant(table: Path, command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the configuration that is wrong."""
    assert 2 == run(command, table, "bare")
    assert said in capsys.readouterr().err


def test_status_tells_of_each_step(table: Path, local_idp: LocalIdP, capsys: pytest.CaptureFixture[str]) -> None:
    """Out of the pipeline's own storage, without any network."""
    assert 0 == run("status", table, "chain")
    assert "  user\n    nothing is stored\n" in capsys.readouterr().out
    with from_config(table, "chain") as manager:
        token = manager.get_token()
    asked = sum(local_idp.counts.values())
    assert 0 == run("status", table, "chain")
    out = capsys.readouterr().out
    assert token.fingerprint in out
    assert token.access_token not in out
    assert asked == sum(local_idp.counts.values())
