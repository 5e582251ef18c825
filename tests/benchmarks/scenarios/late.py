"""A resource that learns of a new token half a second after the token endpoint has given it."""

from typing import Any

from benchmarks.at_work import at_work
from benchmarks.peers import Peer
from benchmarks.realm import Realm

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
        sent, failures = at_work(client, url, FRESH + 2, pause=0.02)
        counts = realm.set()
        return {"failures": failures, "sent": sent, "fetches": counts["token"]}
    finally:
        client.close()
