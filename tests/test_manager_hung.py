"""Fetches that hang: superseded by new ones, never for ever in the way, and heard only if they bring news."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from scripted import PATIENCE, Gate, Rig, down, outcomes

from tokenkit import (
    AuthenticationError,
    ClientCredentialsFetcher,
    FetchOptions,
    RefreshPolicy,
    RenewalError,
    RenewalTimeoutError,
    Token,
    TokenManager,
)
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP

LIMIT = 30.0  # the policy's refresh_request_timeout


class Stuck(InMemoryTokenStorage):
    """Hangs for ever, or until the test ends, in the methods that the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging: set[str] = set()
        self.entered = threading.Semaphore(0)
        self._end = threading.Event()

    def _enter(self, name: str) -> None:
        if name in self.hanging:
            self.entered.release()
            self._end.wait(3 * PATIENCE)

    def get(self, key: str) -> Token | None:
        self._enter("get")
        return super().get(key)

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        self._enter("lock")
        return super().lock(key, timeout)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        self._enter("replace")
        return super().replace(key, expected, token)

    def let_go(self) -> None:
        self.hanging.clear()
        self._end.set()


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    storage = Stuck()
    yield storage
    storage.let_go()


def hang(rig: Rig, count: int) -> list[Gate]:
    """Have *count* attempts hang one after the other, each superseding the one before."""
    gates = [rig.source.hang() for _ in range(count)]
    for gate in gates:
        with pytest.raises(RenewalTimeoutError):
            rig.manager.get_token(timeout=0)
        assert gate.reached()
        rig.clock.advance(LIMIT)
    return gates


def test_a_hung_attempt_is_superseded(rig: Rig) -> None:
    """Once it has had its time, a caller who is still waiting gets the token of another attempt."""
    rig.source.hang()
    (waiting,) = rig.ask(timeout=100)
    rig.parked()
    rig.clock.advance(LIMIT - 0.001)
    rig.parked()
    assert 1 == rig.source.fetches
    rig.clock.advance(0.001)
    assert ("token-2", 2) == (waiting.result(PATIENCE).access_token, rig.source.fetches)


def test_the_new_attempt_has_a_new_thread(rig: Rig) -> None:
    """The hung thread is abandoned; it ends by itself once its fetch comes back."""
    (gate,) = hang(rig, 1)
    rig.manager.get_token()
    old, new = (one.thread for one in rig.source.asked)
    assert (True, True) == (old is not new, old.is_alive())
    gate.release(down())
    old.join(PATIENCE)
    assert (False, True) == (old.is_alive(), new.is_alive())


def test_a_younger_attempt_is_never_superseded(rig: Rig) -> None:
    """However many callers come and go, there is one attempt at a time while it may run."""
    rig.source.hang()
    for _ in range(9):
        with pytest.raises(RenewalTimeoutError):
            rig.manager.get_token(timeout=0)
        rig.source.wait_for(1)
        rig.clock.advance(3)
    assert 1 == rig.source.fetches


def test_a_hung_attempt_does_not_outlive_a_due_token(rig: Rig) -> None:
    """It is superseded in the background too, while callers get the due token."""
    rig.manager.get_token()
    gate = rig.source.hang()
    rig.parked()
    rig.clock.advance(3300)
    rig.manager.get_token(0)
    assert gate.reached()
    rig.clock.advance(LIMIT)
    assert "token-1" == rig.manager.get_token(0).access_token
    rig.source.wait_for(3)
    rig.parked()
    assert "token-3" == rig.manager.get_token(0).access_token


def test_a_late_result_that_is_older_is_dropped(rig: Rig) -> None:
    """What a superseded attempt brings never displaces a newer token."""
    gate = rig.source.hang()
    old = rig.source.token(99)
    (waiting,) = rig.ask(timeout=100)
    assert gate.reached()
    rig.parked()
    rig.clock.advance(LIMIT)
    newer = waiting.result(PATIENCE)
    gate.release(old)
    rig.source.asked[0].thread.join(PATIENCE)
    assert (newer, newer) == (rig.manager.current, rig.manager.get_token())
    assert ["success", "superseded"] == sorted(rig.ears.results("token_refresh"))


def test_a_late_result_that_is_newer_counts(rig: Rig) -> None:
    """A slow answer serves all who wait although its attempt was given up."""
    late, stuck = rig.source.hang(), rig.source.hang()
    (waiting,) = rig.ask(timeout=100)
    assert late.reached()
    rig.parked()
    rig.clock.advance(LIMIT)
    assert stuck.reached()
    late.release()
    assert "token-1" == waiting.result(PATIENCE).access_token
    stuck.release(down())
    rig.parked()
    assert "token-1" == rig.manager.get_token().access_token


def test_of_two_results_the_newer_counts(rig: Rig) -> None:
    """Where a late result was first, and is the newer one, the attempt that took its place does not displace it."""
    late, second = rig.source.hang(), rig.source.hang()
    old = rig.source.token(99)
    (waiting,) = rig.ask(timeout=100)
    assert late.reached()
    rig.parked()
    rig.clock.advance(LIMIT)
    assert second.reached()
    late.release()
    newer = waiting.result(PATIENCE)
    second.release(old)
    rig.parked()
    assert newer is rig.manager.current


def test_a_late_failure_is_nobodys(rig: Rig) -> None:
    """A superseded attempt that fails starts no back-off and fails no caller."""
    late, stuck = rig.source.hang(), rig.source.hang()
    futures = rig.ask(5, timeout=100)
    assert late.reached()
    rig.parked(5)
    rig.clock.advance(LIMIT)
    assert stuck.reached()
    late.release(down())
    rig.source.asked[0].thread.join(PATIENCE)
    rig.parked(5)
    stuck.release()
    assert {"token-2"} == {token.access_token for token in outcomes(futures)}


def test_at_most_three_threads_are_abandoned(rig: Rig) -> None:
    """With four fetches that hang a renewal fails at once and says so; the source is left alone."""
    hang(rig, 4)
    for _ in range(5):
        with pytest.raises(RenewalError, match="hang") as caught:
            rig.manager.get_token()
        assert RenewalError is type(caught.value)
    assert 4 == rig.source.fetches


def test_a_due_token_is_served_although_all_attempts_hang(rig: Rig) -> None:
    """Too many hung renewals are no matter to who holds a valid token, and flood no log."""
    rig.manager.get_token()
    gates = [rig.source.hang() for _ in range(4)]
    rig.parked()
    rig.clock.advance(3300)
    for gate in gates:
        rig.manager.get_token(0)
        assert gate.reached()
        rig.clock.advance(LIMIT)
    assert {"token-1"} == {rig.manager.get_token(0).access_token for _ in range(50)}
    assert 5 == rig.source.fetches


def test_the_log_tells_of_each_hung_attempt_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """There is a warning when one is superseded, not at every call."""
    hang(rig, 4)
    for _ in range(50):
        with pytest.raises(RenewalError):
            rig.manager.get_token()
    assert 3 == len([one for one in caplog.records if "WARNING" == one.levelname])


def test_a_manager_recovers_when_one_comes_back(rig: Rig) -> None:
    """Whichever of the hung fetches ends makes room for a new attempt."""
    gates = hang(rig, 4)
    gates[1].release(down())
    rig.source.asked[1].thread.join(PATIENCE)
    assert "token-5" == rig.manager.get_token().access_token


def test_a_manager_recovers_with_the_source(make_rig: Callable[..., Rig]) -> None:
    """When the hung source answers again, callers get tokens, and the abandoned threads end."""
    rig = make_rig(policy=RefreshPolicy(jitter=0, initial_retry_timeout=0.001))
    gates = hang(rig, 4)
    for gate in gates:
        gate.release(down())
    for one in rig.source.asked:
        one.thread.join(0 if one is rig.source.asked[-1] else PATIENCE)
    rig.parked()
    rig.clock.advance(1)
    assert "token-5" == rig.manager.get_token().access_token
    threads = [thread for thread in threading.enumerate() if thread in [one.thread for one in rig.source.asked]]
    assert [rig.source.asked[-1].thread] == threads


def test_a_new_attempt_passes_a_lock_that_a_hung_one_holds(make_rig: Callable[..., Rig]) -> None:
    """The storage's lock is held by the abandoned predecessor: its successor neither waits for it nor fails."""
    storage = InMemoryTokenStorage()
    rig = make_rig(storage=storage)
    hang(rig, 1)
    assert "token-2" == rig.manager.get_token(timeout=5).access_token
    assert "token-2" == storage.get("scripted").access_token
    assert [] == [one for one in rig.ears.results("cache_refresh") if one == "lock_timeout"]


def test_a_late_result_does_not_overwrite_the_storage(make_rig: Callable[..., Rig]) -> None:
    """What a superseded attempt brings in the end gives way to the newer token that is stored by then."""
    storage = InMemoryTokenStorage()
    rig = make_rig(storage=storage)
    old = rig.source.token(99)
    (gate,) = hang(rig, 1)
    rig.manager.get_token()
    gate.release(old)
    rig.source.asked[0].thread.join(PATIENCE)
    assert ("token-2", "token-2") == (storage.get("scripted").access_token, rig.manager.current.access_token)


def test_a_source_that_keeps_to_its_time_fails_rather_than_hangs(rig: Rig) -> None:
    """Its limit is over before the attempt would be superseded: callers hear why, and there is a back-off."""
    gate = rig.source.hang()
    waiting = rig.ask(4)
    assert gate.reached()
    rig.parked(4)
    rig.clock.advance(gate.context.timeout)
    gate.release(down("too late", retry_after=60))
    assert {"too late"} == {str(error) for error in outcomes(waiting)}
    with pytest.raises(AuthenticationError, match="too late"):
        rig.manager.get_token()
    assert 1 == rig.source.fetches


@pytest.mark.parametrize("background", [True, False], ids=["thread", "led"])
def test_an_endpoint_that_hangs_is_asked_once(local_idp: LocalIdP, background: bool) -> None:
    """The time limit of the request is that of the attempt: the failure counts, and the next caller fails at once."""
    local_idp.fail("token", kind="hang", times=None)
    fetcher = ClientCredentialsFetcher(token_url=local_idp.token_url, client_id="client", client_secret="secret")
    policy = RefreshPolicy(refresh_request_timeout=2, initial_retry_timeout=50, max_retry_timeout=50)
    with TokenManager(fetcher, policy=policy, background=background) as manager:
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                manager.get_token()
    assert 1 == local_idp.count("token")


def test_an_attempt_may_be_granted_less(rig: Rig) -> None:
    """An attempt with renew_request_timeout is superseded after that time."""
    rig.source.hang()
    (waiting,) = rig.ask(timeout=100, options=FetchOptions(renew_request_timeout=2))
    rig.parked()
    rig.clock.advance(2)
    assert "token-2" == waiting.result(PATIENCE).access_token


def test_closing_leaves_what_hangs(rig: Rig) -> None:
    """close() with no grace returns although threads hang in the source."""
    hang(rig, 2)
    rig.manager.close(grace=0)
    assert 1 == rig.source.closed


@pytest.mark.parametrize("method", ["lock", "get", "replace"])
def test_a_new_attempt_goes_without_a_storage_that_hangs(
    make_rig: Callable[..., Rig], stuck: Stuck, method: str
) -> None:
    """It would hang there too: the caller has a token, from the source alone."""
    stuck.hanging.add(method)
    rig = make_rig(storage=stuck)
    (waiting,) = rig.ask(timeout=100)
    assert stuck.entered.acquire(timeout=PATIENCE)
    rig.parked()
    rig.clock.advance(LIMIT)
    assert waiting.result(PATIENCE).access_token.startswith("token-")
    assert "token-" in rig.manager.force_refresh().access_token


@pytest.mark.parametrize("due", [False, True], ids=["waited-for", "due"])
def test_a_refresh_token_is_not_lost_while_it_is_stored(make_rig: Callable[..., Rig], stuck: Stuck, due: bool) -> None:
    """An attempt that hangs in storing its token has brought it: it is held, and the next spends what came with it."""
    rig = make_rig(storage=stuck)
    rig.source.rotates = True
    rig.manager.get_token()
    rig.parked()
    stuck.hanging.add("replace")
    if due:
        rig.clock.advance(3300)
    waiting = [] if due else rig.ask(timeout=100, options=FetchOptions(renew_required=True))
    assert stuck.entered.acquire(timeout=PATIENCE)
    rig.clock.advance(LIMIT)
    rig.manager.get_token()
    assert ["token-2"] * len(waiting) == [token.access_token for token in outcomes(waiting)]
    assert ("token-2", 2) == (rig.manager.current.access_token, rig.source.fetches)
    rig.manager.force_refresh()
    assert ["refresh-1", "refresh-2"] == [one.previous.refresh_token for one in rig.source.asked[1:]]


def test_a_storage_that_came_back_is_used_again(make_rig: Callable[..., Rig], stuck: Stuck) -> None:
    """When nothing hangs in it any more, a renewal is shared through it as before."""
    stuck.hanging.add("get")
    rig = make_rig(storage=stuck)
    (waiting,) = rig.ask(timeout=100)
    assert stuck.entered.acquire(timeout=PATIENCE)
    rig.parked()
    rig.clock.advance(LIMIT)
    waiting.result(PATIENCE)
    stuck.let_go()
    rig.source.wait_for(2)
    rig.source.asked[1].thread.join(PATIENCE)  # until the late attempt has left the storage
    rig.parked()
    assert rig.manager.force_refresh() == stuck.get("scripted")


def test_a_look_that_hangs_costs_no_caller_its_time(make_rig: Callable[..., Rig], stuck: Stuck) -> None:
    """The thread that is stuck in the storage is replaced, so that a caller's limit holds; then a token is had."""
    rig = make_rig(storage=stuck)
    rig.manager.get_token()
    rig.parked()
    stuck.hanging.add("get")
    rig.clock.advance(300)
    assert stuck.entered.acquire(timeout=PATIENCE)
    rig.manager.invalidate_token()
    (hasty,) = rig.ask(timeout=1.5)
    assert stuck.entered.acquire(timeout=PATIENCE)
    rig.parked()
    rig.clock.advance(1.5)
    assert isinstance(hasty.exception(PATIENCE), RenewalTimeoutError)
    (patient,) = rig.ask(timeout=100)
    rig.parked()
    rig.clock.advance(LIMIT)
    assert "token-2" == patient.result(PATIENCE).access_token


def test_after_a_look_that_hangs_the_storage_is_left_alone(make_rig: Callable[..., Rig], stuck: Stuck) -> None:
    """Once a look has had an attempt's time, callers have their token at once, and nobody looks again."""
    rig = make_rig(storage=stuck)
    rig.manager.get_token()
    rig.parked()
    stuck.hanging.add("get")
    rig.clock.advance(300)
    assert stuck.entered.acquire(timeout=PATIENCE)
    rig.clock.advance(LIMIT)
    assert "token-2" == rig.manager.force_refresh(timeout=5).access_token
    rig.live(900)
    assert not stuck.entered.acquire(blocking=False)
