"""A manager and a storage that it shares: one fetch for all, adoption, and going on without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from support.scripted import PATIENCE, STEADY, Harness, down, outcomes
from support.steps import Reluctant, WatchedStorage

from tokenkit import (
    AuthenticationError,
    ConfigurationError,
    FetchOptions,
    RefreshPolicy,
    StorageError,
    Token,
    TokenEndpointError,
    TokenManager,
    TokenStorage,
)
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.fetchers import StaticTokenFetcher
from tokenkit.pipeline import PipelineTokenProvider, TokenFetchPipeline
from tokenkit.storage import InMemoryTokenStorage

KEY = "scripted"
CANARY = "canary-0123456789"


@pytest.fixture
def storage() -> InMemoryTokenStorage:
    return InMemoryTokenStorage()


@pytest.fixture
def shared(make_harness: Callable[..., Harness], storage: InMemoryTokenStorage) -> Harness:
    """A manager that shares its token."""
    return make_harness(storage=storage)


def twin(make_harness: Callable[..., Harness], harness: Harness, storage: TokenStorage, **options: object) -> Harness:
    """Return another manager of the same token, as another process has."""
    return make_harness(storage=storage, clock=harness.clock, **options)


def not_ours(token: Token, name: str = "foreign") -> Token:
    return replace(token, access_token=name, refresh_token=None)


def refused() -> TokenEndpointError:
    return TokenEndpointError("refused", status=400, error="invalid_grant")


class Wrapped(TokenStorage):
    """Does as the storage within, unless a method of that name is to fail."""

    def __init__(self, inner: TokenStorage) -> None:
        self.inner = inner
        self.failing: dict[str, Exception] = {}
        self.log: list[str] = []

    def _enter(self, name: str) -> None:
        self.log.append(name)
        if name in self.failing:
            raise self.failing[name]

    def get(self, key: str) -> Token | None:
        self._enter("get")
        return self.inner.get(key)

    def set(self, key: str, token: Token) -> None:
        self.inner.set(key, token)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def clear(self) -> None:
        self.inner.clear()

    def delete_if_equal(self, key: str, token: Token) -> bool:
        return self.inner.delete_if_equal(key, token)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        self._enter("replace")
        return self.inner.replace(key, expected, token)

    @contextmanager
    def _locked(self, key: str, timeout: float) -> Iterator[None]:
        self._enter("enter")
        with self.inner.lock(key, timeout):
            yield
        self._enter("exit")

    def lock(self, key: str, timeout: float) -> object:
        self._enter("lock")
        return self._locked(key, timeout)

    def close(self) -> None:
        self._enter("close")


def test_a_stored_token_saves_the_fetch(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """What another process has stored is adopted at the first call."""
    token = shared.source.token(7)
    storage.set(KEY, token)
    assert (token, 0) == (shared.manager.get_token(), shared.source.fetches)


def test_n_managers_cost_one_fetch_a_lifetime(
    make_harness: Callable[..., Harness], storage: InMemoryTokenStorage
) -> None:
    """Of eight managers that share a storage one fetches, and the others adopt; so at the renewal."""
    first = make_harness(storage=storage)
    rigs = [first] + [twin(make_harness, first, storage) for _ in range(7)]
    futures = [future for harness in rigs for future in harness.ask(3)]
    outcomes(futures)
    assert 1 == sum(harness.source.fetches for harness in rigs)
    first.parked()
    first.clock.advance(3300)
    first.parked()
    assert 2 == sum(harness.source.fetches for harness in rigs)
    assert 1 == len({harness.manager.get_token().access_token for harness in rigs})


def test_the_token_is_stored_before_anyone_sees_it(make_harness: Callable[..., Harness]) -> None:
    """When a caller has the token, or the manager shows it, the storage has had it for a while."""
    wrapped = Wrapped(InMemoryTokenStorage())
    harness = make_harness(storage=wrapped)
    seen: list[Token | None] = []
    original = wrapped.inner.replace

    def replace_and_look(key: str, expected: Token | None, token: Token) -> bool:
        seen.append(harness.manager.current)
        return original(key, expected, token)

    wrapped.inner.replace = replace_and_look  # the storage is the test's own
    (waiting,) = harness.ask()
    assert waiting.result(PATIENCE) == wrapped.inner.get(KEY)
    assert ([None], ["get", "lock", "enter", "get", "replace", "exit"]) == (seen, wrapped.log)


def test_a_crash_before_storing_leaves_the_old_token(make_harness: Callable[..., Harness]) -> None:
    """A fetch that is cut short writes nothing."""
    storage = InMemoryTokenStorage()
    harness = make_harness(storage=storage, background=False)
    harness.source.rotates = True
    harness.manager.get_token()
    harness.source.then(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        harness.manager.force_refresh()
    assert ("token-1", "refresh-1") == (storage.get(KEY).access_token, storage.get(KEY).refresh_token)
    with storage.lock(KEY, 0):
        pass  # and the lock is free


def test_a_stored_token_must_be_newer(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """At a renewal, an older token of another process is not adopted."""
    old = not_ours(shared.source.token(0))
    shared.clock.advance(100)
    shared.manager.get_token()
    storage.set(KEY, old)
    assert "token-2" == shared.manager.force_refresh().access_token
    assert "token-2" == storage.get(KEY).access_token


def test_a_rejected_token_is_never_adopted(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Whatever the storage says of its age, the rejected token does not come back."""
    first = shared.manager.get_token()
    storage.set(KEY, replace(first, issued_at=first.issued_at + timedelta(seconds=50)))
    shared.manager.invalidate_token(first)
    assert ("token-2", 2) == (shared.manager.get_token().access_token, shared.source.fetches)


def test_a_renewal_for_a_rejected_token_may_be_adopted(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Where another process has renewed already, a rejection costs no fetch."""
    first = shared.manager.get_token()
    shared.advance(5)
    storage.set(KEY, not_ours(shared.source.token()))
    shared.manager.invalidate_token(first)
    assert ("foreign", 1) == (shared.manager.get_token().access_token, shared.source.fetches)


def test_an_expired_token_is_not_adopted_but_spent(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """The refresh token of an expired entry buys the next one."""
    shared.source.rotates = True
    stored = shared.source.token(7)
    storage.set(KEY, stored)
    shared.clock.advance(4000)
    shared.manager.get_token()
    assert [stored] == [one.previous for one in shared.source.asked]


def test_the_newest_refresh_token_is_spent(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Of what is held and what is stored, the newer goes to the source."""
    shared.source.rotates = True
    shared.manager.get_token()
    shared.advance(1)
    newer = shared.source.token(50, lifetime=2)
    storage.set(KEY, newer)
    shared.advance(5)
    shared.manager.force_refresh()
    assert newer == shared.source.asked[-1].previous


def test_a_due_token_in_the_storage_is_used_and_renewed(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """The caller has it at once, and the thread gets the next one."""
    storage.set(KEY, shared.source.token(7))
    shared.clock.advance(3400)
    gate = shared.source.hang()
    assert "token-7" == shared.manager.get_token().access_token
    assert gate.reached()
    gate.release()
    shared.parked()
    assert "token-1" == shared.manager.get_token().access_token


@pytest.mark.parametrize(("age", "fetches"), [(2399, 0), (2401, 1)])
def test_a_start_with_a_safety_margin(
    make_harness: Callable[..., Harness], storage: InMemoryTokenStorage, age: float, fetches: int
) -> None:
    """A token found at the start that is closer to its expiry than initial_safety_margin counts as due."""
    harness = make_harness(storage=storage, policy=RefreshPolicy(jitter=0, initial_safety_margin=1200))
    storage.set(KEY, harness.source.token(7))
    harness.clock.advance(age)
    gate = harness.source.hang()
    assert "token-7" == harness.manager.get_token().access_token
    if fetches:
        assert gate.reached()
        gate.release()
    harness.parked()
    assert fetches == harness.source.fetches


def test_the_thread_looks_into_the_storage(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Every storage_poll seconds it adopts a newer token; nobody waits for that and nothing is fetched."""
    shared.manager.get_token()
    shared.advance(10)
    storage.set(KEY, not_ours(shared.source.token()))
    shared.live(289)
    assert "token-1" == shared.manager.get_token().access_token
    shared.live(1)
    assert ("foreign", 1) == (shared.manager.get_token().access_token, shared.source.fetches)
    assert 1 == shared.ears.results("cache_refresh").count("adopted")


def test_looking_can_be_switched_off(make_harness: Callable[..., Harness], storage: InMemoryTokenStorage) -> None:
    """A storage_poll of 0 never looks between renewals."""
    harness = make_harness(storage=storage, policy=RefreshPolicy(jitter=0, storage_poll=0))
    harness.manager.get_token()
    harness.advance(10)
    storage.set(KEY, not_ours(harness.source.token()))
    harness.live(2800)
    assert "token-1" == harness.manager.get_token().access_token


@pytest.mark.parametrize("what", ["lock", "enter", "get", "replace", "exit"])
@pytest.mark.parametrize("error", [StorageError("server down"), RuntimeError(CANARY)], ids=["ours", "foreign"])
def test_a_storage_in_trouble_costs_no_token(
    make_harness: Callable[..., Harness], what: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises and wherever, the caller has a token, and log and listeners are told."""
    wrapped = Wrapped(InMemoryTokenStorage())
    wrapped.failing[what] = error
    harness = make_harness(storage=wrapped)
    assert "token-1" == harness.manager.get_token().access_token
    assert "token-2" == harness.manager.force_refresh().access_token
    harness.parked()
    heard = harness.ears.results("cache_refresh") + harness.ears.results("cache_store")
    assert ("error" in heard, CANARY in caplog.text) == (True, False)
    assert "token storage failed" in caplog.text


def test_a_storage_that_is_wholly_dead_changes_nothing(make_harness: Callable[..., Harness]) -> None:
    """A manager lives on from memory, renewal after renewal, and looks again in vain."""
    wrapped = Wrapped(InMemoryTokenStorage())
    wrapped.failing = dict.fromkeys(["lock", "get", "replace", "close"], StorageError("gone"))
    harness = make_harness(storage=wrapped, lifetime=1000)
    harness.manager.get_token()
    harness.live(5000, lambda: harness.manager.get_token(0))
    assert (True, "get" in wrapped.log) == (5 <= harness.source.fetches <= 7, True)


def test_a_lock_that_is_held_is_heard_and_passed(make_harness: Callable[..., Harness]) -> None:
    """Who cannot have the lock in time fetches without, and both listeners and log know."""
    wrapped = Wrapped(InMemoryTokenStorage())
    wrapped.failing["enter"] = StorageLockTimeoutError("another holds it")
    harness = make_harness(storage=wrapped)
    assert "token-1" == harness.manager.get_token().access_token
    harness.parked()
    assert ["lock_timeout", "absent"] == harness.ears.results("cache_refresh")
    assert "token-1" == wrapped.inner.get(KEY).access_token


def reluctant(*expected: float) -> tuple[WatchedStorage, Reluctant]:
    """Return a storage whose lock is to be had by who waits as long as *expected*, each time."""
    storage, lock = WatchedStorage(), Reluctant(**{KEY: expected})
    storage.before["lock"] = lock
    return storage, lock


@pytest.mark.parametrize(("limit", "expected"), [(30, 10), (4, 3.8), (0.001, 0.00095)])
def test_waiting_for_the_lock_has_its_limit(
    make_harness: Callable[..., Harness], limit: float, expected: float
) -> None:
    """It is the policy's lock_timeout, and never more than the attempt may take."""
    storage, lock = reluctant(expected)
    harness = make_harness(storage=storage, policy=RefreshPolicy(jitter=0, refresh_request_timeout=limit))
    harness.manager.get_token()
    assert {KEY: [expected]} == lock.waited


def test_a_refresh_token_waits_longer_for_the_lock(make_harness: Callable[..., Harness]) -> None:
    """Two who spend one may lose the grant: its holder gets nearly as long as an attempt may take."""
    storage, lock = reluctant(10, 24.5)
    harness = make_harness(storage=storage)
    harness.source.rotates = True
    harness.manager.get_token()
    harness.manager.force_refresh()
    assert {KEY: [10, 24.5]} == lock.waited


def test_a_source_that_spends_a_refresh_token_of_its_own_waits_longer(make_harness: Callable[..., Harness]) -> None:
    """From the first attempt on, when neither a token held nor a stored one tells that there is one."""
    storage, lock = reluctant(24.5)
    harness = make_harness(storage=storage)
    harness.source.spends_refresh_token = True
    harness.manager.get_token()
    assert {KEY: [24.5]} == lock.waited


def test_a_stored_refresh_token_waits_longer_for_the_lock(make_harness: Callable[..., Harness]) -> None:
    """So does one that a manager finds at its start, which its first attempt would spend."""
    storage, lock = reluctant(24.5)
    harness = make_harness(storage=storage)
    harness.source.rotates = True
    storage.inner.set(KEY, harness.source.token(7))
    harness.clock.advance(4000)
    harness.manager.get_token()
    assert {KEY: [24.5]} == lock.waited


def test_a_refused_refresh_token_that_another_has_rotated(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """On invalid_grant the storage is read again, and what another has put there is used; nobody hears an error."""
    shared.source.rotates = True
    shared.manager.get_token()
    shared.advance(10)
    winner = replace(not_ours(shared.source.token()), refresh_token="rotated")

    def lose(*_: object) -> Token:
        storage.set(KEY, winner)  # by a process that went on without the lock
        raise refused()

    shared.source.then(lose)
    assert winner == shared.manager.get_token(options=FetchOptions(renew_required=True))
    assert (winner, 2) == (storage.get(KEY), shared.source.fetches)


def test_a_forced_token_is_never_one_that_another_has_stored(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Only their newest refresh token is taken: the source is asked with it."""
    shared.source.rotates = True
    shared.manager.get_token()
    shared.advance(10)
    theirs = replace(not_ours(shared.source.token()), refresh_token="rotated")
    storage.set(KEY, theirs)
    token = shared.manager.force_refresh()
    assert (2, "rotated") == (shared.source.fetches, shared.source.asked[1].previous.refresh_token)
    assert token.access_token != theirs.access_token


def test_a_rotated_refresh_token_is_spent(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Where the other's access token is of no use, its refresh token is."""
    shared.source.rotates = True
    first = shared.manager.get_token()
    other = replace(first, refresh_token="rotated")

    def lose(*_: object) -> Token:
        storage.set(KEY, other)
        raise refused()

    shared.source.then(lose)
    assert "token-3" == shared.manager.force_refresh().access_token
    assert [None, first, other] == [one.previous for one in shared.source.asked]


@pytest.mark.parametrize("with_storage", [True, False])
def test_a_refused_refresh_token_falls_back_to_a_fetch(
    make_harness: Callable[..., Harness], with_storage: bool
) -> None:
    """On invalid_grant, where nobody has rotated it, the source is asked for a first token, storage or not."""
    harness = make_harness(storage=InMemoryTokenStorage() if with_storage else None)
    harness.source.rotates = True
    first = harness.manager.get_token()
    harness.source.then(refused())
    assert "token-3" == harness.manager.force_refresh().access_token
    assert [None, first, None] == [one.previous for one in harness.source.asked]


@pytest.mark.parametrize("with_storage", [True, False])
def test_without_a_full_grant_the_refusal_is_told(make_harness: Callable[..., Harness], with_storage: bool) -> None:
    """What the fetch says, for instance that a person must sign in, reaches the caller."""
    harness = make_harness(storage=InMemoryTokenStorage() if with_storage else None)
    harness.source.rotates = True
    harness.manager.get_token()
    harness.source.then(refused(), AuthenticationError("a person must sign in again"))
    with pytest.raises(AuthenticationError, match="sign in"):
        harness.manager.force_refresh()
    assert "token-1" == harness.manager.get_token().access_token


def test_a_refusal_of_another_step_is_not_ours_to_mend(shared: Harness) -> None:
    """An invalid_grant that a step of a pipeline met is the pipeline's."""
    shared.source.rotates = True
    shared.manager.get_token()
    error = refused()
    error.step_name = "user"
    shared.source.then(error)
    with pytest.raises(TokenEndpointError):
        shared.manager.force_refresh()
    assert 2 == shared.source.fetches


def test_of_two_writers_the_newer_token_stays(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """A writer who went on without the lock loses to a newer token, and its caller gets that one."""

    def meet(*_: object) -> Token:
        ours = shared.source.token(1)
        shared.clock.advance(1)
        storage.set(KEY, not_ours(shared.source.token()))
        return ours

    shared.source.then(meet)
    assert "foreign" == shared.manager.get_token().access_token == storage.get(KEY).access_token


def test_of_two_writers_the_older_token_gives_way(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Where ours is the newer one, it is stored although somebody wrote meanwhile."""

    def meet(*_: object) -> Token:
        storage.set(KEY, not_ours(shared.source.token()))
        shared.clock.advance(1)
        return shared.source.token(1)

    shared.source.then(meet)
    assert "token-1" == shared.manager.get_token().access_token == storage.get(KEY).access_token
    shared.parked()
    assert "success" == shared.ears.results("cache_store")[-1]


def test_invalidating_leaves_the_storage_alone(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """Nothing deletes a token, for its refresh token's sake."""
    first = shared.manager.get_token()
    shared.manager.invalidate_token(first)
    shared.manager.invalidate_token()
    assert first == storage.get(KEY)


def test_a_failure_leaves_the_storage_alone(shared: Harness, storage: InMemoryTokenStorage) -> None:
    """What is stored stays when the source refuses."""
    first = shared.manager.get_token()
    shared.source.then(down())
    with pytest.raises(AuthenticationError):
        shared.manager.force_refresh()
    assert first == storage.get(KEY)


def test_another_managers_token_ends_an_outage(
    make_harness: Callable[..., Harness], storage: InMemoryTokenStorage
) -> None:
    """A manager whose source is down adopts, at its next attempt, what another has got."""
    lucky = make_harness(storage=storage)
    unlucky = twin(make_harness, lucky, storage)
    unlucky.source.always = down(retry_after=2)
    with pytest.raises(AuthenticationError):
        unlucky.manager.get_token()
    lucky.manager.get_token()
    lucky.parked()
    lucky.clock.advance(2)
    assert "token-1" == unlucky.manager.get_token().access_token
    assert 1 == unlucky.source.fetches


def test_a_close_closes_the_storage_too(make_harness: Callable[..., Harness], caplog: pytest.LogCaptureFixture) -> None:
    """And goes on if that fails."""
    wrapped = Wrapped(InMemoryTokenStorage())
    wrapped.failing["close"] = RuntimeError(CANARY)
    harness = make_harness(storage=wrapped, policy=STEADY)
    harness.manager.close()
    assert (1, ["close"], False) == (harness.source.closed, wrapped.log, CANARY in caplog.text)


class Leased(Wrapped):
    """A storage whose lock runs out."""

    lock_lease = 60.0  # type: ignore[assignment]  # a plain attribute is enough

    def __init__(self) -> None:
        super().__init__(InMemoryTokenStorage())


def test_an_attempt_may_not_outlive_the_storages_lock() -> None:
    """Where the lock is a lease, two would renew at once: told when the manager is made, with both numbers."""
    storage = Leased()
    with pytest.raises(ConfigurationError, match=r"refresh_request_timeout \(61 s\).*lock_lease \(60 s\)"):
        TokenManager(StaticTokenFetcher("t"), storage, policy=RefreshPolicy(refresh_request_timeout=61))
    with TokenManager(StaticTokenFetcher("t"), storage, policy=RefreshPolicy(refresh_request_timeout=60)) as manager:
        assert "t" == manager.get_token().access_token


def test_nor_the_lock_of_a_pipelines_storage() -> None:
    """The steps are locked there, while the manager above has none."""
    pipeline = TokenFetchPipeline([StaticTokenFetcher("t")], Leased())
    for source in (pipeline, PipelineTokenProvider(pipeline, "orders")):
        with pytest.raises(ConfigurationError, match=r"refresh_request_timeout \(61 s\).*lock_lease \(60 s\)"):
            TokenManager(source, policy=RefreshPolicy(refresh_request_timeout=61))
    with TokenManager(pipeline, policy=RefreshPolicy(refresh_request_timeout=60)) as manager:
        assert "t" == manager.get_token().access_token
