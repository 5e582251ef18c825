"""`tokenkit demo`, which is the quickstart, shows what it promises."""

import io
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tokenkit.testing import demo

QUICKSTART = Path(__file__).resolve().parent.parent.parent / "examples" / "quickstart.py"
SHOWN = (
    r"^  0\.\d s  the first token, by three calls: one thread fetched it, 16 use it$",
    r"^ +\d+\.\d s  renewed behind 16 threads: none of them waited$",
    r"^ +\d+\.\d s  no new token: the one held is good still",
    r"^ +\d+\.\d s  outage survived behind 16 threads: none of them waited$",
    r"^ 1[4-6]\.\d s  the API answered 401",
    r"^ 1[4-6]\.\d s  healed: one call brought a new token",
    r"^token calls: device 1, app 1, user \d$",
    r"^waited for a token: \d+ for the first or after the revocation, 0 else$",
    r"^renewed ahead of expiry: \d times$",
    r"^revoked: [1-9]\d* requests were answered 401, sent again, and answered 200$",
    r"^failures: 0$",
)


@pytest.mark.slow
def test_the_demo_tells_what_happens_and_ends() -> None:
    """Each event has its line as it happens; nothing of tokenkit's fails, and the naive program beside it does."""
    command = [sys.executable, "-W", "error", "-m", "tokenkit", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert 0 == done.returncode, done.stderr
    assert [] == [line for line in SHOWN if not re.search(line, done.stdout, re.MULTILINE)], done.stdout
    ours, theirs = (
        re.search(rf"^{who} +\d+ +(\d+) +(\d+)$", done.stdout, re.MULTILINE) for who in ("tokenkit", "naive program")
    )
    assert ours
    assert theirs
    assert 0 == int(ours[1])
    assert int(theirs[1]) > 0
    assert 10 * int(ours[2]) < int(theirs[2])
    seconds = [float(found) for found in re.findall(r"^ *(\d+\.\d) s", done.stdout, re.MULTILINE)]
    assert sorted(seconds) == seconds
    assert seconds[-1] < 20
    assert "\x1b" not in done.stdout


def test_the_quickstart_is_the_demo() -> None:
    """One piece of code, so that the README's first line shows what is tested here."""
    assert demo.main is runpy.run_path(str(QUICKSTART))["main"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is written over shows that the demo is not stuck; a pipe gets none."""
    for screen in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", screen)
        story = demo._Story()
        story.wait(0.01)
        story.tell("done")
        assert isinstance(screen, Terminal) is ("s  ...\r\x1b[K" in screen.getvalue())


def test_an_interrupt_ends_the_demo_at_once() -> None:
    """Its threads do not go on to the end of the story."""
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    start += "from tokenkit.cli import main; sys.exit(main(['demo']))"
    command = [sys.executable, "-W", "error", "-c", start]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("the first token" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        try:
            assert "" == process.communicate(timeout=10)[1]  # the story takes 15
        finally:
            process.kill()
    assert 130 == process.returncode
