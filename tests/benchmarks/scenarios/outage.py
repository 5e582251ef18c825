"""The token endpoint fails for five seconds, from the moment on at which a renewal has asked it."""

from typing import Any

from benchmarks.at_work import at_work
from benchmarks.peers import Peer
from benchmarks.realm import Realm

FRESH = 6.0  # seconds that a token is fresh where its holder renews it at a fixed time before expiry
LIFETIME = 40  # seconds, where that time grows with the lifetime: the rest outlasts the outage
OUTAGE = 5.0
PLAN: dict[str, dict[str, Any]] = {"5 s": {}}
ROUNDS = 1
TOGETHER = True
PATIENCE = 60.0


def measure(peer: Peer, realm: Realm) -> dict[str, Any]:
    lifetime = peer.lifetime(FRESH) if peer.margin is not None else LIFETIME
    realm.set(lifetime=lifetime)
    client, url = peer.make(realm), realm.api()
    try:
        client.get(url)
        realm.set(lifetime=3600, outage=OUTAGE, forget=True)
        fresh = lifetime * peer.share - (peer.margin or 0)
        sent, errors = at_work(client, url, fresh + OUTAGE + 2, pause=0.05)
        counts = realm.set()
        figures = {"errors": errors, "sent": sent, "requests": counts["failed"], "expired_sent": counts["expired"]}
        attempts = client.attempts() - 2 if client.attempts else counts["failed"]  # without the first, and the last
        return {**figures, "attempts": attempts}
    finally:
        client.close()
