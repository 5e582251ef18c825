"""A client at work: one request after the other, whatever becomes of it."""

import time

from benchmarks.peers import Client


def answered(client: Client, url: str) -> bool:
    """Say whether a request is answered with 200."""
    try:
        return client.get(url) == 200
    except Exception:
        return False


def at_work(client: Client, url: str, seconds: float, pause: float) -> tuple[int, int]:
    """Send requests for so many *seconds*, with a *pause* after each; return how many, and how many failed."""
    end, sent, failed = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        failed += not answered(client, url)
        sent += 1
        time.sleep(pause)
    return sent, failed
