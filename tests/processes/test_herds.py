"""N processes cost one fetch a lifetime, and no refresh token is lost, whichever storage they share."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import daemons

from tokenkit.testing import LocalIdP

PROCESSES = 16
RUNS = 4
FINGERPRINT = re.compile("[0-9a-f]{8}")  # no name of an error is one

pytestmark = [pytest.mark.slow, pytest.mark.server]

in_each_storage = pytest.mark.parametrize("where", ["file", "redis", "django"], indirect=True)


@pytest.fixture
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A storage's kind and place, for the herd to make one from in each process."""
    if request.param == "file":
        yield "file", str(tmp_path / "tokens")
        return
    with daemons.redis_server(tmp_path) as server:
        yield request.param, server.redis_url


def run_herd(idp: LocalIdP, where: tuple[str, str], **order: object) -> list[list[list[str]]]:
    """Return the fingerprints of the tokens that each process of each run got."""
    standard = {"storage": where[0], "where": where[1], "token_url": idp.token_url, "processes": PROCESSES}
    standard |= {"runs": 1, "tokens": 1, "refresh_tokens": [], "stored": True, "pipeline": False, "lock_timeout": 10}
    program = [sys.executable, str(Path(__file__).with_name("herd.py")), json.dumps(standard | order)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=58, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(FINGERPRINT.fullmatch(one) for results in runs for seen in results for one in seen), runs
    return runs


@in_each_storage
def test_sixteen_processes_without_a_token_cost_one_fetch(local_idp: LocalIdP, where: tuple[str, str]) -> None:
    """They start together, over an empty storage: one fetches, and all have its token."""
    local_idp.latency = 0.05
    for results in run_herd(local_idp, where, runs=RUNS):
        assert 1 == len({tuple(seen) for seen in results}), results
    assert (RUNS, RUNS) == (local_idp.count("token"), local_idp.count("token:client_credentials"))


@in_each_storage
def test_sixteen_processes_spend_a_refresh_token_once(local_idp: LocalIdP, where: tuple[str, str]) -> None:
    """They start together, over an expired token: one refreshes, and the provider never sees its token reused."""
    local_idp.latency = 0.05
    minted = [local_idp.issue(kind="refresh").access_token for _ in range(RUNS)]
    for results in run_herd(local_idp, where, runs=RUNS, refresh_tokens=minted):
        assert 1 == len({tuple(seen) for seen in results}), results
    assert (RUNS, RUNS) == (local_idp.count("token"), local_idp.count("token:refresh_token"))
    assert 0 == local_idp.reuse_detected


@pytest.mark.parametrize("stored", [False, True], ids=["first-start", "restart"])
@pytest.mark.parametrize("pipeline", [False, True], ids=["manager", "pipeline"])
@pytest.mark.parametrize("where", ["file"], indirect=True)
def test_a_provider_slower_than_the_lock_costs_no_session(
    local_idp: LocalIdP, where: tuple[str, str], pipeline: bool, stored: bool
) -> None:
    """Four processes that find the lock held beyond ``lock_timeout`` wait, rather than spend what it guards.

    That is a stored refresh token, or the one that each of them was given.
    """
    local_idp.latency = 0.5
    minted = [local_idp.issue(kind="refresh").access_token]
    order = {"processes": 4, "refresh_tokens": minted, "pipeline": pipeline, "lock_timeout": 0.1, "stored": stored}
    (results,) = run_herd(local_idp, where, **order)
    assert 1 == len({tuple(seen) for seen in results}), results
    assert (1, 0) == (local_idp.count("token:refresh_token"), local_idp.reuse_detected)


@pytest.mark.parametrize(("where", "lifetimes"), [("file", 20), ("redis", 6)], indirect=["where"])
def test_sixteen_processes_cost_one_fetch_a_lifetime(
    local_idp: LocalIdP, where: tuple[str, str], lifetimes: int
) -> None:
    """Over many lifetimes, each token that any of them used was fetched once, by one of them."""
    local_idp.lifetime = 1.0
    (results,) = run_herd(local_idp, where, tokens=lifetimes)
    assert all(len(seen) == lifetimes for seen in results), results
    used = {fingerprint for seen in results for fingerprint in seen}
    assert len(used) <= local_idp.count("token") <= len(used) + 1
    assert lifetimes <= len(used) < 1.5 * lifetimes  # who misses a token on a busy machine goes on for another
