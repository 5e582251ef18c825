"""Processes that share a pipeline's steps through files cost one fetch of each step."""

import subprocess
import sys
from pathlib import Path

import pytest

from tokenkit.testing import LocalIdP

CHILD = """
import sys
from tokenkit import TokenFetchPipeline
from tokenkit.fetchers import BodyTokenFetcher, HeaderTokenFetcher
from tokenkit.storage import FileTokenStorage

url, directory = sys.argv[1:]
given = lambda *names: lambda context: {f"X-{name.title()}-Token": context[name].access_token for name in names}
pipeline = TokenFetchPipeline([
    BodyTokenFetcher("device", url, "/device", request_data={"device_id": "d1"}, token_field="data.token"),
    HeaderTokenFetcher("app", url, "/app", depends_on=["device"], request_headers=given("device")),
    BodyTokenFetcher("user", url, "/user", depends_on=["device", "app"], request_headers=given("device", "app"),
        request_data={"username": "alice", "password": "wonderland"}),
], FileTokenStorage(directory))
print("ready", flush=True)
sys.stdin.readline()
print(pipeline.execute().fingerprint, flush=True)
"""


@pytest.mark.slow
def test_processes_that_start_together_fetch_each_step_once(local_idp: LocalIdP, tmp_path: Path) -> None:
    """Eight processes with an empty cache get one token from one fetch of each step."""
    local_idp.latency = 0.1
    command = [sys.executable, "-c", CHILD, local_idp.url, str(tmp_path / "tokens")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    children = [subprocess.Popen(command, text=True, **pipes) for _ in range(8)]
    assert ["ready\n"] * 8 == [child.stdout.readline() for child in children]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=30)[0] for child in children]
    assert (1, [0] * 8) == (len(set(said)), [child.returncode for child in children])
    assert [1, 1, 1] == [local_idp.count(name) for name in ("device", "app", "user")]
