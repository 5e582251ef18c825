"""One of several hosts that share a grant in a Redis: asks for its token for a while and tells what it got.

Run by test_hosts.py, with one JSON object on standard input. It writes one JSON object: how often there was a token,
the errors, and how many tokens it saw.
"""

import json
import sys
import threading
import time

import time_machine

from tokenkit import RefreshPolicy, TokenManager
from tokenkit.errors import TokenKitError
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.storage import RedisTokenStorage


def main() -> None:
    order = json.load(sys.stdin)
    with time_machine.travel(time.time() + order["clock"], tick=True):
        end = time.monotonic() + order["seconds"]
        storage = RedisTokenStorage(order["redis"])
        policy = RefreshPolicy(storage_poll=1, jitter=0)
        got, errors, tokens = 0, [], set()
        with TokenManager(RefreshTokenFetcher(**order["source"]), storage, policy=policy) as manager:
            while time.monotonic() < end:
                try:
                    tokens.add(manager.get_token(timeout=8).access_token)
                    got += 1
                except TokenKitError as error:
                    errors.append(f"{type(error).__name__}: {error}")
                threading.Event().wait(0.05)  # a client at work
        storage.close()
    print(json.dumps({"got": got, "errors": errors, "tokens": len(tokens)}))


if __name__ == "__main__":
    main()
