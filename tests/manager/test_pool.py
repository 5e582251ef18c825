"""A pool: a manager for each key, made once, closed when it is used no more."""

import copy
import itertools
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.forked import Child
from support.interrupts import needs_timer, storm
from support.scripted import PATIENCE, STEADY, ScriptedSource, ask, outcomes

from tokenkit import CallableTokenFetcher, ConfigurationError, RenewalStoppedError, Token, TokenManager
from tokenkit.manager import ManagerPool
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock


class Tenants:
    """Makes the managers of a pool, and remembers the sources that it gave them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sources: dict[str, list[ScriptedSource]] = {}
        self.storage: InMemoryTokenStorage | None = None
        self.before: Callable[[str], object] = lambda _: None
        self.pools: list[ManagerPool] = []

    def make(self, key: str) -> TokenManager:
        self.before(key)
        source = ScriptedSource(self.clock)
        self.sources.setdefault(key, []).append(source)
        return TokenManager(source, self.storage, policy=STEADY, clock=self.clock)

    def pool(self, **options: object) -> ManagerPool:
        self.pools.append(ManagerPool(self.make, clock=self.clock, **options))
        return self.pools[-1]

    def closed(self, key: str) -> int:
        return self.sources[key][0].closed


class CountingStorage(InMemoryTokenStorage):  # type: ignore[misc]  # final
    """One that counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def tenants() -> Iterator[Tenants]:
    made = Tenants()
    yield made
    for source in (one for sources in made.sources.values() for one in sources):
        source.let_go()
    for pool in made.pools:
        pool.close(PATIENCE)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="forks in the ways of Linux")


def make_led(key: str) -> TokenManager:
    return TokenManager(CallableTokenFetcher(lambda: Token(f"for-{key}"), name=key), background=False)


def make_nothing(key: str) -> TokenManager:
    raise LookupError(key)


def test_each_key_has_a_manager_of_its_own(tenants: Tenants) -> None:
    """It is the same at each use, and another for another key."""
    pool = tenants.pool()
    assert pool["a"] is pool["a"]
    assert pool["a"] is not pool["b"]
    assert 2 == len(pool)
    assert ["a", "b"] == sorted(pool)


def test_what_is_in_it_is_what_was_made(tenants: Tenants) -> None:
    """Asking whether it is there, or peeking, makes nothing."""
    pool = tenants.pool()
    assert "a" not in pool
    assert pool.peek("a") is None
    assert pool["a"] is pool.peek("a")
    assert "a" in pool


def test_an_empty_pool_is_a_pool_too(tenants: Tenants) -> None:
    """``if pool:`` asks whether there is one; what is shown of it is how many managers it has."""
    pool = tenants.pool()
    assert (True, "<ManagerPool of 0>") == (bool(pool), repr(pool))


def test_threads_that_came_once_are_not_remembered(tenants: Tenants) -> None:
    """A server with a thread for each request does not keep them all."""
    pool = tenants.pool(max_size=1)
    came = []
    for _ in range(70):
        thread = threading.Thread(target=pool.__getitem__, args=("a",))
        thread.start()
        thread.join()
        came.append(weakref.ref(thread))
        tenants.clock.advance(1.0)
    assert came[0]() is None


def test_a_manager_is_made_once_for_all_threads(tenants: Tenants) -> None:
    """Who comes while it is made waits for it, and no other key is held up."""
    pool, gate, entered = tenants.pool(), threading.Event(), threading.Event()
    tenants.before = lambda key: key == "slow" and (entered.set(), gate.wait(PATIENCE))
    waiting = ask(lambda: pool["slow"], 8)
    assert entered.wait(PATIENCE)
    assert "slow" not in pool
    assert pool["other"] is pool["other"]
    gate.set()
    assert {pool["slow"]} == set(outcomes(waiting))
    assert 1 == len(tenants.sources["slow"])


def test_what_make_raises_is_not_remembered(tenants: Tenants) -> None:
    """It goes to the caller, and the next one tries again."""
    pool, failures = tenants.pool(), iter([LookupError("no such tenant")])

    def fail(_: str) -> None:
        for failure in failures:
            raise failure

    tenants.before = fail
    with pytest.raises(LookupError):
        pool["a"]
    assert 0 == len(pool)
    assert "token-1" == pool["a"].access_token()


def test_a_failed_making_is_tried_by_the_next_who_waits(tenants: Tenants) -> None:
    """Its failure is that of its maker alone, be it Ctrl-C."""
    pool, entered, gate = tenants.pool(), threading.Event(), threading.Event()
    failures = iter([KeyboardInterrupt()])

    def fail(_: str) -> None:
        for failure in failures:
            entered.set()
            gate.wait(PATIENCE)
            raise failure

    tenants.before = fail
    first = ask(lambda: pool["a"])
    assert entered.wait(PATIENCE)
    second = ask(lambda: pool["a"])
    gate.set()
    assert KeyboardInterrupt is type(outcomes(first)[0])
    assert pool["a"] is outcomes(second)[0]


def test_make_that_asks_for_its_own_key_is_refused(tenants: Tenants) -> None:
    """It would wait for itself."""
    pool = tenants.pool()
    tenants.before = lambda key: pool[key]
    with pytest.raises(RuntimeError, match="make asked the pool"):
        pool["a"]


def test_the_least_recently_used_is_closed_beyond_the_size(tenants: Tenants) -> None:
    """A use makes it the most recent one."""
    pool = tenants.pool(max_size=2)
    for key in ("a", "b", "a", "c"):
        pool[key].get_token()
    assert ["a", "c"] == sorted(pool)
    assert 1 == tenants.closed("b")


def test_one_that_is_waited_for_is_not_closed(tenants: Tenants) -> None:
    """It is, within seconds of when its request is over."""
    pool = tenants.pool(max_size=1, idle_after=1000)  # which keeps the thread there
    manager = pool["a"]
    gate = tenants.sources["a"][0].hang()
    (waiting,) = ask(manager.get_token)
    assert gate.reached()
    pool["b"]
    assert 0 == tenants.closed("a")
    gate.release()
    assert "token-1" == waiting.result(PATIENCE).access_token
    for _ in range(3):  # the first look may have come before the attempt had landed
        tenants.clock.wait_until_parked()
        tenants.clock.advance(1)
    tenants.clock.wait_until_parked()
    assert ["b"] == list(pool)
    assert 1 == tenants.closed("a")


def test_one_that_another_thread_was_just_given_is_not_closed(tenants: Tenants) -> None:
    """It may be about to ask it."""
    pool, given, go_on = tenants.pool(max_size=1), threading.Event(), threading.Event()

    def use() -> object:
        manager = pool["a"]
        given.set()
        go_on.wait(PATIENCE)
        return manager.get_token()

    (user,) = ask(use)
    assert given.wait(PATIENCE)
    pool["b"]
    go_on.set()
    assert "token-1" == user.result(PATIENCE).access_token


def test_many_threads_on_a_small_pool_lose_nothing(tenants: Tenants) -> None:
    """Each use has its token, whoever is closed meanwhile, and the pool is small in the end."""
    pool = tenants.pool(max_size=2)

    def use(number: int) -> str:
        return pool[number % 5].get_token(PATIENCE).access_token

    with ThreadPoolExecutor(8) as threads:
        assert {"token-1"} == set(threads.map(use, range(200)))
    tenants.clock.advance(1)  # what a thread was given within a second counts as in use
    pool["last"]
    assert 2 == len(pool)


@needs_timer
def test_an_interrupt_anywhere_leaves_the_pool_whole() -> None:
    """No lock stays locked, nobody waits for a maker that is gone, and the pool is as small as it was."""
    number = itertools.count()
    with ManagerPool(make_led, max_size=3) as pool:

        def use() -> None:
            pool[f"tenant-{next(number) % 7}"].get_token()

        def look() -> None:
            began = time.monotonic()
            (user,) = ask(lambda: pool["another"].get_token(PATIENCE))
            assert "for-another" == outcomes([user])[0].access_token
            assert time.monotonic() - began < 0.9  # else it has waited for a notification that never came

        storm(use, 400, after=lambda: next(number) % 10 or look())
        look()
        assert all(place.manager is not None for place in pool._keeper.places.values())
        pool["last"]
        assert 3 == len(pool)


def test_an_idle_one_is_closed_though_nobody_uses_the_pool(tenants: Tenants) -> None:
    """The refresh thread sees to it."""
    pool = tenants.pool(idle_after=100)
    pool["a"].get_token()
    tenants.clock.wait_until_parked()
    tenants.clock.advance(60)
    pool["b"].get_token()
    tenants.clock.wait_until_parked()
    tenants.clock.advance(40)
    tenants.clock.wait_until_parked()
    assert ["b"] == list(pool)
    assert 1 == tenants.closed("a")


def test_a_shared_storage_is_closed_with_the_last(tenants: Tenants) -> None:
    """One tenant who leaves does not close the storage of the others."""
    storage = tenants.storage = CountingStorage()
    pool = tenants.pool(max_size=1)
    pool["a"]
    pool["b"]
    assert 1 == tenants.closed("a")
    assert 0 == storage.closed
    pool.discard("b")
    assert 1 == storage.closed


def test_a_discarded_one_is_closed_and_made_anew(tenants: Tenants) -> None:
    """A key that is not there is no error."""
    pool = tenants.pool()
    first = pool["a"]
    pool.discard("a")
    pool.discard("a")
    assert 1 == tenants.closed("a")
    assert first is not pool["a"]


def test_a_closed_pool_makes_no_more(tenants: Tenants) -> None:
    """All are closed, waiters are told, and closing twice is harmless."""
    with tenants.pool() as pool:
        pool["a"], pool["b"]
    pool.close()
    assert (1, 1) == (tenants.closed("a"), tenants.closed("b"))
    assert 0 == len(pool)
    with pytest.raises(RenewalStoppedError, match="pool"):
        pool["a"]


def test_a_manager_made_while_the_pool_is_closed_is_closed(tenants: Tenants) -> None:
    """Its maker hears that the pool is closed."""
    pool = tenants.pool()
    tenants.before = lambda _: pool.close()
    with pytest.raises(RenewalStoppedError):
        pool["a"]
    assert 1 == tenants.closed("a")


def test_a_dropped_pool_is_collected_with_its_managers(tenants: Tenants) -> None:
    """The refresh thread holds neither."""
    pool = ManagerPool(tenants.make, idle_after=100, clock=tenants.clock)
    pool["a"].get_token()
    tenants.clock.wait_until_parked()
    collected = threading.Event()
    weakref.finalize(pool, collected.set)
    del pool
    assert collected.is_set() or sys.implementation.name != "cpython"


@LINUX
@pytest.mark.parametrize("hooks", [True, False])
def test_a_forked_child_goes_on(hooks: bool) -> None:
    """It keeps the managers, though its parent had the lock."""
    with ManagerPool(make_led, max_size=9) as pool:
        pool["a"].get_token()
        with pool._keeper.lock:  # as another thread of the parent may have it
            child = Child(lambda: [pool["a"].access_token(), pool["b"].access_token(), len(pool)], hooks=hooks)
        assert ["for-a", "for-b", 2] == child.result()


@LINUX
def test_a_forked_child_makes_what_its_parent_was_making() -> None:
    """The thread that made it is not there."""
    entered, gate = threading.Event(), threading.Event()

    def make(key: str) -> TokenManager:
        if threading.current_thread().name == "caller":
            entered.set()
            gate.wait(PATIENCE)
        return make_led(key)

    with ManagerPool(make) as pool:
        ask(lambda: pool["a"])
        assert entered.wait(PATIENCE)
        child = Child(lambda: pool["a"].access_token())
        gate.set()
        assert "for-a" == child.result()


def test_copies_and_pickles_have_the_arguments_alone() -> None:
    """And no manager."""
    pool = ManagerPool(make_nothing, max_size=3, idle_after=5)
    again = pickle.loads(pickle.dumps(pool)), copy.copy(pool), copy.deepcopy(pool)
    assert {"max_size": 3, "idle_after": 5}.items() <= again[0]._options.items()
    assert [0, 0, 0] == [len(one) for one in again]


@pytest.mark.parametrize(
    "arguments",
    [{"make": None}, {"max_size": 0}, {"max_size": 1.5}, {"max_size": True}, {"idle_after": 0}, {"clock": 1}],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    """At once."""
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        ManagerPool(**{"make": make_nothing, **arguments})


def test_what_make_returns_is_a_manager() -> None:
    """Anything else is told to the caller."""
    with pytest.raises(ConfigurationError, match="TokenManager, not str"):
        ManagerPool(lambda key: key)["a"]
