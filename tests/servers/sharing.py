"""One of several processes that share their tokens in files: asks the resource for a while and tells what it got.

Run by test_rotation.py, with one JSON object on standard input, so that no secret is an argument. It writes one JSON
object: how often each status came, and how many renewals failed.
"""

import json
import sys
import time
from collections import Counter

import requests

from tokenkit import BearerAuth, TokenListener, TokenManager
from tokenkit.events import TokenEvent
from tokenkit.fetchers import PasswordFetcher
from tokenkit.storage import FileTokenStorage


class Failures(TokenListener):
    count = 0

    def token_refresh(self, event: TokenEvent) -> None:
        self.count += event.result == "error"


def main() -> None:
    order = json.load(sys.stdin)
    failures = Failures()
    statuses: Counter[int] = Counter()
    storage = FileTokenStorage(order["directory"])
    end = time.monotonic() + order["seconds"]
    manager = TokenManager(PasswordFetcher(**order["source"]), storage, listeners=[failures])
    with manager, requests.Session() as session:
        session.auth = BearerAuth(manager)
        while time.monotonic() < end:
            statuses[session.get(order["resource"], timeout=10).status_code] += 1
            time.sleep(0.05)  # a client at work
    print(json.dumps({"statuses": statuses, "failures": failures.count}))


if __name__ == "__main__":
    main()
