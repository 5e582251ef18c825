"""Refresh tokens that are good for one use, and several processes that share them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.fault_proxy import FaultProxy
from support.oauth_servers import RENEWED_AFTER, USERS, OAuthServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

PROCESSES = 4
SECONDS = 5.5


def test_processes_that_share_files_never_reuse_a_refresh_token(
    server: OAuthServer, proxy: FaultProxy, tmp_path: Path, sharing_program: Path
) -> None:
    """Four processes, tokens of 3 seconds: every request is answered, and every token request granted."""
    source = server.client("app", proxy.url) | {"username": "alice", "password": USERS["alice"]}
    order = {"source": source, "directory": str(tmp_path / "tokens"), "resource": server.resource_url}
    before = time.monotonic()
    processes = [_start(sharing_program, order | {"seconds": SECONDS}) for _ in range(PROCESSES)]
    results = [json.loads(process.communicate(timeout=40)[0]) for process in processes]
    lives = (time.monotonic() - before) / RENEWED_AFTER
    assert [0] * PROCESSES == [process.returncode for process in processes]
    assert [({"200"}, 0)] * PROCESSES == [(set(one["statuses"]), one["failures"]) for one in results]
    assert {200} == set(proxy.statuses)
    assert 1 < proxy.connections <= lives + 2


def _start(program: Path, order: dict[str, object]) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, str(program)], stdin=-1, stdout=-1, text=True)
    assert process.stdin is not None
    json.dump(order, process.stdin)
    process.stdin.flush()
    process.stdin.close()
    process.stdin = None  # communicate() would flush it
    return process
