"""Fetches that hang: superseded by new ones, never for ever in the way, and heard only if they bring news."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from support.scripted import PATIENCE, Gate, Harness, down, outcomes

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


def hang(harness: Harness, count: int) -> list[Gate]:
    """Have *count* attempts hang one after the other, each superseding the one before."""
    gates = [harness.source.hang() for _ in range(count)]
    for gate in gates:
        with pytest.raises(RenewalTimeoutError):
            harness.manager.get_token(timeout=0)
        assert gate.reached()
        harness.clock.advance(LIMIT)
    return gates


def test_a_hung_attempt_is_superseded(harness: Harness) -> None:
    """Once it has had its time, a caller who is still waiting gets the token of another attempt."""
    gate = harness.source.hang()
    (waiting,) = harness.ask(timeout=100)
    assert gate.reached()
    harness.parked()
    harness.clock.advance(LIMIT - 0.001)
    harness.asleep()
    assert 1 == harness.source.fetches
    harness.clock.advance(0.001)
    assert ("token-2", 2) == (waiting.result(PATIENCE).access_token, harness.source.fetches)


def test_the_new_attempt_has_a_new_thread(harness: Harness) -> None:
    """The hung one is left alone until its fetch comes back."""
    hang(harness, 1)
    harness.manager.get_token()
    old, new = (one.thread for one in harness.source.asked)
    assert old is not new


def test_a_younger_attempt_is_never_superseded(harness: Harness) -> None:
    """However many callers come and go, there is one attempt at a time while it may run."""
    harness.source.hang()
    for _ in range(9):
        with pytest.raises(RenewalTimeoutError):
            harness.manager.get_token(timeout=0)
        harness.source.wait_for(1)
        harness.clock.advance(3)
    assert 1 == harness.source.fetches


def test_a_hung_attempt_does_not_outlive_a_due_token(harness: Harness) -> None:
    """It is superseded in the background too, while callers get the due token."""
    harness.manager.get_token()
    gate = harness.source.hang()
    harness.parked()
    harness.clock.advance(3300)
    harness.manager.get_token(0)
    assert gate.reached()
    harness.napping()
    harness.clock.advance(LIMIT)
    assert "token-1" == harness.manager.get_token(0).access_token
    harness.source.wait_for(3)
    harness.parked()
    assert "token-3" == harness.manager.get_token(0).access_token


def test_a_late_result_that_is_older_is_dropped(harness: Harness) -> None:
    """What a superseded attempt brings never displaces a newer token."""
    gate = harness.source.hang()
    old = harness.source.token(99)
    (waiting,) = harness.ask(timeout=100)
    assert gate.reached()
    harness.parked()
    harness.clock.advance(LIMIT)
    newer = waiting.result(PATIENCE)
    gate.release(old)
    harness.landed(2)
    assert (newer, newer) == (harness.manager.current, harness.manager.get_token())
    assert ["success", "superseded"] == sorted(harness.ears.results("token_refresh"))


def test_a_late_result_that_is_newer_counts(harness: Harness) -> None:
    """A slow answer serves all who wait although its attempt was given up."""
    late, stuck = harness.source.hang(), harness.source.hang()
    (waiting,) = harness.ask(timeout=100)
    assert late.reached()
    harness.parked()
    harness.clock.advance(LIMIT)
    assert stuck.reached()
    late.release()
    assert "token-1" == waiting.result(PATIENCE).access_token
    stuck.release(down())
    harness.parked()
    assert "token-1" == harness.manager.get_token().access_token


def test_of_two_results_the_newer_counts(harness: Harness) -> None:
    """Where a late result was first, and is the newer one, the attempt that took its place does not displace it."""
    late, second = harness.source.hang(), harness.source.hang()
    old = harness.source.token(99)
    (waiting,) = harness.ask(timeout=100)
    assert late.reached()
    harness.parked()
    harness.clock.advance(LIMIT)
    assert second.reached()
    late.release()
    newer = waiting.result(PATIENCE)
    second.release(old)
    harness.parked()
    assert newer is harness.manager.current


def test_a_late_failure_is_nobodys(harness: Harness) -> None:
    """A superseded attempt that fails starts no back-off and fails no caller."""
    late, stuck = harness.source.hang(), harness.source.hang()
    futures = harness.ask(5, timeout=100)
    assert late.reached()
    harness.parked(5)
    harness.clock.advance(LIMIT)
    assert stuck.reached()
    late.release(down())
    harness.landed(1)
    harness.parked(5)
    stuck.release()
    assert {"token-2"} == {token.access_token for token in outcomes(futures)}


def test_at_most_three_threads_are_abandoned(harness: Harness) -> None:
    """With four fetches that hang a renewal fails at once and says so; the source is left alone."""
    hang(harness, 4)
    for _ in range(5):
        with pytest.raises(RenewalError, match="hang") as caught:
            harness.manager.get_token()
        assert RenewalError is type(caught.value)
    assert 4 == harness.source.fetches


def test_a_due_token_is_served_although_all_attempts_hang(harness: Harness) -> None:
    """Too many hung renewals are no matter to who holds a valid token, and flood no log."""
    harness.manager.get_token()
    gates = [harness.source.hang() for _ in range(4)]
    harness.parked()
    harness.clock.advance(3300)
    for gate in gates:
        harness.manager.get_token(0)
        assert gate.reached()
        harness.napping()
        harness.clock.advance(LIMIT)
    assert {"token-1"} == {harness.manager.get_token(0).access_token for _ in range(50)}
    assert 5 == harness.source.fetches


def test_the_log_tells_of_hung_attempts_once_a_minute(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """There is a warning when the first of a row is superseded, and after a minute; none at every call."""
    hang(harness, 4)
    for _ in range(50):
        with pytest.raises(RenewalError):
            harness.manager.get_token()
    assert 2 == len([one for one in caplog.records if "WARNING" == one.levelname])


def test_a_manager_recovers_when_one_comes_back(harness: Harness) -> None:
    """Whichever of the hung fetches ends makes room for a new attempt."""
    gates = hang(harness, 4)
    gates[1].release(down())
    harness.landed(1)
    assert "token-5" == harness.manager.get_token().access_token


def test_a_manager_recovers_with_the_source(make_harness: Callable[..., Harness]) -> None:
    """When the hung source answers again, callers get tokens."""
    harness = make_harness(policy=RefreshPolicy(jitter=0, initial_retry_timeout=0.001))
    gates = hang(harness, 4)
    for gate in gates:
        gate.release(down())
    harness.landed(4)
    harness.parked()
    harness.clock.advance(1)
    assert "token-5" == harness.manager.get_token().access_token


def test_a_new_attempt_passes_a_lock_that_a_hung_one_holds(make_harness: Callable[..., Harness]) -> None:
    """The storage's lock is held by the abandoned predecessor: its successor neither waits for it nor fails."""
    storage = InMemoryTokenStorage()
    harness = make_harness(storage=storage)
    hang(harness, 1)
    assert "token-2" == harness.manager.get_token(timeout=5).access_token
    assert "token-2" == storage.get("scripted").access_token
    assert [] == [one for one in harness.ears.results("cache_refresh") if one == "lock_timeout"]


def test_a_late_result_does_not_overwrite_the_storage(make_harness: Callable[..., Harness]) -> None:
    """What a superseded attempt brings in the end gives way to the newer token that is stored by then."""
    storage = InMemoryTokenStorage()
    harness = make_harness(storage=storage)
    old = harness.source.token(99)
    (gate,) = hang(harness, 1)
    harness.manager.get_token()
    gate.release(old)
    harness.landed(2)
    assert ("token-2", "token-2") == (storage.get("scripted").access_token, harness.manager.current.access_token)


def test_a_source_that_keeps_to_its_time_fails_rather_than_hangs(harness: Harness) -> None:
    """Its limit is over before the attempt would be superseded: callers hear why, and there is a back-off."""
    gate = harness.source.hang()
    waiting = harness.ask(4)
    assert gate.reached()
    harness.parked(4)
    harness.clock.advance(gate.context.timeout)
    gate.release(down("too late", retry_after=60))
    assert {"too late"} == {str(error) for error in outcomes(waiting)}
    with pytest.raises(AuthenticationError, match="too late"):
        harness.manager.get_token()
    assert 1 == harness.source.fetches


@pytest.mark.parametrize("background", [True, False], ids=["thread", "led"])
def test_an_endpoint_that_hangs_is_asked_once(local_idp: LocalIdP, background: bool) -> None:
    """The time limit of the request is that of the attempt: the failure counts, and the next caller fails at once."""
    local_idp.fail("token", kind="hang", times=None)
    fetcher = ClientCredentialsFetcher(token_url=local_idp.token_url, client_id="client", client_secret="secret")
    policy = RefreshPolicy(refresh_request_timeout=4, initial_retry_timeout=50, max_retry_timeout=50)
    with TokenManager(fetcher, policy=policy, background=background) as manager:
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                manager.get_token(timeout=20)  # longer than the attempt, however late that begins
    assert 1 == local_idp.count("token")


def test_an_attempt_may_be_granted_less(harness: Harness) -> None:
    """An attempt with renew_request_timeout is superseded after that time."""
    gate = harness.source.hang()
    (waiting,) = harness.ask(timeout=100, options=FetchOptions(renew_request_timeout=2))
    assert gate.reached()
    harness.parked()
    harness.clock.advance(2)
    assert "token-2" == waiting.result(PATIENCE).access_token


def test_closing_leaves_what_hangs(harness: Harness) -> None:
    """close() with no grace returns although threads hang in the source."""
    hang(harness, 2)
    harness.manager.close(grace=0)
    assert 1 == harness.source.closed


@pytest.mark.parametrize("method", ["lock", "get", "replace"])
def test_a_new_attempt_goes_without_a_storage_that_hangs(
    make_harness: Callable[..., Harness], stuck: Stuck, method: str
) -> None:
    """It would hang there too: the caller has a token, from the source alone."""
    stuck.hanging.add(method)
    harness = make_harness(storage=stuck)
    (waiting,) = harness.ask(timeout=100)
    assert stuck.entered.acquire(timeout=PATIENCE)
    harness.parked()
    harness.clock.advance(LIMIT)
    assert waiting.result(PATIENCE).access_token.startswith("token-")
    assert "token-" in harness.manager.force_refresh().access_token


@pytest.mark.parametrize("due", [False, True], ids=["waited-for", "due"])
def test_a_refresh_token_is_not_lost_while_it_is_stored(
    make_harness: Callable[..., Harness], stuck: Stuck, due: bool
) -> None:
    """An attempt that hangs in storing its token has brought it: it is held, and the next spends what came with it."""
    harness = make_harness(storage=stuck)
    harness.source.rotates = True
    harness.manager.get_token()
    harness.parked()
    stuck.hanging.add("replace")
    if due:
        harness.clock.advance(3300)
    waiting = [] if due else harness.ask(timeout=100, options=FetchOptions(renew_required=True))
    assert stuck.entered.acquire(timeout=PATIENCE)
    harness.clock.advance(LIMIT)
    harness.manager.get_token()
    assert ["token-2"] * len(waiting) == [token.access_token for token in outcomes(waiting)]
    assert ("token-2", 2) == (harness.manager.current.access_token, harness.source.fetches)
    harness.manager.force_refresh()
    assert ["refresh-1", "refresh-2"] == [one.previous.refresh_token for one in harness.source.asked[1:]]


def test_a_storage_that_came_back_is_used_again(make_harness: Callable[..., Harness], stuck: Stuck) -> None:
    """When nothing hangs in it any more, a renewal is shared through it as before."""
    stuck.hanging.add("get")
    harness = make_harness(storage=stuck)
    (waiting,) = harness.ask(timeout=100)
    assert stuck.entered.acquire(timeout=PATIENCE)
    harness.parked()
    harness.clock.advance(LIMIT)
    waiting.result(PATIENCE)
    stuck.let_go()
    harness.landed(2)  # until the late attempt has left the storage, too late to ask the source
    assert 1 == harness.source.fetches
    assert harness.manager.force_refresh() == stuck.get("scripted")


def test_a_look_that_hangs_costs_no_caller_its_time(make_harness: Callable[..., Harness], stuck: Stuck) -> None:
    """The thread that is stuck in the storage is replaced, so that a caller's limit holds; then a token is had."""
    harness = make_harness(storage=stuck)
    harness.manager.get_token()
    harness.parked()
    stuck.hanging.add("get")
    harness.clock.advance(300)
    assert stuck.entered.acquire(timeout=PATIENCE)
    harness.manager.invalidate_token()
    (hasty,) = harness.ask(timeout=1.5)
    assert stuck.entered.acquire(timeout=PATIENCE)
    harness.parked()
    harness.clock.advance(1.5)
    assert isinstance(hasty.exception(PATIENCE), RenewalTimeoutError)
    (patient,) = harness.ask(timeout=100)
    harness.parked()
    harness.clock.advance(LIMIT)
    assert "token-2" == patient.result(PATIENCE).access_token


def test_after_a_look_that_hangs_the_storage_is_left_alone(make_harness: Callable[..., Harness], stuck: Stuck) -> None:
    """Once a look has had an attempt's time, callers have their token at once, and nobody looks again."""
    harness = make_harness(storage=stuck)
    harness.manager.get_token()
    harness.parked()
    stuck.hanging.add("get")
    harness.clock.advance(300)
    assert stuck.entered.acquire(timeout=PATIENCE)
    harness.clock.advance(LIMIT)
    assert "token-2" == harness.manager.force_refresh(timeout=5).access_token
    harness.live(900)
    assert not stuck.entered.acquire(blocking=False)
