"""What it costs to put a token into a request while the token is fresh: alone, and with many threads."""

import statistics
import threading
import time
from typing import Any

from benchmarks.counts import World, costs
from benchmarks.crowd import prepared
from benchmarks.peers import Client, Peer
from benchmarks.realm import Realm

PLAN: dict[str, dict[str, Any]] = {f"{n} threads": {"threads": n} for n in (1, 8, 32)}
ROUNDS = 7
SECONDS = 0.12  # of one round
BATCH = 25


def measure(peer: Peer, realm: Realm, threads: int) -> dict[str, Any]:
    client = peer.make(realm)
    try:
        for request in (prepared(), prepared()):
            client.authorise(request)
        counts = _counted() if peer.name == "tokenkit" else {}
        return {**(_alone(client) if threads == 1 else _together(client, threads)), **counts}
    finally:
        client.close()


def _counted() -> dict[str, float]:
    """Return what one call asks for."""
    world = World()
    asked = costs(world.auth, world)
    return {"locks": asked.locks, "clock_reads": asked.clock_reads, "storage_calls": asked.storage_calls}


def _batch(client: Client, batch: list[Any]) -> float:
    began = time.perf_counter()
    for request in batch:
        client.authorise(request)
    spent = time.perf_counter() - began
    for request in batch:
        request.hooks["response"].clear()  # as a new request has it
    return spent


def _alone(client: Client) -> dict[str, float]:
    batch, spent = [prepared() for _ in range(BATCH)], list[float]()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(spent) < 3:
        spent.append(_batch(client, batch))
    return {"ns": statistics.median(spent) / BATCH * 1e9}


def _together(client: Client, threads: int) -> dict[str, float]:
    done, moments, ends = list[int](), list[float](), list[float]()
    gate = threading.Barrier(threads, action=lambda: moments.append(time.perf_counter()))

    def work() -> None:
        batch, calls = [prepared() for _ in range(BATCH)], 0
        gate.wait()
        while time.perf_counter() < moments[0] + SECONDS:
            _batch(client, batch)
            calls += BATCH
        done.append(calls)
        ends.append(time.perf_counter())

    crew = [threading.Thread(target=work) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return {"rate": sum(done) / (max(ends) - moments[0])}
