"""Processes that have no token and begin at one moment, over what they share: a directory or Redis."""

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from support import daemons

from benchmarks.crowd import prepared
from benchmarks.peers import OTHERS, Peer
from benchmarks.realm import Realm

LATENCY = 0.5  # seconds that the source takes
PLAN: dict[str, dict[str, Any]] = {
    "8, file": {"number": 8, "over": "file"},
    "32, file": {"number": 32, "over": "file"},
    "8, Redis": {"number": 8, "over": "redis"},
    "32, Redis": {"number": 32, "over": "redis"},
}
ROUNDS, ROUNDS_OF = 2, dict.fromkeys(OTHERS, 1)  # whose fetches are as many as their processes each time
ONLY = {"32, file": ["tokenkit"], "8, Redis": ["tokenkit"], "32, Redis": ["tokenkit"]}
FRESH = True  # a process that has no threads, to be forked
PATIENCE = 40.0


def measure(peer: Peer, realm: Realm, number: int, over: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        realm.set(latency=LATENCY, forget=True)
        if over == "redis":
            with daemons.redis_server(Path(directory)) as redis:
                return _crowd(peer, realm, number, redis.redis_url)
        return _crowd(peer, realm, number, directory)


def _crowd(peer: Peer, realm: Realm, number: int, place: str) -> dict[str, Any]:
    fork = multiprocessing.get_context("fork")
    gate, answers = fork.Barrier(number), fork.SimpleQueue()

    def one() -> None:
        began = time.monotonic()
        try:
            client = None
            if not peer.by_hand:  # else the making fetches the token
                client = peer.shared(realm, place) if peer.shared else peer.make(realm)
            gate.wait()
            began = time.monotonic()
            (client or peer.make(realm)).authorise(prepared())
            answers.put((began, time.monotonic(), True))
        except Exception:
            answers.put((began, time.monotonic(), False))

    children = [fork.Process(target=one) for _ in range(number)]
    for child in children:
        child.start()
    told = [answers.get() for _ in children]
    for child in children:
        child.join()
    wall = max(end for _, end, _ in told) - min(began for began, _, _ in told)
    failures = sum(not is_good for _, _, is_good in told)
    figures = {"fetches": realm.set()["token"], "failures": failures, "of_latency": wall / LATENCY}
    return {**figures, "shares": int(peer.shared is not None)}
