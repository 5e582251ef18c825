"""A GET over loopback, beside the same GET with a constant header: in turns, in one process."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers import Peer, bare
from benchmarks.realm import Realm

PLAN: dict[str, dict[str, Any]] = {"loopback": {"requests": 60}}
ROUNDS = 20


def measure(peer: Peer, realm: Realm, requests: int) -> dict[str, Any]:
    ours, constant, url = peer.make(realm), bare(), realm.api()
    try:
        for client in (ours, constant):
            client.get(url)
        spent, least = list[float](), list[float]()
        for _ in range(requests):
            least.append(_timed(lambda: constant.get(url)))
            spent.append(_timed(lambda: ours.get(url)))
        bottom, top = statistics.median(least), statistics.median(spent)
        return {"us": top * 1e6, "bare_us": bottom * 1e6, "over_percent": (top / bottom - 1) * 100}
    finally:
        ours.close()


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
