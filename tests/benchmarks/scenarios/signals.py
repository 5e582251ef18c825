"""A signal every 50 ms whose handler raises, as a soft time limit's does, while a grant rotates.

No request is sent: the pool of urllib3 may stay locked where a signal splits it, whoever authorises.
"""

import signal
import time
from collections.abc import Callable
from typing import Any

from benchmarks.crowd import prepared
from benchmarks.peers import Peer
from benchmarks.realm import Realm

FRESH = 1.0  # seconds that a token is fresh
LATENCY = 0.02
EVERY = 0.05
PLAN: dict[str, dict[str, Any]] = {"every 50 ms": {"signals": 500}}
ROUNDS = 1
TOGETHER = True
COPIES = {"tokenkit": 4}
PATIENCE = 5.0


class SoftLimit(Exception):
    """What the handler raises."""


def measure(peer: Peer, realm: Realm, signals: int) -> dict[str, Any]:
    if peer.refreshing is None:
        return {"unsupported": 1}
    realm.set(lifetime=peer.lifetime(FRESH), latency=LATENCY)
    client, heard = peer.refreshing(realm, realm.grant()), [0]

    def strike(*_: object) -> None:
        heard[0] += 1
        if heard[0] < signals:
            raise SoftLimit
        signal.setitimer(signal.ITIMER_REAL, 0)

    signal.signal(signal.SIGALRM, strike)
    errors = _ask_until(lambda: heard[0] >= signals, lambda: client.authorise(prepared()))
    counts = realm.set()
    lost = counts["ended"] or counts["refused"] > 0
    return {"signals": heard[0], "errors": errors, "lost": int(lost), "rotations": counts["rotations"]}


def _ask_until(is_over: Callable[[], bool], ask: Callable[[], object]) -> int:
    """Ask again and again while signals come; return how many requests failed of their own."""
    errors = 0
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
    while True:
        try:
            while not is_over():
                errors += _failed(ask)
                time.sleep(0.001)
        except SoftLimit:
            continue
        return errors


def _failed(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except SoftLimit:
        raise
    except Exception:
        return True
    return False
