"""Real signals, at random, for a bounded number of renewals; and exceptions that another thread throws in.

``TOKENKIT_DEPTH=10`` sends ten times as many, as CI does.
"""

import ctypes
import gc
import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.interrupts import DEPTH, needs_timer, unmeasured
from support.rotating import RotatingSource

from tokenkit import RefreshPolicy, TokenManager
from tokenkit.errors import TokenKitError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), unmeasured]

STORM = Path(__file__).with_name("storm.py")
SIGNALS = {"none": 150, "memory": 80, "file": 40, "http": 30}
THROWN = 60
_throw = ctypes.pythonapi.PyThreadState_SetAsyncExc


@needs_timer
@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("how", ["led", "background"])
def test_no_signal_leaves_a_lock_or_a_waiter(how: str, kind: str) -> None:
    """Handlers that raise, anywhere in a renewal: other callers come back in time, and so does the next one."""
    command = [sys.executable, str(STORM), how, kind, str(SIGNALS[kind] * DEPTH)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert 0 == done.returncode, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert 0 == report["very_late"], report
    assert not report["hung"], report
    assert report["after"] < 1, report


class Thrown(BaseException):
    pass


def _catch_one() -> None:
    """Have CPython 3.11 see that nothing is thrown any more: else the next function that is traced never begins."""
    try:
        _throw(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Thrown))
        threading.Event().wait(10)
    except Thrown:
        return
    raise AssertionError("nothing was thrown into this thread")


@pytest.mark.parametrize("background", [False, True], ids=["led", "background"])
def test_what_another_thread_throws_in_leaves_nothing_behind(background: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyThreadState_SetAsyncExc into a caller, and into whatever thread renews: the next caller has a token soon.

    And where there is a refresh thread, it goes on ahead of callers: also if it was starting a worker that died.
    """
    # Threads that it ends say nothing: the next one would be thrown into who writes their traceback.
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    policy = RefreshPolicy(initial_retry_timeout=0.001, max_retry_timeout=0.001, min_renewal_interval=0)
    source = RotatingSource()
    manager = TokenManager(source, background=background, policy=policy)
    over, before = threading.Event(), set(threading.enumerate())

    def ask() -> None:
        while not over.is_set():
            try:
                while not over.is_set():
                    manager.invalidate_token()
                    manager.get_token(5)
            except (TokenKitError, Thrown):
                pass

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for one in threads:
        one.start()
    for _ in range(THROWN * DEPTH):
        victim = random.choice([one for one in threading.enumerate() if one not in before])
        _throw(ctypes.c_ulong(victim.ident or 0), ctypes.py_object(Thrown))
        over.wait(random.uniform(0, 0.002))
    over.set()
    for one in threads:
        one.join(20)
    for one in set(threading.enumerate()) - before:
        _throw(ctypes.c_ulong(one.ident or 0), None)  # what has not reached a sleeper yet never will
    _catch_one()
    manager.invalidate_token()
    assert manager.get_token(5, {"token_renew_report_error": ""})
    if background:
        asked = threading.Event()
        source.during = asked.set
        assert any(manager.request_renewal() or asked.wait(1) for _ in range(5))
    manager.close(1)
    gc.collect()
