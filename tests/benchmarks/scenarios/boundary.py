"""A renewal under load, as eight threads see it that send by a schedule: who is late counts from when he was due."""

import threading
import time
from typing import Any

from benchmarks.at_work import answered
from benchmarks.crowd import quantile
from benchmarks.peers import Client, Peer
from benchmarks.realm import Realm

THREADS = 8
RATE = 50  # requests a second of each thread
FRESH = 2.0  # seconds that a token is fresh
LATENCY = 0.2  # seconds that a renewal takes
SECONDS = 3.2
PLAN: dict[str, dict[str, Any]] = {"renewal": {}}
ROUNDS = 2


def measure(peer: Peer, realm: Realm) -> dict[str, Any]:
    realm.set(lifetime=peer.lifetime(FRESH), latency=LATENCY)
    client = peer.make(realm)
    try:
        client.get(realm.api())
        late, failed = _driven(client, realm.api())
        counts = realm.set()
        return {
            "p50_ms": quantile(late, 0.5) * 1e3,
            "p99_ms": quantile(late, 0.99) * 1e3,
            "p999_ms": quantile(late, 0.999) * 1e3,
            "failed": failed,
            "expired_sent": counts["expired"],
            "fetches": counts["token"],
        }
    finally:
        client.close()


def _driven(client: Client, url: str) -> tuple[list[float], int]:
    """Send by the schedule; return the seconds of each request from when it was due, and how many failed."""
    late, failed = list[float](), list[int]()
    began = time.perf_counter() + 0.05

    def work(number: int) -> None:
        for turn in range(int(SECONDS * RATE)):
            due = began + (turn + number / THREADS) / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            if not answered(client, url):
                failed.append(turn)
            late.append(time.perf_counter() - due)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return late, len(failed)
