"""Fifty threads that want a token at one moment: none is there, it has expired, or the source is down."""

import threading
import time
from typing import Any

from benchmarks.crowd import gather, prepared
from benchmarks.peers import CLIENT, OTHERS, TIMEOUT, Client, Peer, new_session
from benchmarks.realm import Realm

THREADS = 50
LATENCY = 0.4  # seconds that the source takes
PLAN: dict[str, dict[str, Any]] = {what: {"what": what} for what in ("cold", "expired", "down")}
ROUNDS, ROUNDS_OF = 4, dict.fromkeys(OTHERS, 2)
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
        requests = [prepared() for _ in range(THREADS)]  # before: that is not what they wait for

        def work() -> bool:
            request = requests.pop()
            client.authorise(request)
            return "Authorization" in request.headers

        crowd = gather(THREADS, work, PATIENCE)
        waiting = THREADS - crowd.answered
        figures = {"fetches": realm.set()["token"], "good": len(crowd.good), "bad": len(crowd.bad), "waiting": waiting}
        before = 1 if what == "expired" else 0
        attempts = client.attempts() - before if client.attempts else figures["fetches"]
        figures |= {"attempts": attempts, "of_latency": (PATIENCE if waiting else crowd.wall) / LATENCY}
        return figures | ({"bare_of_latency": _bare(realm)} if peer.name == "tokenkit" and what != "down" else {})
    finally:
        client.close()


def _let_expire(client: Client, realm: Realm) -> None:
    if client.get(realm.api()) != 200:
        raise RuntimeError("the first request failed")
    time.sleep(1.2)


def _bare(realm: Realm) -> float:
    """Return the least that it can be: one asks the source by a plain POST, and the others wait for that alone."""
    session, first, done = new_session(), threading.Lock(), threading.Event()

    def work() -> bool:
        if first.acquire(blocking=False):
            session.post(realm.token_url, {"grant_type": "client_credentials", **CLIENT}, timeout=TIMEOUT).json()
            done.set()
        return done.wait()

    return gather(THREADS, work, PATIENCE).wall / LATENCY
