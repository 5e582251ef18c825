"""Fifty threads that want a token at one moment: none is there, it has expired, or the source is down."""

import time
from typing import Any

from benchmarks.crowd import gather, prepared
from benchmarks.peers import Client, Peer
from benchmarks.realm import Realm

THREADS = 50
LATENCY = 0.4  # seconds that the source takes
PLAN: dict[str, dict[str, Any]] = {what: {"what": what} for what in ("cold", "expired", "down")}
ROUNDS = 2
PATIENCE = 4.0  # seconds, after which who still waits is counted as such


def measure(peer: Peer, realm: Realm, what: str) -> dict[str, Any]:
    if peer.by_hand and what != "expired":
        return {"by_hand": 1}
    realm.set(lifetime=1 if what == "expired" else 3600)
    client = (peer.make_idle or peer.make)(realm)
    try:
        if what == "expired":
            _let_expire(client, realm)
        realm.set(latency=LATENCY, lifetime=3600, status=503 if what == "down" else 200, forget=True)

        def work() -> bool:
            return _authorised(client)

        crowd = gather(THREADS, work, PATIENCE)
        waiting = THREADS - crowd.answered
        figures = {"fetches": realm.set()["token"], "good": len(crowd.good), "bad": len(crowd.bad), "waiting": waiting}
        before = 1 if what == "expired" else 0
        attempts = client.attempts() - before if client.attempts else figures["fetches"]
        return {**figures, "attempts": attempts, "of_latency": (PATIENCE if waiting else crowd.wall) / LATENCY}
    finally:
        client.close()


def _let_expire(client: Client, realm: Realm) -> None:
    if client.get(realm.api()) != 200:
        raise RuntimeError("the first request failed")
    time.sleep(1.2)


def _authorised(client: Client) -> bool:
    request = prepared()
    client.authorise(request)
    return "Authorization" in request.headers
