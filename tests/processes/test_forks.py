"""A forked child has a manager that works, and its parent notices nothing; with fork hooks and without any."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.forked import Child, Work, holding_lock, renewal_threads

from tokenkit import (
    AuthenticationError,
    ClientCredentialsFetcher,
    FetchOptions,
    RefreshPolicy,
    Token,
    TokenManager,
    TokenStorage,
)
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.events import TokenEvent, TokenListener
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import LocalIdP

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks in the ways of Linux")
THREADS = 8
POLICY = RefreshPolicy(lock_timeout=0.3)
Fork = Callable[[Work], Child]


@pytest.fixture(params=[True, False], ids=["hooks", "no-hooks"])
def fork(request: pytest.FixtureRequest) -> Fork:
    """Fork a child: as ``os.fork`` does, and as uWSGI does, which runs no hook."""
    return lambda work: Child(work, hooks=request.param)


class Attempts(TokenListener):
    """Counts the renewals that ended here, and lets a test wait for one."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.one_ended = threading.Event()

    def token_refresh(self, event: TokenEvent) -> None:
        self.ended.append(event.result)
        self.one_ended.set()


def make_manager(
    idp: LocalIdP, storage: TokenStorage | None = None, listener: TokenListener | None = None
) -> TokenManager:
    fetcher = ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret="secret")
    return TokenManager(fetcher, storage, policy=POLICY, listeners=[listener] if listener else [])


@pytest.fixture
def manager(local_idp: LocalIdP) -> Iterator[TokenManager]:
    """A manager that holds a token; its thread naps until that is due."""
    made = make_manager(local_idp)
    made.get_token()
    yield made
    made.close()


def test_a_child_of_a_warm_parent_keeps_the_token(local_idp: LocalIdP, manager: TokenManager, fork: Fork) -> None:
    """It has the parent's token at once, which costs nothing: no fetch, no thread."""
    child = fork(lambda: [manager.get_token(0).fingerprint, renewal_threads()])
    assert [manager.get_token(0).fingerprint, 0] == child.result()
    assert 1 == local_idp.count("token")


def test_a_child_renews_for_itself(local_idp: LocalIdP, manager: TokenManager, fork: Fork) -> None:
    """It renews on a thread of its own and over a connection of its own; the parent keeps its token and its thread."""
    before = manager.get_token()
    child = fork(lambda: [manager.force_refresh(10).fingerprint, renewal_threads()])
    fingerprint, its_threads = child.result()
    assert fingerprint != before.fingerprint
    assert 1 == its_threads
    assert (2, 2) == (local_idp.count("token"), local_idp.connections)
    assert before == manager.get_token(0)
    assert renewal_threads() >= 1  # those of other tests may be about to end
    assert before != manager.force_refresh(10)


def test_a_fork_while_a_renewal_is_in_flight(local_idp: LocalIdP, fork: Fork) -> None:
    """The child does not wait for its parent's renewal, which goes on, and lands there, once."""
    heard = Attempts()
    local_idp.fail("token", kind="hang", times=1)
    with make_manager(local_idp, listener=heard) as manager, ThreadPoolExecutor() as pool:
        waiting = pool.submit(manager.get_token, 20)
        local_idp.wait_for_requests("token")
        its_own = fork(lambda: [manager.get_token(10).fingerprint, heard.ended]).result()
        assert not waiting.done()
        local_idp.heal()
        token = waiting.result(10)
        assert heard.one_ended.wait(5)
    assert token.fingerprint != its_own[0]
    assert (["success"], ["success"], 2) == (its_own[1], heard.ended, local_idp.count("token"))


def test_a_fork_while_a_due_token_is_renewed(local_idp: LocalIdP, manager: TokenManager, fork: Fork) -> None:
    """The child has the old token at once and replaces it; the parent's renewal is not disturbed."""
    old = manager.get_token()
    local_idp.fail("token", kind="hang", times=1)
    manager.request_renewal()
    local_idp.wait_for_requests("token", 2)
    first, second = fork(lambda: [manager.get_token(0).fingerprint, manager.force_refresh(10).fingerprint]).result()
    assert old.fingerprint == first != second
    local_idp.heal()
    renewed = manager.get_token(10, FetchOptions(renew_required=True))  # joins the renewal under way
    assert renewed.fingerprint not in (first, second)
    assert 3 == local_idp.count("token")


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_fork_while_the_lock_is_held(local_idp: LocalIdP, fork: Fork, warm: bool) -> None:
    """A lock that a thread of the parent held at the fork, and that nobody frees in the child, holds nobody up."""
    with make_manager(local_idp) as manager:
        if warm:
            manager.get_token()
        with holding_lock(manager):
            child = fork(lambda: [manager.get_token(10).fingerprint, manager.force_refresh(10).fingerprint])
            first, second = child.result()
        assert first != second
        assert warm == (first == manager.get_token(10).fingerprint)


def test_every_call_works_after_a_fork_while_the_lock_is_held(
    local_idp: LocalIdP, manager: TokenManager, fork: Fork
) -> None:
    """Not one way off the hot path touches the inherited lock."""
    token = manager.get_token()

    def work() -> object:
        manager.is_renewal_required()
        manager.invalidate_token(token)
        manager.request_renewal()
        rejected = manager.get_token(10)
        manager.renew_rejected(rejected, 10)
        manager.receiver().fetch(10)
        manager.close(1)
        return "closed"

    with holding_lock(manager):
        assert "closed" == fork(work).result()
    assert token == manager.get_token(0)


def test_a_fork_of_a_fork(local_idp: LocalIdP, manager: TokenManager, fork: Fork) -> None:
    """A grandchild of a child that has renewed starts with the child's token, and renews for itself."""

    def work() -> object:
        own = manager.force_refresh(10).fingerprint
        with holding_lock(manager):
            return [
                own,
                *fork(lambda: [manager.get_token(0).fingerprint, manager.force_refresh(10).fingerprint]).result(),
            ]

    own, inherited, renewed = fork(work).result()
    assert own == inherited != renewed
    assert own != manager.get_token(0).fingerprint


def test_threads_of_a_child_race_for_the_first_use(local_idp: LocalIdP, fork: Fork) -> None:
    """They get the same token, which was fetched once, although each of them may be the first to see the fork."""
    local_idp.latency = 0.1
    with make_manager(local_idp) as manager:

        def work() -> object:
            barrier = threading.Barrier(THREADS)
            with ThreadPoolExecutor(THREADS) as pool:
                futures = [pool.submit(lambda: (barrier.wait(10), manager.get_token(10))) for _ in range(THREADS)]
            return sorted({future.result()[1].fingerprint for future in futures})

        with holding_lock(manager):
            assert 1 == len(fork(work).result())
    assert 1 == local_idp.count("token")


def test_a_manager_without_a_thread_survives_a_fork(local_idp: LocalIdP, fork: Fork) -> None:
    """With background=False the child's caller leads its own renewal, although one was in flight at the fork."""
    fetcher = ClientCredentialsFetcher(token_url=local_idp.token_url, client_id="client", client_secret="secret")
    local_idp.fail("token", kind="hang", times=1)
    with TokenManager(fetcher, background=False) as manager, ThreadPoolExecutor() as pool:
        leading = pool.submit(manager.get_token, 20)
        local_idp.wait_for_requests("token")
        assert [True, 0] == fork(lambda: [manager.get_token(10) is manager.current, renewal_threads()]).result()
        local_idp.heal()
        assert leading.result(10) is manager.current


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_fork_while_the_storage_is_locked(local_idp: LocalIdP, tmp_path: Path, fork: Fork, kind: str) -> None:
    """The child gets a token in bounded time while its parent renews under the storage's lock, and never frees that."""
    storage = InMemoryTokenStorage() if kind == "memory" else FileTokenStorage(tmp_path / "tokens")
    local_idp.fail("token", kind="hang", times=1)
    with make_manager(local_idp, storage) as manager, ThreadPoolExecutor() as pool:
        waiting = pool.submit(manager.get_token, 20)
        local_idp.wait_for_requests("token")
        began = time.monotonic()
        fork(lambda: manager.get_token(10).fingerprint).result()
        assert time.monotonic() - began < 5
        other = storage if kind == "memory" else FileTokenStorage(tmp_path / "tokens")
        with pytest.raises(StorageLockTimeoutError), other.lock(manager.source.cache_key, 0):
            pytest.fail("the parent's lock was lost")
        local_idp.heal()
        waiting.result(10)
    assert 2 == local_idp.count("token")


def test_children_draw_different_jitter(fork: Fork) -> None:
    """A fleet of workers spreads out, although no hook has told the random module that they are several."""
    now = datetime.now(timezone.utc)
    token = Token("abc", issued_at=now, expires_at=now + timedelta(hours=1))
    error = AuthenticationError("down", transient=True)

    def draw() -> list[float]:  # one pause of ten is the shortest
        return [POLICY.window(token, now).due_in, sum(POLICY.retry_delay(9, error) for _ in range(9))]

    due_in, delays = zip(*[child.result() for child in [fork(draw) for _ in range(3)]], strict=True)
    assert (3, 3) == (len(set(due_in)), len(set(delays)))


def test_many_forks_in_a_row(local_idp: LocalIdP) -> None:
    """Children forked at any moment of a busy parent's life get tokens, and the parent has no failed call."""
    local_idp.lifetime = 0.2
    over = threading.Event()

    def keep_busy() -> int:
        calls = 0
        while not over.is_set():
            manager.get_token(10)
            calls += 1
            over.wait(0.001)
        return calls

    with make_manager(local_idp) as manager, ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(keep_busy) for _ in range(2)]
        results = [Child(lambda: len(manager.force_refresh(10).fingerprint)).result() for _ in range(10)]
        over.set()
        assert [8] * 10 == results
        assert all(one.result(10) for one in busy)
