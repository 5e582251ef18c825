"""Many threads, pipelines and storages in trouble: a step is fetched once, and a storage never costs a token."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.scripted import Gate, ask, outcomes
from support.steps import Chain, Reluctant, WatchedStorage, chain, failing_storage

from tokenkit import AuthenticationError, PipelineTokenProvider, StorageError, Token, TokenFetchPipeline, TransportError
from tokenkit.contracts import FetchContext, TokenFetcher, TokenStorage
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing._contract.concurrency import in_threads

CROWD = 32


@pytest.fixture(params=["memory", "file"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WatchedStorage]:
    """A storage for a crowd, which counts who waits for a lock."""
    inner: TokenStorage = InMemoryTokenStorage() if request.param == "memory" else FileTokenStorage(tmp_path / "tokens")
    yield WatchedStorage(inner)
    inner.close()


def crowd(storage: WatchedStorage, work: Callable[[], Token], gate: Gate) -> set[str]:
    """Have CROWD threads do *work*; open *gate* when all of them want a lock; return the tokens they got."""
    storage.lockers.clear()
    futures = ask(work, CROWD)
    assert gate.reached()
    storage.wait_for_lockers(CROWD)
    gate.release()
    return {token.access_token for token in outcomes(futures)}


def held_up(c: Chain, name: str) -> Gate:
    """Have the next fetch of step *name* hang at the gate returned."""
    gate = Gate()
    step = c.pipeline.get_step(name)
    step.script = [gate.pass_through]
    return gate


@pytest.mark.parametrize("slow", ["device", "app", "user"])
def test_a_crowd_costs_one_fetch_of_each_step(storage: WatchedStorage, slow: str) -> None:
    """32 threads with an empty cache, whichever step is slow, get one token from one fetch of each step."""
    c = chain(storage)
    assert {"user-1"} == crowd(storage, c.pipeline.execute, held_up(c, slow))
    assert (1, 1, 1) == c.fetches


def test_a_crowd_that_forces_costs_one_forced_fetch(storage: WatchedStorage) -> None:
    """All who asked before the forced fetch began share it."""
    c = chain(storage)
    c.execute()
    gate = held_up(c, "device")
    assert {"user-2"} == crowd(storage, lambda: c.pipeline.execute(force_refresh=True), gate)
    assert (2, 2, 2) == c.fetches


@pytest.mark.parametrize(("from_step", "fetches"), [(None, (1, 1, 2)), ("app", (1, 2, 2)), ("device", (2, 2, 2))])
def test_a_crowd_with_one_rejected_token_costs_one_renewal(
    storage: WatchedStorage, from_step: str | None, fetches: tuple[int, int, int]
) -> None:
    """32 threads whose token was rejected share the renewal of the first."""
    c = chain(storage)
    provider = PipelineTokenProvider(c.pipeline, "svc", from_step)
    rejected = provider.fetch_token()
    gate = held_up(c, from_step or "user")
    assert {"user-2"} == crowd(storage, lambda: provider.refresh_token(rejected), gate)
    assert fetches == c.fetches


def test_a_crowd_before_a_revoked_upstream_heals_it_once(storage: WatchedStorage) -> None:
    """One thread meets the 401 and heals it; the others never see it."""
    c = chain(storage)
    c.execute()
    c.pipeline.invalidate_step("user")
    c.revoke("device-1")
    gate = held_up(c, "device")
    assert {"user-3"} == crowd(storage, c.pipeline.execute, gate)
    assert (2, 2, 3) == c.fetches


def test_pipelines_over_one_storage_share_their_steps(storage: WatchedStorage) -> None:
    """Two pipeline objects with the same steps, as in two processes, cost one fetch of each between them."""
    one, other = chain(storage), chain(storage)
    gate = held_up(one, "app")
    first = ask(one.pipeline.execute)
    assert gate.reached()
    wanted = storage.calls["lock"] + 1
    second = ask(other.pipeline.execute)
    storage.wait_for("lock", wanted)
    gate.release()
    assert ["user-1"] * 2 == [token.access_token for token in outcomes(first + second)]
    assert ((1, 1, 1), (0, 0, 0)) == (one.fetches, other.fetches)


def test_a_failure_is_each_threads_own(storage: WatchedStorage) -> None:
    """Threads whose step fails raise each an error object of their own, even where the step raises the same one."""
    same = TransportError("no route")
    c = chain(storage)
    c.device.script = [same] * 4
    failures = outcomes(ask(c.pipeline.execute, 4))
    assert 4 == len({id(failure) for failure in failures})
    assert ["device"] * 4 == [failure.step_name for failure in failures]
    assert {id(same)} == {id(failure.__cause__) for failure in failures}


# Locks


def test_a_lock_that_is_not_to_be_had_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    """Where another holds a step's lock for too long, the step is fetched all the same, with a warning."""
    storage = InMemoryTokenStorage()
    c = chain(storage, lock_timeout=0.01)
    with storage.lock("user", 0):
        assert ("user-1", (1, 1, 1)) == (c.execute(), c.fetches)
    assert "done without" in caplog.text
    assert "user-1" == c.execute()


def test_a_slow_chain_costs_one_fetch_of_each_step(tmp_path: Path) -> None:
    """Where a healthy process fetches a chain for longer than the others wait for one lock, they get its tokens."""
    steps = [Slow(number) for number in range(6)]

    def process(_: int) -> str:  # each has a pipeline of its own, as a process has
        return TokenFetchPipeline(steps, FileTokenStorage(tmp_path), lock_timeout=0.4).execute().access_token

    tmp_path.chmod(0o700)
    assert ["slow-5"] * 4 == in_threads(4, process)
    assert [1] * 6 == [step.fetches for step in steps]


class Slow(TokenFetcher):
    """A step that takes a tenth of a second, after the one before it."""

    def __init__(self, number: int) -> None:
        self.name = f"slow-{number}"
        self.depends_on = (f"slow-{number - 1}",) if number else ()
        self.fetches = 0

    def fetch(self, context: FetchContext | None = None) -> Token:
        self.fetches += 1
        threading.Event().wait(0.1)  # nobody sets it: a step that takes its time is what the test is about
        return Token(self.name)


def test_the_lock_is_waited_for_within_the_time() -> None:
    """A lock is waited for no longer than the call may take."""
    each = {name: [4, 10] for name in ("user", "app", "device")}
    storage, lock = WatchedStorage(), Reluctant(**each)
    storage.before["lock"] = lock
    c = chain(storage)
    c.execute(timeout=4)
    c.execute(force_refresh=True, timeout=60)
    assert each == lock.waited


def test_no_lock_is_held_when_a_call_ends() -> None:
    """Success and failure free every lock."""
    storage = WatchedStorage()
    c = chain(storage)
    c.user.script = [TransportError("no route"), KeyboardInterrupt()]
    for kind in (TransportError, KeyboardInterrupt):
        with pytest.raises(kind):
            c.execute()
    c.execute()
    for name in ("device", "app", "user"):
        with storage.inner.lock(name, 0):
            pass


# Trouble


@pytest.mark.parametrize(
    "error", [StorageError("the disk is full"), OSError("EIO"), RuntimeError("a bug"), MemoryError("no room")]
)
def test_a_storage_that_always_fails_costs_no_token(error: Exception) -> None:
    """With a storage that fails at every call, each execution fetches what it needs, and succeeds."""
    c = chain(failing_storage(error))
    assert ("user-1", (1, 1, 1)) == (c.execute(), c.fetches)
    assert ("user-2", (2, 2, 2)) == (c.execute(force_refresh=True), c.fetches)
    provider = PipelineTokenProvider(c.pipeline, "svc", "app")
    assert "user-3" == provider.refresh_token(Token("user-2")).access_token


@pytest.mark.parametrize("slow", ["device", "app", "user"])
@pytest.mark.parametrize("force_refresh", [False, True])
def test_a_crowd_without_a_storage_costs_one_fetch_of_each_step(slow: str, force_refresh: bool) -> None:
    """While the storage is down, threads that ask at once still share what is fetched; the next one fetches anew."""
    c = chain(failing_storage())
    gate = held_up(c, slow)
    futures = ask(lambda: c.execute(force_refresh=force_refresh), 8)
    assert gate.reached()
    c.clock.wait_until_parked(7)
    gate.release()
    assert ({"user-1"}, (1, 1, 1)) == (set(outcomes(futures)), c.fetches)
    assert ("user-2", (2, 2, 2)) == (c.execute(), c.fetches)


def test_a_crowd_before_a_lock_that_hangs_costs_one_fetch() -> None:
    """Those whose patience with the holder is over go on together, not each alone."""
    storage = InMemoryTokenStorage()
    c = chain(storage, lock_timeout=0.01)
    gate = held_up(c, "user")
    with storage.lock("user", 0):
        futures = ask(c.execute, 8)
        assert gate.reached()
        c.clock.wait_until_parked(7)
        gate.release()
        assert {"user-1"} == set(outcomes(futures))
    assert (1, 1, 1) == c.fetches


def test_waits_for_others_are_within_the_time_of_one_call() -> None:
    """What was waited for the lock is not waited again for the thread of this process that goes on without it."""
    storage = failing_storage(StorageLockTimeoutError("another holds it"))
    c = chain(storage, lock_timeout=6)
    gate = held_up(c, "device")
    first = ask(c.execute)
    assert gate.reached()

    def keep_waiting(key: str, timeout: float) -> None:
        c.clock.advance(timeout)
        raise StorageLockTimeoutError("another holds it")

    storage.before["lock"] = keep_waiting
    second = ask(lambda: c.execute(timeout=9))
    c.clock.wait_until_parked(1)
    c.clock.advance(3)
    (failure,) = outcomes(second)
    assert (AuthenticationError, "the time was over before step device") == (type(failure), str(failure))
    gate.release()
    assert ["user-1"] == outcomes(first)


def reluctant_chain(*user: float, others: list[float]) -> tuple[Chain, Reluctant]:
    """Return a chain of which each lock is to be had by who waits so long, each time."""
    storage, lock = WatchedStorage(), Reluctant(user=user, app=others, device=others)
    storage.before["lock"] = lock
    return chain(storage, lock_timeout=0.5), lock


def test_a_wait_is_longer_where_a_refresh_token_would_be_spent() -> None:
    """Nearly as long as the call may take, since two who spend it may cost the session; without a limit nearly 30 s."""
    c, lock = reluctant_chain(0.5, 16, 25, 25, others=[0.5, 0.5])
    c.user.has_refresh_token = True
    c.execute()
    c.clock.advance(4000)
    c.execute(timeout=20)
    c.pipeline.invalidate_step("user")
    c.execute()
    c.pipeline.renew(c.user.token(3))
    assert {"user": [0.5, 16, 25, 25], "app": [0.5, 0.5], "device": [0.5, 0.5]} == lock.waited


def test_a_wait_is_longer_where_the_fetch_itself_spends_a_refresh_token() -> None:
    """From the first start on, with nothing stored."""
    c, lock = reluctant_chain(16, others=[0.5])
    c.user.spends_refresh_token = True
    c.execute(timeout=20)
    assert {"user": [16], "app": [0.5], "device": [0.5]} == lock.waited


@pytest.mark.parametrize("call", ["get", "replace", "lock", "unlock"])
def test_any_call_of_a_storage_may_fail(call: str) -> None:
    """Whichever call fails, a token comes."""
    storage = WatchedStorage()
    storage.before[call] = failing_storage().before["get"]
    c = chain(storage)
    for _ in range(3):
        c.execute()
        c.clock.advance(4000)
    assert 3 == c.user.fetches


def test_a_storage_that_fails_for_a_while_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """What could not be cached is fetched again, and cached as soon as the storage works."""
    storage = failing_storage(RuntimeError("s3cr3t"))
    c = chain(storage)
    with caplog.at_level(logging.DEBUG):
        c.execute()
    storage.before.clear()
    assert ("user-2", "user-2", (2, 2, 2)) == (c.execute(), c.execute(), c.fetches)
    assert "s3cr3t" not in caplog.text


def test_a_newer_token_in_the_storage_wins() -> None:
    """Where another has stored a newer token although we fetched, theirs is what comes back and what stays."""
    storage = WatchedStorage()
    c = chain(storage)
    theirs: list[Token] = []

    def overtake(key: str, *_: object) -> None:
        if key == "user":
            c.clock.advance(1)
            theirs.append(c.user.token("theirs"))
            storage.inner.set(key, theirs[-1])

    storage.before["replace"] = overtake
    assert "user-theirs" == c.execute()
    assert theirs[-1] == storage.inner.get("user")
