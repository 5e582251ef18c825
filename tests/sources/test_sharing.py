"""Renewing one token under a storage's lock: re-read, adopt or fetch, store; and what is reported of it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support import daemons, needs
from support.steps import PATIENCE, Reluctant, WatchedStorage, failing_storage, refusal

from tokenkit import StorageError, Token, TransportError
from tokenkit._sources.judging import is_newer, lock_patience
from tokenkit._sources.sharing import Renewed, SharedToken
from tokenkit.clock import SystemClock
from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.events import FailureFacts
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import FakeClock

START = datetime(2027, 1, 1, tzinfo=timezone.utc)
Reports = list[tuple[str, str]]


def token(name: str, issued: float | None = 0, lives: float | None = 60, refresh: str | None = None) -> Token:
    """Return a token issued *issued* seconds after the start."""
    base = START + timedelta(seconds=issued or 0)
    expires = None if lives is None else base + timedelta(seconds=lives)
    return Token(name, issued_at=None if issued is None else base, expires_at=expires, refresh_token=refresh)


OLD, NEW, NEWER = token("old", 0), token("new", 100), token("newer", 200)
SPENT = token("spent", 0, refresh="r1")
ROTATED = token("rotated", 50, refresh="r2")


class Source:
    """Answers in turn, and remembers what it was asked with."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str | None] = []

    def __call__(self, previous: Token | None) -> Token:
        self.asked.append(previous and previous.access_token)
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Token)
        return answer


class Shared:
    """A shared token over a watched storage, and what it reported."""

    def __init__(self, stored: Token | None = None, storage: WatchedStorage | None = None) -> None:
        self.storage = storage or WatchedStorage()
        if stored is not None:
            self.storage.inner.set("key", stored)
        self.reports: Reports = []
        self.locked: list[bool] = []
        self.token = SharedToken(self.storage, "key", FakeClock(), source="svc", report=self._report)

    def _report(self, name: str, result: str, seconds: float, failure: FailureFacts | None) -> None:
        assert seconds >= 0
        self.reports.append((name, result))

    def renew(
        self, ask: Source, held: Token | None = None, good: tuple[Token, ...] = (), lock_timeout: float | None = 1
    ) -> Renewed:
        return self.token.renew(
            held, ask, lambda stored: stored in good, lock_timeout=lock_timeout, note_lock=self.locked.append
        )

    @property
    def stored(self) -> Token | None:
        return self.storage.inner.get("key")


def test_a_good_stored_token_is_adopted() -> None:
    """What another has stored is taken, and the source is not asked."""
    shared, source = Shared(NEW), Source()
    assert Renewed(NEW, True, saved=True) == shared.renew(source, OLD, good=(NEW,))
    assert ([], [("cache_refresh", "adopted")]) == (source.asked, shared.reports)


def test_a_token_that_appears_while_waiting_for_the_lock_is_adopted() -> None:
    """The storage is read under the lock, and not before."""
    shared, source = Shared(OLD), Source()
    shared.storage.before["lock"] = lambda *_: shared.storage.inner.set("key", NEW)
    assert Renewed(NEW, True, saved=True) == shared.renew(source, OLD, good=(NEW,))


@pytest.mark.parametrize(("stored", "result"), [(None, "absent"), (OLD, "unchanged")])
def test_a_new_token_is_stored_before_it_is_returned(stored: Token | None, result: str) -> None:
    """With nothing good in the storage the source is asked, and its answer put in the place of what was there."""
    shared = Shared(stored)
    assert Renewed(NEW, False, saved=True) == shared.renew(Source(NEW))
    assert NEW == shared.stored
    assert [("cache_refresh", result), ("cache_store", "success")] == shared.reports


@pytest.mark.parametrize(
    ("stored", "held", "asked"),
    [
        (None, None, None),
        (OLD, None, "old"),
        (None, OLD, "old"),
        (NEW, OLD, "new"),
        (OLD, NEW, "new"),
        (token("stored", None, None), token("held", None, None), "stored"),
    ],
)
def test_the_newest_token_known_is_what_the_source_refreshes(
    stored: Token | None, held: Token | None, asked: str | None
) -> None:
    """Of the stored and the held token the newer counts; where neither tells its age, the stored one."""
    source = Source(NEWER)
    Shared(stored).renew(source, held)
    assert [asked] == source.asked


def test_what_the_source_raises_goes_through() -> None:
    """A failure is the caller's, with nothing stored and no lock kept."""
    shared, error = Shared(OLD), TransportError("no route")
    with pytest.raises(TransportError) as failure:
        shared.renew(Source(error))
    assert (error, OLD) == (failure.value, shared.stored)
    assert [True, False] == shared.locked
    with shared.storage.inner.lock("key", 0):
        pass


# The lock


def test_the_lock_is_held_while_the_source_is_asked() -> None:
    """Nobody else can take the lock meanwhile, and note_lock says when."""
    shared = Shared()

    def answer() -> Token:
        assert [True] == shared.locked
        with pytest.raises(StorageLockTimeoutError), shared.storage.inner.lock("key", 0):
            pass
        return NEW

    shared.renew(Source(answer))
    assert [True, False] == shared.locked


def test_no_lock_is_taken_where_none_is_wanted() -> None:
    """lock_timeout=None goes straight on."""
    shared = Shared()
    assert Renewed(NEW, False, saved=True) == shared.renew(Source(NEW), lock_timeout=None)
    assert 0 == shared.storage.calls["lock"]
    assert True not in shared.locked


@pytest.mark.parametrize(
    ("error", "result"),
    [(StorageLockTimeoutError("held"), "lock_timeout"), (StorageError("down"), "error"), (ValueError("bug"), "error")],
)
def test_a_lock_that_fails_is_done_without(error: Exception, result: str) -> None:
    """The source is asked all the same, its answer stored, and the trouble reported."""
    shared = Shared(storage=WatchedStorage())
    shared.storage.before["lock"] = _raising(error)
    assert Renewed(NEW, False, saved=True) == shared.renew(Source(NEW))
    assert ("cache_refresh", result) == shared.reports[0]
    assert NEW == shared.stored
    assert True not in shared.locked


def test_a_lock_that_cannot_be_given_back_is_reported() -> None:
    """The token is there and is returned."""
    shared = Shared()
    shared.storage.before["unlock"] = _raising(StorageError("down"))
    assert Renewed(NEW, False, saved=True) == shared.renew(Source(NEW))
    assert ("cache_refresh", "error") == shared.reports[-1]


# Waiting for the lock


@pytest.fixture(params=["memory", "file", pytest.param("redis", marks=pytest.mark.server)])
def storages(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TokenStorage, TokenStorage]]:
    """Give two views of one storage, as two processes have them."""
    if request.param == "memory":
        storage = InMemoryTokenStorage()
        yield storage, storage
    elif request.param == "file":
        tmp_path.chmod(0o700)
        yield FileTokenStorage(tmp_path), FileTokenStorage(tmp_path)
    else:
        redis = needs.module("tokenkit.storage.redis")
        with daemons.redis_server(tmp_path) as server:
            ours, theirs = (redis.RedisTokenStorage(server.redis_url) for _ in range(2))
            yield ours, theirs
            ours.close()
            theirs.close()


def test_a_token_stored_while_its_lock_is_held_for_good_is_adopted(
    storages: tuple[TokenStorage, TokenStorage],
) -> None:
    """Who waits for the lock looks into the storage now and then, and needs the lock for nothing that is there."""
    ours, theirs = storages
    shared = Shared(storage=WatchedStorage(ours))
    source, began = Source(), time.monotonic()

    def renew() -> Renewed:
        return shared.token.renew(OLD, source, lambda stored: stored == NEW, lock_timeout=PATIENCE)

    shared.token = SharedToken(shared.storage, "key", SystemClock(), source="svc", report=shared._report)
    with theirs.lock("key", 1), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(renew)
        shared.storage.wait_for("get", 1)
        theirs.set("key", NEW)
        assert Renewed(NEW, True, saved=True) == waiting.result(PATIENCE)
    assert ([], [("cache_refresh", "adopted")]) == (source.asked, shared.reports)
    assert time.monotonic() - began < PATIENCE / 2


class Busy(WatchedStorage):
    """A storage whose lock another holds: each wait for it takes its time by the test's clock."""

    def __init__(self, overdue: float = 0.0) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.waits: list[float] = []
        self.overdue = overdue
        self.before["lock"] = self._wait

    def _wait(self, _key: str, timeout: float) -> None:
        self.waits.append(timeout)
        self.clock.advance(timeout + self.overdue)
        raise StorageLockTimeoutError("held")

    def shared(self, grant_key: str | None = None) -> tuple[SharedToken, Reports]:
        reports: Reports = []
        report = lambda name, result, *_: reports.append((name, result))  # noqa: E731  # shorter than a function
        return SharedToken(self, "key", self.clock, source="svc", report=report, grant_key=grant_key), reports


def test_the_wait_for_a_lock_is_one_however_often_it_is_interrupted_by_a_look() -> None:
    """All of it takes lock_timeout; the looks get rarer, down to four a second; trouble is told once, at the end."""
    busy = Busy()
    shared, reports = busy.shared()
    began = busy.clock.monotonic()
    assert Renewed(NEW, False, saved=True) == shared.renew(None, Source(NEW), lambda _: False, lock_timeout=2)
    assert pytest.approx(2) == busy.clock.monotonic() - began
    assert pytest.approx([0.05, 0.06, 0.072, 0.25, 0.25]) == [*busy.waits[:3], *busy.waits[9:11]]
    assert len(busy.waits) == busy.calls["get"]
    assert [("cache_refresh", "lock_timeout"), ("cache_refresh", "absent"), ("cache_store", "success")] == reports


def test_a_lock_that_is_had_after_a_while_is_no_trouble() -> None:
    """Neither a report nor a warning says that it had to be waited for, and the source is asked under it, once."""
    shared, source = Shared(), Source(NEW)
    shared.storage.before["lock"] = Reluctant(key=[0.1])
    assert Renewed(NEW, False, saved=True) == shared.renew(source)
    assert ([None], [("cache_refresh", "absent"), ("cache_store", "success")]) == (source.asked, shared.reports)
    assert [False, True, False] == shared.locked


def test_a_storage_that_refuses_late_is_not_waited_for_longer() -> None:
    """The time is over when the clock says so, whatever the waits were to take."""
    busy = Busy(overdue=0.9)
    busy.shared()[0].renew(None, Source(NEW), lambda _: False, lock_timeout=2)
    assert pytest.approx([0.05, 0.06, 0.072, 0.018]) == busy.waits


def test_a_storage_that_does_not_wait_as_told_is_asked_for_longer_and_longer_waits() -> None:
    """One that knows its answer at once, or goes by a clock of its own, is asked a few times, for as long in all."""
    busy = Busy()
    busy.clock.advance = lambda _seconds: None  # type: ignore[method-assign]  # the test's own clock stands still
    busy.shared()[0].renew(None, Source(NEW), lambda _: False, lock_timeout=2)
    assert pytest.approx([0.05, 0.06, 0.12, 0.24, 0.48, 0.96, 0.09]) == busy.waits


def test_only_a_good_token_is_adopted_while_waiting() -> None:
    """What is there and no good, such as the one that was rejected, ends no wait."""
    busy = Busy()
    busy.inner.set("key", OLD)
    source = Source(NEW)
    assert Renewed(NEW, False, saved=True) == busy.shared()[0].renew(OLD, source, lambda _: False, lock_timeout=1)
    assert (["old"], pytest.approx(1)) == (source.asked, sum(busy.waits))


def test_the_access_token_of_a_grant_is_adopted_while_its_lock_is_held() -> None:
    """The grant's key is locked, and the access token's is looked at: nothing is spent."""
    busy = Busy()
    busy.inner.set("key", NEW)
    renewed = busy.shared("grant")[0].renew(OLD, Source(), lambda stored: stored == NEW, lock_timeout=1)
    assert (Renewed(NEW, True, saved=True), [0.05]) == (renewed, busy.waits)


@pytest.mark.parametrize("work", [NEW, TransportError("no route"), KeyboardInterrupt()])
def test_a_lock_that_is_refused_on_leaving_is_not_tried_again(work: Token | BaseException) -> None:
    """The source was asked by then, and is not asked twice, nor is what it raised hidden."""
    shared, source = Shared(), Source(_outcome(work))
    shared.storage.before["unlock"] = _raising(StorageLockTimeoutError("late"))
    if isinstance(work, Token):
        assert Renewed(NEW, False, saved=True) == shared.renew(source)
    else:
        with pytest.raises(type(work)):
            shared.renew(source)
    assert (1, 1) == (len(source.asked), shared.storage.calls["lock"])


# Refused refresh tokens


def refused() -> Exception:
    return refusal(400, "invalid_grant")


def test_a_refused_refresh_token_leads_to_the_full_grant() -> None:
    """invalid_grant with the storage unchanged: the source is asked for a first token."""
    shared, source = Shared(SPENT), Source(refused(), NEW)
    assert Renewed(NEW, False, saved=True) == shared.renew(source)
    assert (["spent", None], NEW) == (source.asked, shared.stored)


def test_a_refresh_token_rotated_by_another_is_spent_instead() -> None:
    """invalid_grant, and another one is stored by now: it is spent, and the answer takes its place."""
    shared = Shared(SPENT)
    source = Source(_storing(shared, ROTATED), NEW)
    assert Renewed(NEW, False, saved=True) == shared.renew(source)
    assert (["spent", "rotated"], NEW) == (source.asked, shared.stored)


def test_a_good_token_stored_by_another_is_adopted_after_a_refusal() -> None:
    """invalid_grant, and the token that the other bought is still good: no need to ask."""
    shared = Shared(SPENT)
    source = Source(_storing(shared, ROTATED))
    assert Renewed(ROTATED, True, saved=True) == shared.renew(source, good=(ROTATED,))
    assert ["spent"] == source.asked


def test_both_refresh_tokens_refused() -> None:
    """Where the other's is refused too, the full grant is next, and no third."""
    shared = Shared(SPENT)
    source = Source(_storing(shared, ROTATED), refused(), NEW)
    assert Renewed(NEW, False, saved=True) == shared.renew(source)
    assert (["spent", "rotated", None], NEW) == (source.asked, shared.stored)


@pytest.mark.parametrize("last", [TransportError("no route"), refusal(400, "invalid_grant")])
@pytest.mark.parametrize("rotated", [False, True])
def test_the_last_failure_is_the_callers(last: Exception, rotated: bool) -> None:
    """Where the full grant fails, that is what is raised, and it is asked once."""
    shared = Shared(SPENT)
    answers = [_storing(shared, ROTATED), refused()] if rotated else [refused()]
    source = Source(*answers, last)
    with pytest.raises(type(last)) as failure:
        shared.renew(source)
    assert (last, None) == (failure.value, source.asked[-1])


@pytest.mark.parametrize(
    ("previous", "error"),
    [
        (SPENT, refusal(400, "invalid_client")),
        (OLD, refusal(400, "invalid_grant")),
        (None, refusal(400, "invalid_grant")),
        (SPENT, TransportError("no route")),
    ],
)
def test_other_refusals_are_not_of_the_refresh_token(previous: Token | None, error: Exception) -> None:
    """Only invalid_grant, and only where a refresh token was spent, leads on."""
    source = Source(error)
    with pytest.raises(type(error)):
        Shared(previous).renew(source)
    assert 1 == len(source.asked)


@pytest.mark.parametrize(("step", "calls"), [("svc", 2), ("another", 1)])
def test_the_refusal_of_another_step_is_not_ours(step: str, calls: int) -> None:
    """invalid_grant of a step that this one depends on says nothing of our refresh token."""
    error = refusal(400, "invalid_grant")
    error.step_name = step
    source = Source(error, NEW if step == "svc" else None)
    shared = Shared(SPENT)
    if calls == 1:
        with pytest.raises(type(error)):
            shared.renew(source)
    else:
        shared.renew(source)
    assert calls == len(source.asked)


def test_a_failure_of_the_rotated_one_is_raised() -> None:
    """Where the other's refresh token cannot be tried, the full grant is not either."""
    shared = Shared(SPENT)
    source = Source(_storing(shared, ROTATED), TransportError("no route"))
    with pytest.raises(TransportError):
        shared.renew(source)
    shared = Shared(SPENT)
    source = Source(_storing(shared, ROTATED), refusal(401, "invalid_client"))
    with pytest.raises(type(refusal())):
        shared.renew(source)
    assert ["spent", "rotated"] == source.asked


# Storing


def test_a_newer_good_token_stored_meanwhile_is_adopted() -> None:
    """Who lost the race returns the winner's token and leaves it there."""
    shared = Shared()
    assert Renewed(NEWER, True, saved=True) == shared.renew(Source(_putting(shared, NEWER, NEW)), good=(NEWER,))
    assert (NEWER, ("cache_store", "conflict")) == (shared.stored, shared.reports[-1])


def test_a_newer_useless_token_stored_meanwhile_is_left() -> None:
    """Ours is returned, since theirs is no good to us, but theirs stays."""
    shared = Shared()
    assert Renewed(NEW, False, saved=False) == shared.renew(Source(_putting(shared, NEWER, NEW)))
    assert (NEWER, ("cache_store", "conflict")) == (shared.stored, shared.reports[-1])


@pytest.mark.parametrize("left", [None, OLD, replace(SPENT, expires_at=START)])
def test_a_token_takes_the_place_of_an_older_one_put_there_meanwhile(left: Token | None) -> None:
    """An invalidation while we fetched does not lose the new token, nor its refresh token."""
    shared = Shared(SPENT)

    def answer() -> Token:
        shared.storage.inner.delete("key")
        if left is not None:
            shared.storage.inner.set("key", left)
        return NEW

    assert Renewed(NEW, False, saved=True) == shared.renew(Source(answer))
    assert (NEW, ("cache_store", "success")) == (shared.stored, shared.reports[-1])


def test_a_holder_whose_lease_ran_out_gives_up_storing() -> None:
    """A storage that takes nothing of ours any more ends in a conflict, and our token is still good for us."""
    shared = Shared(OLD)
    shared.storage.inner.replace = lambda *_: False  # type: ignore[method-assign]  # as after a lease
    assert Renewed(NEW, False, saved=False) == shared.renew(Source(NEW))
    assert [("cache_store", "conflict")] == [report for report in shared.reports if report[0] == "cache_store"]
    assert shared.storage.calls["replace"] <= 3


def test_an_older_good_token_is_not_adopted_in_the_end() -> None:
    """What another put there is good, but ours is newer and all that is not to be had is its place."""
    shared = Shared()
    shared.storage.inner.replace = lambda *_: False  # type: ignore[method-assign]  # as after a lease
    assert Renewed(NEW, False, saved=False) == shared.renew(Source(_putting(shared, OLD, NEW)), good=(OLD,))


def test_the_same_token_again_is_not_written() -> None:
    """Where the source gives what is stored, there is nothing to store."""
    shared = Shared(OLD)
    assert Renewed(OLD, False, saved=True) == shared.renew(Source(OLD))
    assert 0 == shared.storage.calls["replace"]


def test_a_storage_that_always_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The token comes; each failure is heard, and logged without what a foreign error says."""
    shared = Shared(storage=failing_storage(RuntimeError("s3cr3t")))
    assert shared.token.read() is None
    assert Renewed(NEW, False, saved=False) == shared.renew(Source(NEW))
    assert [("cache_refresh", "error")] * 3 + [("cache_refresh", "absent"), ("cache_store", "error")] == shared.reports
    assert "RuntimeError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_a_storages_own_error_is_logged_with_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """Our errors hold no secret, so the log says what they say."""
    Shared(storage=failing_storage(StorageError("the disk is full"))).token.read()
    assert "the disk is full" in caplog.text


# Which is newer


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [
        (NEW, OLD, True),
        (OLD, NEW, False),
        (NEW, NEW, False),
        (token("a", 0, 60), token("b", 0, 30), True),
        (token("a", 100, 10), token("b", 0, 500), True),
        (token("a", None, 60), token("b", 0, 30), True),
        (token("a", None, 60), token("b", None, 90), False),
        (token("a", None, None), token("b", None, None), True),
        (token("a", None, None), token("a", None, None), False),
        (token("a", 0, None), token("b", 100, None), False),
    ],
)
def test_which_of_two_tokens_is_newer(one: Token, other: Token, newer: bool) -> None:
    """The later issue counts, then the later expiry; where nothing tells, being another is enough."""
    assert newer == is_newer(one, other)


def _outcome(work: Token | BaseException) -> Callable[[], Token]:
    def answer() -> Token:
        if isinstance(work, BaseException):
            raise work
        return work

    return answer


def _raising(error: Exception) -> Callable[..., object]:
    def fail(*_arguments: object) -> None:
        raise error

    return fail


def _storing(shared: Shared, theirs: Token) -> Callable[[], Exception]:
    def answer() -> Exception:
        shared.storage.inner.set("key", theirs)
        return refused()

    return answer


def _putting(shared: Shared, theirs: Token, ours: Token) -> Callable[[], Token]:
    def answer() -> Token:
        shared.storage.inner.set("key", theirs)
        return ours

    return answer


@pytest.mark.parametrize(
    ("expected", "lock_timeout", "left", "spends"),
    [
        (10, 10, 30, False),  # the policy's
        (4, 10, 4, False),  # no longer than the attempt
        (25, 10, 30, True),  # all but 5 seconds
        (8, 1, 10, True),  # all but a fifth
        (2, 1, 3, True),  # all but one second
        (10, 10, 12, True),  # the policy's, where that is longer
        (3, 10, 4, True),  # time for one request at least
        (0.25, 10, 0.5, True),  # or half of what there is
        (0, 10, -1, True),  # late already
    ],
)
def test_a_lock_is_waited_for_longer_where_a_refresh_token_would_be_spent(
    expected: float, lock_timeout: float, left: float, spends: bool
) -> None:
    """Nearly until the attempt's end then; the policy's lock_timeout otherwise."""
    assert expected == lock_patience(lock_timeout, left, spends)
