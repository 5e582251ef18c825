"""`tokenkit demo` shows what it promises."""

import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_tells_what_happens_and_ends() -> None:
    """Each event has its line as it happens; nothing of tokenkit's fails, and the naive program beside it does."""
    command = [sys.executable, "-W", "error", "-m", "tokenkit", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert 0 == done.returncode, done.stderr
    for line in (
        r"^  0\.\d s  a new token: \d+ requests? waited for it, one asked for it$",
        r"^ +\d+\.\d s  renewed behind 16 threads: none of them waited$",
        r"^ 1[5-7]\.\d s  the API answered 401",
    ):
        assert re.search(line, done.stdout, re.MULTILINE), done.stdout
    ours, theirs = (
        re.search(rf"^{who} +\d+ +(\d+) +(\d+)$", done.stdout, re.MULTILINE) for who in ("tokenkit", "naive program")
    )
    assert ours
    assert theirs
    assert 0 == int(ours[1])
    assert int(theirs[1]) > 0
    assert int(ours[2]) < int(theirs[2])
    seconds = [float(found) for found in re.findall(r"^ *(\d+\.\d) s", done.stdout, re.MULTILINE)]
    assert sorted(seconds) == seconds
    assert seconds[-1] < 20
    assert "\x1b" not in done.stdout
