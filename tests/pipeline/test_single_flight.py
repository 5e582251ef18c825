"""One fetch for all who wait in one process, without any storage."""

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import as_completed
from itertools import islice
from typing import Any

import pytest
from support.interrupts import needs_timer, storm
from support.scripted import PATIENCE, Gate, ask, outcomes

from tokenkit import Token
from tokenkit.clock import SystemClock
from tokenkit.pipeline._single_flight import SingleFlight
from tokenkit.testing import FakeClock
from tokenkit.testing._contract.concurrency import in_child

CROWD = 8


class Source:
    """Gives token-1, token-2, ... after a gate, where one is set."""

    def __init__(self) -> None:
        self.gate: Gate | None = None
        self._guard = threading.Lock()
        self.fetches = 0

    def __call__(self) -> Token:
        with self._guard:
            self.fetches += 1
            number, gate, self.gate = self.fetches, self.gate, None
        outcome = gate.pass_through() if gate else None
        if isinstance(outcome, BaseException):
            raise outcome
        return Token(f"token-{number}")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def flights(clock: FakeClock) -> SingleFlight:
    return SingleFlight(clock)


@pytest.fixture
def source() -> Source:
    source = Source()
    source.gate = Gate()
    return source


def start(flights: SingleFlight, source: Source, clock: FakeClock, *, good: bool = True, patience: float = 9) -> Any:
    """Have CROWD threads join one flight; return when one of them fetches and the others wait."""
    gate = source.gate
    assert gate is not None
    futures = ask(lambda: flights.join("key", source, lambda _: good, patience=patience).access_token, CROWD)
    assert gate.reached()
    clock.wait_until_parked(CROWD - 1)
    return futures, gate


def test_those_who_wait_get_what_landed(flights: SingleFlight, source: Source, clock: FakeClock) -> None:
    """Eight threads cost one fetch."""
    futures, gate = start(flights, source, clock)
    gate.release()
    assert (["token-1"] * CROWD, 1) == (outcomes(futures), source.fetches)


def test_whoever_comes_later_fetches(flights: SingleFlight) -> None:
    """What landed before a thread came is not its to have, even while others still use the flight."""
    source = Source()

    def fetch_twice_within() -> Token:
        twice = [flights.join("key", source, lambda _: True, patience=0).access_token for _ in range(2)]
        return Token(",".join(twice))

    assert "token-1,token-2" == flights.join("key", fetch_twice_within, lambda _: True, patience=0).access_token


def test_what_is_no_good_is_fetched_in_turn(flights: SingleFlight, source: Source, clock: FakeClock) -> None:
    """A thread that may not use what landed fetches itself, while the others wait for that."""
    futures, gate = start(flights, source, clock, good=False)
    gate.release()
    assert CROWD == len(set(outcomes(futures)))
    assert CROWD == source.fetches


def test_a_failure_leaves_the_next_its_turn(flights: SingleFlight, source: Source, clock: FakeClock) -> None:
    """It is raised in the thread that fetched; of the others one fetches for all."""
    futures, gate = start(flights, source, clock)
    gate.release(ZeroDivisionError("no"))
    results = outcomes(futures)
    assert [1, CROWD - 1] == sorted(
        len([one for one in results if (one == "token-2") is same]) for same in (True, False)
    )
    assert 2 == source.fetches


def test_patience_ends(flights: SingleFlight, source: Source, clock: FakeClock) -> None:
    """Whoever waited long enough fetches beside the one that hangs."""
    futures, gate = start(flights, source, clock)
    clock.advance(10)
    beside = [one.result() for one in islice(as_completed(futures, PATIENCE), CROWD - 1)]
    assert "token-1" not in beside
    gate.release()
    assert len(set(outcomes(futures))) == source.fetches


def test_two_keys_do_not_wait_for_each_other(flights: SingleFlight, source: Source, clock: FakeClock) -> None:
    """Each has a flight of its own."""
    futures, gate = start(flights, source, clock)
    assert "token-2" == flights.join("other", source, lambda _: True, patience=0).access_token
    gate.release()
    outcomes(futures)


def test_nothing_is_kept(flights: SingleFlight, source: Source, clock: FakeClock) -> None:
    """When the last thread has left there is no flight, and no token."""
    futures, gate = start(flights, source, clock)
    gate.release()
    outcomes(futures)
    assert 0 == len(flights._tables.get().flights)


def test_a_child_starts_without_flights(flights: SingleFlight, source: Source, clock: FakeClock) -> None:
    """One that was under way when the process forked is not waited for in the child."""
    futures, gate = start(flights, source, clock)

    def join() -> bool:
        flights._clock = SystemClock()  # a thread that is not here may have the lock of the other one
        return "token-2" == flights.join("key", source, lambda _: True, patience=99).access_token

    assert in_child(join)
    gate.release()
    outcomes(futures)


def test_a_fetch_that_forks_ends_in_both(flights: SingleFlight) -> None:
    """The child leaves alone what its parent entered."""

    def fork() -> Token:
        return Token("child" if in_child(lambda: True) else "none")

    assert "child" == flights.join("key", fork, lambda _: True, patience=0).access_token


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_flights_of_its_own(twin: Callable[[Any], Any]) -> None:
    """A lock is neither copied nor pickled."""
    flights = SingleFlight(SystemClock())
    flights.join("key", lambda: Token("t"), lambda _: True, patience=0)
    assert "u" == twin(flights).join("key", lambda: Token("u"), lambda _: True, patience=0).access_token


@needs_timer
def test_an_interrupt_leaves_no_flight_behind() -> None:
    """Wherever it falls, another thread leads the next fetch at once, and nothing is kept."""
    flights = SingleFlight(SystemClock())

    def fetch() -> str:
        return flights.join("key", lambda: Token("t"), lambda _: True, patience=60).access_token

    def look() -> None:
        assert ["t"] == outcomes(ask(fetch, 1))

    storm(fetch, 300, after=look)
    assert 0 == len(flights._tables.get().flights)


def test_a_fetch_that_calls_back_does_not_wait_for_itself(flights: SingleFlight) -> None:
    """The thread that leads a flight and asks again fetches beside it; on this clock it would wait for ever."""

    def call_back() -> Token:
        return flights.join("key", lambda: Token("inner"), lambda _: True, patience=9)

    assert "inner" == flights.join("key", call_back, lambda _: True, patience=9).access_token
