"""A program whose wall clock is stepped while it has a token: prints one line of JSON about what it saw.

Run by test_clock_steps.py under libfaketime, which reads the step from a file and leaves the monotonic clock alone.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

from tokenkit import ClientCredentialsFetcher, RefreshPolicy, TokenManager
from tokenkit.events import TokenEvent, TokenListener

pause = threading.Event()  # under libfaketime time.sleep() fails


class Counter(TokenListener):
    def __init__(self) -> None:
        self.renewals = 0

    def token_refresh(self, event: TokenEvent) -> None:
        self.renewals += 1


def step_clock(step: str) -> float:
    """Let wall time be *step* away from the machine's; return how far it moved."""
    before, began = time.time(), time.monotonic()
    path = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
    new = path.with_suffix(".new")
    new.write_text(step)
    new.replace(path)
    pause.wait(0.05)
    return round(time.time() - before - (time.monotonic() - began))


def main() -> None:
    token_url, step, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    counter = Counter()
    fetcher = ClientCredentialsFetcher(token_url=token_url, client_id="client", client_secret="secret")
    with TokenManager(fetcher, policy=RefreshPolicy(jitter=0), listeners=[counter]) as manager:
        first = manager.get_token()
        moved = step_clock(step)
        right_after = manager.get_token(0) is first
        end, slowest, seen = time.monotonic() + seconds, 0.0, set()
        while time.monotonic() < end:
            began = time.monotonic()
            seen.add(manager.get_token(5).fingerprint)
            slowest = max(slowest, time.monotonic() - began)
            pause.wait(0.05)
        print(json.dumps([moved, right_after, len(seen), counter.renewals, slowest]))


main()
