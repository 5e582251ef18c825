"""Children of the test process: forked, asked for a result, and certain to be gone in the end.

Two ways to fork: ``os.fork``, which runs the hooks of ``os.register_at_fork``, and the C function, which runs none,
as uWSGI forks.
"""

import ctypes
import json
import os
import select
import signal
import sys
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tokenkit import TokenManager

Work = Callable[[], object]
PATIENCE = 15.0  # seconds
PLATFORM = ctypes.PyDLL(None)  # keeps the interpreter's lock during a call: the child must have it

# Python 3.12 and later warn of a fork beside other threads, which is what these tests are about.
FORK_WARNING = "This process .* is multi-threaded, use of fork.* may lead to deadlocks in the child"


class Child:
    """A forked process that runs *work* and sends what it returned; it never runs on into the test run.

    Args:
        work: Returns something that JSON can say.
        hooks: Whether the hooks of ``os.register_at_fork`` run.
    """

    def __init__(self, work: Work, *, hooks: bool = True) -> None:
        if not hooks and sysconfig.get_config_var("Py_GIL_DISABLED"):
            pytest.skip("a free-threaded interpreter survives no fork that its hooks do not hear of")
        self._reading, writing = os.pipe()
        self.pid = _fork(hooks)
        if self.pid == 0:
            _live(work, writing, hooks)
        os.close(writing)

    def result(self) -> Any:
        """Return what the work returned, or what it raised as text; a TimeoutError where the child hangs."""
        deadline, said = time.monotonic() + PATIENCE, b""
        try:
            while select.select([self._reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
                piece = os.read(self._reading, 65536)
                if not piece:
                    return json.loads(said or b'"it died"')
                said += piece
            os.kill(self.pid, signal.SIGKILL)
            raise TimeoutError("the child hangs")
        finally:
            os.close(self._reading)
            os.waitpid(self.pid, 0)


def _fork(hooks: bool) -> int:
    if not hooks:
        return _fork_without_hooks()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", FORK_WARNING, DeprecationWarning)
        return os.fork()


def _fork_without_hooks() -> int:
    # A thread that waits for the interpreter's lock asks its holder to let go, who then waits until it has: in the
    # child for ever. No thread asks before the switch interval is over; those that have asked are served meanwhile.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        time.sleep(0.02)
        return int(PLATFORM.fork())
    finally:
        sys.setswitchinterval(interval)


def _live(work: Work, writing: int, hooks: bool) -> None:
    try:
        said = json.dumps(work())
    except BaseException:
        said = json.dumps(traceback.format_exc())
    os.write(writing, said.encode())  # its end is seen when this process has ended
    if hooks:
        os._exit(0)
    PLATFORM._exit(0)  # os._exit would save the coverage of a process that coverage has not seen forking


@contextmanager
def holding_lock(manager: TokenManager) -> Iterator[None]:
    """Have another thread hold *manager*'s lock for the block.

    Nothing that a user can do holds it for longer than an instant, since no foreign code runs under it. This is the
    one place where tests reach inside: a fork in that instant must be as harmless as any other.
    """
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with manager._engine._lock:
            held.set()
            over.wait(2 * PATIENCE)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(PATIENCE)
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE)


def renewal_threads() -> int:
    """Return how many renewal threads this process has; without fork hooks ``threading`` counts the lost ones too."""
    running = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    named = [thread for thread in threading.enumerate() if thread.name == "tokenkit-refresh"]
    return len([thread for thread in named if thread.native_id in running])


def send_token(manager: TokenManager, pipe: Any) -> None:
    """Ask *manager* for a token in a process of ``multiprocessing``; send what it held before, and holds now."""
    before = manager.current
    pipe.send((os.getpid(), before and before.fingerprint, manager.get_token(10).fingerprint))
    pipe.close()
