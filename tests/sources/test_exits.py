"""The end of a program waits for who has sent a refresh token, and lets nobody send another."""

import subprocess
import sys

PROGRAM = """
import atexit, threading
from tokenkit._sources.exits import Spending
from tokenkit.errors import AuthenticationError

begun, ending = threading.Event(), threading.Event()
atexit.register(ending.set)

def spend():
    spending = Spending()
    begun.set()
    ending.wait()
    try:
        while True:
            Spending().end()
    except AuthenticationError as error:
        print("refused for now" if error.transient else "refused", flush=True)
    print("stored", flush=True)
    spending.end()

threading.Thread(target=spend, daemon=True).start()
begun.wait()
mine = Spending()  # of the thread that waits, which is not waited for
"""


def test_the_end_waits_for_what_was_sent() -> None:
    """A daemon thread stores what its refresh token brought; a refresh token that was not sent yet is kept."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False)
    assert ("refused for now\nstored\n", "", 0) == (done.stdout, done.stderr, done.returncode)
