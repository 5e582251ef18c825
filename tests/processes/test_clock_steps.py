"""A real process whose wall clock is stepped: renewals go on as if nothing had happened."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import needs

from tokenkit.testing import LocalIdP

needs.module("time_machine")
HOUR = 3600


def run_stepped(idp: LocalIdP, step: float, seconds: float) -> list:
    """Run clocked.py for *seconds* after its wall clock went *step* seconds; return what it says."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("clocked.py")), idp.token_url, str(step), str(seconds)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_step_of_an_hour_changes_nothing(local_idp: LocalIdP, step: int) -> None:
    """The token is still fresh right after it, and each that follows is renewed when a token of its age is due."""
    local_idp.lifetime = 1.0
    moved, right_after, tokens, renewals, slowest = run_stepped(local_idp, step, 2.5)
    assert (step, True) == (moved, right_after)
    assert 3 <= tokens <= renewals <= 4  # due at 0.9, 1.8 and 2.7 s
    assert renewals == local_idp.count("token")
    assert slowest < 1  # the provider's answer, on a busy machine; never an hour, nor a back-off
