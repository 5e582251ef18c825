"""Renewing one grant for ever, in processes that are forked and killed as the line on standard input says.

Run by support.rotation_kills, with a JSON object as the first line. After it ``start`` forks a process and writes its
number, and ``kill NUMBER`` kills it and writes the number when it is dead. The end of the input kills all. Nothing of
tokenkit is used before the fork, so that each process is as good as one of its own.
"""

import json
import logging
import os
import random
import signal
import sys
import time
from typing import Any

from tokenkit import RefreshPolicy, TokenManager
from tokenkit.errors import TokenKitError
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.secrets import file
from tokenkit.storage import FileTokenStorage


def renew_for_ever(order: dict[str, Any]) -> None:
    parent, drawn = os.getppid(), random.Random(os.getpid())
    headers = {"X-Process": str(os.getpid())}
    source = RefreshTokenFetcher(refresh_token=file(order["given"]), request_headers=headers, **order["client"])
    policy = RefreshPolicy(initial_retry_timeout=0.05, max_retry_timeout=0.1, refresh_request_timeout=20)
    manager = TokenManager(source, FileTokenStorage(order["directory"]), policy=policy)
    while os.getppid() == parent:
        try:
            manager.force_refresh()
        except TokenKitError:  # the grant is gone until somebody has signed in again
            time.sleep(0.05)
        time.sleep(drawn.uniform(0, 0.02))


def main() -> None:
    logging.getLogger("tokenkit").setLevel(logging.CRITICAL)  # that grants end is what this is about
    order = json.loads(sys.stdin.readline())
    children: set[int] = set()
    try:
        for line in iter(sys.stdin.readline, ""):
            word, _, number = line.strip().partition(" ")
            if word == "start":
                child = os.fork()
                if child == 0:
                    try:
                        renew_for_ever(order)
                    finally:
                        os._exit(1)
                children.add(child)
            else:
                child = int(number)
                kill({child})
                children.discard(child)
            sys.stdout.write(f"{child}\n")
            sys.stdout.flush()
    finally:
        kill(children)


def kill(children: set[int]) -> None:
    for child in children:  # all at once: who lives on after another's death would spend what that one has spent
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
