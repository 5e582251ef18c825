"""Greenlets instead of threads: gevent and eventlet, with the standard library patched before anything is imported."""

import importlib.util
import subprocess
import sys

import pytest
from support import needs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

# Each prints one line. Asked for: a hundred at once cost one fetch; a time limit holds while the source hangs; a
# pipeline's and a storage's locks know greenlets apart; a greenlet that is killed inside leaves nothing behind.
PROGRAM = """
import threading, time
from datetime import datetime, timedelta, timezone
from tokenkit import FetchOptions, RefreshPolicy, Token, TokenManager, TokenProvider
from tokenkit.errors import RenewalTimeoutError
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage

class Source(TokenProvider):
    service_name = "green"
    fetches, seconds = 0, 0.05
    def fetch_token(self, context=None):
        self.fetches += 1
        time.sleep(self.seconds)
        now = datetime.now(timezone.utc)
        return Token(f"t{self.fetches}", issued_at=now, expires_at=now + timedelta(hours=1))

source = Source()
manager = TokenManager(source, InMemoryTokenStorage(), policy=RefreshPolicy(refresh_request_timeout=20))

def crowd(size, work):
    threads = [threading.Thread(target=work) for _ in range(size)]
    for one in threads: one.start()
    for one in threads: one.join(20)
    assert not any(one.is_alive() for one in threads), "somebody waits still"

crowd(100, manager.get_token)
print("fetches", source.fetches)

source.seconds = 3
manager.invalidate_token()
began = time.monotonic()
try: manager.get_token(0.3)
except RenewalTimeoutError: print("limit", time.monotonic() - began < 1.5)
print("then", manager.get_token(20).access_token)
source.seconds = 0.05

for storage in (InMemoryTokenStorage(), FileTokenStorage(DIRECTORY)):
    storage.set("key", Token("counter", scope="0"))
    def count():
        for _ in range(3):
            with storage.lock("key", 20):
                seen = int(storage.get("key").scope)
                time.sleep(0.002)
                storage.set("key", Token("counter", scope=str(seen + 1)))
    crowd(10, count)
    print("counted", storage.get("key").scope)
KILLS
manager.close(2)
"""
KILLED = """
led = TokenManager(source, InMemoryTokenStorage(), background=False)
for delay in (0, 0.001, 0.01, 0.02, 0.04):
    one = gevent.spawn(led.get_token)
    gevent.sleep(delay)
    one.kill()
    led.invalidate_token()
    began = time.monotonic()
    led.get_token(10, FetchOptions(report_error=False))
    assert time.monotonic() - began < 2, "what was killed is waited for"
    led.invalidate_token()
print("killed")
"""
SAID = ["fetches 1", "limit True", "then t2", "counted 30", "counted 30"]


def needs_installed(name: str) -> None:
    if importlib.util.find_spec(name) is None:  # not imported: that has effects, and warnings
        needs.missing(f"the Python package {name}")


def said(patching: str, directory: object, kills: str = "") -> list[str]:
    program = patching + PROGRAM.replace("DIRECTORY", repr(str(directory))).replace("KILLS", kills)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert "" == done.stderr
    return done.stdout.splitlines()


def test_gevent(tmp_path: object) -> None:
    """With ``monkey.patch_all()`` everything holds, and a greenlet that is killed in a fetch leaves nothing behind."""
    needs_installed("gevent")
    assert [*SAID, "killed"] == said(
        "import gevent.monkey; gevent.monkey.patch_all()\nimport gevent\n", tmp_path, KILLED
    )


def test_eventlet(tmp_path: object) -> None:
    """With ``eventlet.monkey_patch()`` everything holds, too."""
    needs_installed("eventlet")
    patching = "import warnings; warnings.simplefilter('ignore')\nimport eventlet; eventlet.monkey_patch()\n"
    assert SAID == said(patching, tmp_path)
