"""Thirty-two threads whose token has been revoked, each with a request."""

from typing import Any

from benchmarks.crowd import gather
from benchmarks.peers import Peer
from benchmarks.realm import Realm

THREADS = 32
LATENCY = 0.2  # seconds that a renewal takes
PATIENCE = 15.0
PLAN: dict[str, dict[str, Any]] = {"revoked": {}}
ROUNDS = 4


def measure(peer: Peer, realm: Realm) -> dict[str, Any]:
    client, url = peer.make(realm), realm.api()
    try:
        gather(THREADS, lambda: client.get(url) == 200, PATIENCE)  # each has a connection
        realm.set(latency=LATENCY, revoke=True, forget=True)
        crowd = gather(THREADS, lambda: client.get(url) == 200, PATIENCE)
        failures = THREADS - len(crowd.good)
        return {"renewals": realm.set()["token"], "failures": failures, "longest_ms": crowd.wall * 1e3}
    finally:
        client.close()
