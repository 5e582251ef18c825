"""The forms in which `tokenkit token` prints a token, and how long that is good."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tokenkit.cli import main
from tokenkit.config import from_config
from tokenkit.storage import FileTokenStorage
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token


@pytest.fixture
def config(tmp_path: Path, local_idp: LocalIdP) -> Path:
    """A table whose tokens live for an hour, and one whose token never ends."""
    path = tmp_path / "tokens.toml"
    path.write_text(f"""
[orders]
token_url = "{local_idp.token_url}"
client_id = "client"
client_secret = "secret"
retries = 0
[orders.storage]
type = "file"
directory = "{tmp_path}/tokens"

[fixed]
source = "static"
token = "abc"
""")
    return path


def printed(capsys: pytest.CaptureFixture[str], config: Path, *arguments: str) -> str:
    assert 0 == main(["token", "--config", str(config), *arguments])
    return capsys.readouterr().out.removesuffix("\n")


def test_json_has_the_token_and_its_end(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """As seconds since 1970 and as RFC 3339, which are the same moment."""
    told = json.loads(printed(capsys, config, "orders", "--format", "json"))
    assert ["access_token", "token_type", "expires_at", "expires"] == list(told)
    assert "Bearer" == told["token_type"]
    assert told["expires_at"] == datetime.fromisoformat(told["expires"].replace("Z", "+00:00")).timestamp()


def test_json_of_a_token_without_an_end_tells_none(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """The fields are missing, as expires_in would be in a server's answer."""
    told = json.loads(printed(capsys, config, "fixed", "--format", "json"))
    assert {"access_token": "abc", "token_type": "Bearer"} == told


def test_env_is_a_line_that_a_shell_evaluates(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """The variable is the one that ``tokenkit exec`` sets."""
    assert "TOKENKIT_TOKEN=abc" == printed(capsys, config, "fixed", "--format", "env")


def test_exec_credential_is_what_kubectl_reads(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """With the moment from which kubectl asks again, unless the token has no end."""
    told = json.loads(printed(capsys, config, "fixed", "--format", "exec-credential"))
    assert ("client.authentication.k8s.io/v1", "ExecCredential") == (told["apiVersion"], told["kind"])
    assert {"token": "abc"} == told["status"]
    status = json.loads(printed(capsys, config, "orders", "--format", "exec-credential"))["status"]
    assert datetime.fromisoformat(status["expirationTimestamp"].replace("Z", "+00:00")) > datetime.now(timezone.utc)


def test_force_brings_another_token(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Whatever is held; without it the stored one is printed again."""
    held = printed(capsys, config, "orders")
    assert held == printed(capsys, config, "orders")
    assert held != printed(capsys, config, "orders", "--force")


def test_min_valid_renews_what_ends_too_soon(
    capsys: pytest.CaptureFixture[str], config: Path, local_idp: LocalIdP
) -> None:
    """What is good for long enough is printed as it is, and a token without an end always is."""
    local_idp.lifetime = 600
    held = printed(capsys, config, "orders")
    local_idp.lifetime = 3600
    assert held == printed(capsys, config, "orders", "--min-valid", "500")
    assert held != printed(capsys, config, "orders", "--min-valid", "700")
    assert "abc" == printed(capsys, config, "fixed", "--min-valid", "700")


def test_min_valid_is_refused_rather_than_missed(
    capsys: pytest.CaptureFixture[str], config: Path, local_idp: LocalIdP
) -> None:
    """Where new tokens live for less it never helps to try again; where the server is down it may."""
    local_idp.lifetime = 60
    assert 1 == main(["token", "--config", str(config), "orders", "--min-valid", "100"])
    said = capsys.readouterr()
    assert ("", 1) == (said.out, said.err.count("\n"))
    assert "seconds only, not for 100" in said.err
    local_idp.fail("token", status=503, times=None)
    assert 75 == main(["token", "--config", str(config), "orders", "--min-valid", "100"])
    assert "" == capsys.readouterr().out


def test_a_token_that_is_due_is_renewed_or_printed(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path, local_idp: LocalIdP
) -> None:
    """In the last part of its life another is asked for; the one that is good still serves while the server is down."""
    now = datetime.now(timezone.utc)
    old = Token("old", issued_at=now - timedelta(minutes=57), expires_at=now + timedelta(minutes=3))
    with from_config(config, "orders") as manager:
        FileTokenStorage(tmp_path / "tokens").set(manager.source.cache_key, old)
    local_idp.fail("token", status=503, times=None)
    assert "old" == printed(capsys, config, "orders")
    local_idp.heal("token")
    assert "old" != printed(capsys, config, "orders")


@pytest.mark.parametrize(("name", "told"), [("fixed", "it has no storage"), ("orders", "nothing is stored")])
def test_status_of_what_is_not_stored(
    capsys: pytest.CaptureFixture[str], config: Path, local_idp: LocalIdP, name: str, told: str
) -> None:
    """One line says why there is nothing to tell, and nobody is asked."""
    assert 0 == main(["status", "--config", str(config), name])
    assert f"[{name}]\n  {told}\n" == capsys.readouterr().out
    assert 0 == sum(local_idp.counts.values())
