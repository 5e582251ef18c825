"""A real process whose wall clock is stepped: renewals go on as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import needs
import pytest

from tokenkit.testing import LocalIdP

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libfaketime is preloaded as Linux does it")
LIBRARIES = [Path("/usr/lib"), Path("/usr/local/lib")]
HOUR = 3600


def faketime_library() -> Path:
    found = [path for place in LIBRARIES for path in sorted(place.glob("**/faketime/libfaketimeMT.so.1"))]
    return found[0] if found else needs.missing("the library libfaketime")


def run_stepped(idp: LocalIdP, tmp_path: Path, step: str, seconds: float) -> list:
    """Run clocked.py for *seconds* after its wall clock went *step*; return what it says."""
    step_file = tmp_path / "step"
    step_file.write_text("+0")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("clocked.py")), idp.token_url, step, str(seconds)],
        env=os.environ
        | {
            "LD_PRELOAD": str(faketime_library()),
            "FAKETIME_TIMESTAMP_FILE": str(step_file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])
def test_a_step_of_an_hour_changes_nothing(local_idp: LocalIdP, tmp_path: Path, hours: int) -> None:
    """The token is still fresh right after it, and each that follows is renewed when a token of its age is due."""
    local_idp.lifetime = 1.0
    moved, right_after, tokens, renewals, slowest = run_stepped(local_idp, tmp_path, f"{hours:+}h", 2.5)
    assert (hours * HOUR, True) == (moved, right_after)
    assert 3 <= tokens <= renewals <= 4  # due at 0.9, 1.8 and 2.7 s
    assert renewals == local_idp.count("token")
    assert slowest < 0.5
