"""A fork that runs none of Python's hooks, as under uWSGI, while other threads use the storage."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, os, select, signal, sys, threading, time
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.tokens import Token

storage = FileTokenStorage(sys.argv[2]) if sys.argv[1] == "file" else InMemoryTokenStorage()
storage.set("key", Token("first"))
stopped = threading.Event()

def work():
    while not stopped.is_set():
        with storage.lock("busy", 30):
            storage.set("busy", Token("busy"))

def child():
    storage.set("other", Token("child"))
    try:
        with storage.lock("key", 0.02):
            held = False
    except StorageLockTimeoutError:
        held = True
    with storage.lock("free", 5):
        return storage.get("key") == Token("first") and held is (sys.argv[1] == "file")

def fork():
    # A thread that waits for the interpreter's lock asks for it when the switch interval is over, and who lets go of
    # it then waits until another has it: in the child, for ever. So nobody is to have asked at that instant.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.2)
    try:
        time.sleep(0.02)
        return ctypes.PyDLL(None).fork()
    finally:
        sys.setswitchinterval(interval)

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
failed = ended = 0
with storage.lock("key", 5):
    for _ in range(10):
        reader, writer = os.pipe()
        pid = fork()
        if pid == 0:
            os._exit(0 if child() else 1)
        os.close(writer)
        if select.select([reader], [], [], 8)[0]:
            ended += 1
            failed += os.waitpid(pid, 0)[1] != 0
        else:  # somebody had asked for the interpreter's lock after all; a lock of ours would stop all of them
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(reader)
stopped.set()
for thread in threads:
    thread.join()
print("failed", failed, "most ended", ended > 5)
"""


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="a free-threaded interpreter survives no fork that its hooks do not hear of",
)
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_child_of_a_bare_fork_uses_the_storage(kind: str, tmp_path: Path) -> None:
    """It hangs on no inherited lock, sees that its parent holds a file's lock, and leaves that lock held."""
    command = [sys.executable, "-c", SCRIPT, kind, str(tmp_path / "tokens")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (0, "failed 0 most ended True", "") == (done.returncode, done.stdout.strip(), done.stderr)
