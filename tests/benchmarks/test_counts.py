"""A gate that needs no stopwatch: what one request and one renewal may ask for, on every interpreter."""

import time
from collections.abc import Callable, Iterator
from threading import Condition, Lock

import pytest
from requests import PreparedRequest

from benchmarks.counts import Call, Constant, Costs, World, costs, excess
from tokenkit._guard import Guard

# Measured on CPython 3.10 to 3.15: instructions 5.4 to 6.3 and 415 to 456 times those of a constant header, bytes 1.3
# to 1.6 and 38 to 51 times, blocks 0.1 and 7 to 11. What is counted whole has no headroom: one more is to be noticed.
LIMITS = {
    "request": Costs(locks=0, storage_calls=0, clock_reads=1, instructions=6.7, bytes=2, blocks=1),
    "renewal": Costs(locks=15, storage_calls=3, clock_reads=22, instructions=475, bytes=60, blocks=20),
}
KEPT: list[object] = []
PLANTED: dict[str, tuple[str, Callable[[World], object]]] = {
    "with a lock": ("locks", lambda _: with_lock(Lock())),
    "with a guard": ("locks", lambda _: with_lock(Guard())),
    "with a condition": ("locks", lambda _: with_lock(Condition())),
    "acquire": ("locks", lambda _: Lock().acquire()),
    "storage": ("storage_calls", lambda world: world.storage.get("a-key")),
    "its clock": ("clock_reads", lambda world: world.clock.monotonic()),
    "another clock": ("clock_reads", lambda _: time.monotonic()),
    "instructions": ("instructions", lambda _: [-number for number in range(400)]),
    "bytes": ("bytes", lambda _: bytearray(200_000)),
    "blocks": ("blocks", lambda _: KEPT.extend(object() for _ in range(25))),
}


def with_lock(lock: "Lock | Guard | Condition") -> None:  # type: ignore[valid-type]  # a function before 3.13
    with lock:
        pass


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.manager.close()
    KEPT.clear()


def beyond(world: World, what: str, plant: Callable[[World], object] | None = None) -> list[str]:
    """Return what *what* asks for beyond its limits, with something planted in it."""
    call: Call = {"request": world.auth, "renewal": world.renew}[what]

    def planted(request: PreparedRequest) -> None:
        call(request)
        if plant is not None:
            plant(world)

    counted = costs(planted if plant else call, world)
    return excess(counted.in_units_of(costs(Constant(), world)), LIMITS[what])


@pytest.mark.parametrize("what", LIMITS)
def test_nothing_costs_more_than_it_did(world: World, what: str) -> None:
    """What a request with a fresh token, and a renewal, ask for is within limits that a busy machine does not move."""
    assert "" == "; ".join(beyond(world, what))


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("what", LIMITS)
def test_one_more_of_anything_is_caught(world: World, what: str, name: str) -> None:
    """The gate fails, and names what there is too much of."""
    kind, plant = PLANTED[name]
    assert kind in [line.partition(":")[0] for line in beyond(world, what, plant)]
