"""A program whose wall clock is stepped while it has a token: prints one line of JSON about what it saw.

Run by test_clock_steps.py in a process of its own: the identity provider's clock must stay as it is. time-machine steps
the wall clock in every thread and leaves the others alone.
"""

import json
import sys
import threading
import time
from datetime import datetime, timezone

import time_machine

from tokenkit import ClientCredentialsFetcher, RefreshPolicy, TokenManager
from tokenkit.events import TokenEvent, TokenListener

pause = threading.Event()


class Counter(TokenListener):
    def __init__(self) -> None:
        self.renewals = 0

    def token_refresh(self, event: TokenEvent) -> None:
        self.renewals += event.result == "success"


def main() -> None:
    token_url, step, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    counter = Counter()
    fetcher = ClientCredentialsFetcher(token_url=token_url, client_id="client", client_secret="secret")
    with (
        time_machine.travel(datetime.now(timezone.utc), tick=True) as wall_clock,
        TokenManager(fetcher, policy=RefreshPolicy(jitter=0), listeners=[counter]) as manager,
    ):
        first, before, began = manager.get_token(), time.time(), time.monotonic()
        wall_clock.shift(step)
        moved = round(time.time() - before - (time.monotonic() - began))
        right_after = manager.get_token(0) is first
        end, slowest, seen = time.monotonic() + seconds, 0.0, set()
        while time.monotonic() < end:
            began = time.monotonic()
            seen.add(manager.get_token(5).fingerprint)
            slowest = max(slowest, time.monotonic() - began)
            pause.wait(0.05)
    print(json.dumps([moved, right_after, len(seen), counter.renewals, slowest]))


main()
