"""A person's refresh token outlives every way to start a program, and every kill but the one that nobody can save."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from support import daemons

from tokenkit.testing import LocalIdP

PROGRAM = Path(__file__).with_name("grant_user.py")
HERE = ["-c", "import sys; sys.path.insert(0, sys.argv[1]); import grant_user; grant_user.run_all(sys.argv[2])"]
WAYS = {
    "script": [str(PROGRAM), "script"],
    "module": ["-m", "grant_user", "module"],
    "imported": [*HERE, str(PROGRAM.parent)],
    "optimized": ["-OO", str(PROGRAM), "script"],
    "spawn": [str(PROGRAM), "spawn"],
    "forkserver": [str(PROGRAM), "forkserver"],
    "leaves": [str(PROGRAM), "leaves"],
}
FORMS = ["string", "function", "lambda", "variable", "file"]
# One process goes through all forms, but that which leaves a renewal behind it, and ends.
STARTS = [(way, form) for way in WAYS for form in (FORMS if way == "leaves" else [",".join(FORMS)])]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="kills and forks")]
Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(local_idp: LocalIdP, tmp_path: Path) -> Start:
    """Start the program once, and wait for its end."""
    given = local_idp.issue(kind="refresh").access_token
    local_idp.lifetime = 0.2  # an access token has expired by the next start, which has to renew
    (tmp_path / "given").write_text(f"{given}\n")
    environment = {
        **os.environ,
        "GRANT_TOKEN": given,
        "GRANT_FILE": str(tmp_path / "given"),
        "GRANT_URL": local_idp.token_url,
        "GRANT_STORAGE": str(tmp_path / "tokens"),
    }

    def run(way: str = "script", form: str = "string", **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *WAYS[way], form]
        return subprocess.run(
            command,
            env={**environment, **more},
            cwd=PROGRAM.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.timeout(400)
@pytest.mark.parametrize("where", ["file", "redis"])
def test_no_way_to_start_a_program_loses_its_grant(
    start: Start, local_idp: LocalIdP, tmp_path: Path, where: str
) -> None:
    """Started in every way, and in each given the token in every form, it goes on with the newest."""
    with daemons.redis_server(tmp_path) if where == "redis" else nullcontext() as server:
        place = {"GRANT_STORAGE": server.redis_url} if server else {}
        for way, form in STARTS if where == "file" else list(zip(WAYS, FORMS, strict=False))[:3]:
            done = start(way, form, **place)
            assert "" == done.stderr, (way, form)
            assert 0 == done.returncode
    assert 0 == local_idp.reuse_detected
    assert 3 <= local_idp.count("token:refresh_token")


@pytest.mark.parametrize("moment", ["after-grant", "before-access", "after-access"])
def test_a_kill_after_the_grant_is_stored_loses_nothing(start: Start, local_idp: LocalIdP, moment: str) -> None:
    """The refresh token is the first thing that is written."""
    assert 0 == start().returncode
    assert -9 == start(GRANT_KILL=moment).returncode
    assert "" == start().stderr
    assert 0 == local_idp.reuse_detected


def test_a_kill_between_the_answer_and_the_entry_needs_a_person(start: Start, local_idp: LocalIdP) -> None:
    """No library can save that one: the server has replaced what the storage has, and the error says what to do."""
    assert 0 == start().returncode
    assert -9 == start(GRANT_KILL="before-grant").returncode
    assert "a person must sign in again" in start().stderr
    assert 1 == local_idp.reuse_detected


def test_a_script_that_ends_while_a_renewal_is_under_way_loses_nothing(start: Start, local_idp: LocalIdP) -> None:
    """Its end waits until the answer is stored."""
    local_idp.lifetime = 60.0
    local_idp.latencies["token"] = 0.5
    assert "" == start("leaves").stderr
    assert "" == start("leaves").stderr
    assert 0 == local_idp.reuse_detected
    assert 2 <= local_idp.count("token:refresh_token")
