"""A resource that learns of a new token half a second after the token endpoint has given it."""

import time
from typing import Any

from benchmarks.peers import Peer
from benchmarks.realm import Realm
from benchmarks.scenarios.boundary import answered

FRESH = 4.0  # seconds that a token is fresh
LATE = 0.5
PLAN: dict[str, dict[str, Any]] = {"0.5 s": {}}
ROUNDS = 2
TOGETHER = True


def measure(peer: Peer, realm: Realm) -> dict[str, Any]:
    realm.set(lifetime=peer.lifetime(FRESH))
    client, url = peer.make(realm), realm.api()
    try:
        client.get(url)
        realm.set(lifetime=3600, learns=LATE, forget=True)
        end, failures, sent = time.monotonic() + FRESH + 2, 0, 0
        while time.monotonic() < end:
            failures += not answered(client, url)
            sent += 1
            time.sleep(0.02)
        counts = realm.set()
        return {"failures": failures, "sent": sent, "fetches": counts["token"]}
    finally:
        client.close()
