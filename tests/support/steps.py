"""Pipeline steps whose every answer a test decides, and storages that fail or can be watched."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenFetcher, TokenStorage
from tokenkit.errors import StorageError, StorageLockTimeoutError, TokenEndpointError
from tokenkit.pipeline import TokenFetchPipeline
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock
from tokenkit.tokens import Token

PATIENCE = 10.0  # real seconds: what waits longer has failed


def refusal(status: int = 401, error: str | None = "invalid_token") -> TokenEndpointError:
    """Return what an endpoint's refusal becomes."""
    return TokenEndpointError("refused", status=status, error=error)


class Step(TokenFetcher):
    """Gives name-1, name-2, ... and refuses tokens of earlier steps that a test revoked."""

    def __init__(
        self,
        name: str,
        depends_on: Sequence[str] = (),
        *,
        clock: Clock,
        lifetime: float | None = 3600.0,
        ttl: timedelta | None = None,
        has_refresh_token: bool = False,
    ) -> None:
        self.name = name
        self.depends_on = depends_on
        self.ttl = ttl
        self.clock = clock
        self.lifetime = lifetime
        self.has_refresh_token = has_refresh_token
        self.asked: list[Mapping[str, Token]] = []  # the context of each fetch and refresh
        self.spent: list[Token] = []  # what each refresh was given
        self.failed: list[Exception] = []
        self.closed = 0
        self.revoked: set[str] = set()
        self.script: list[Any] = []  # what the next calls do instead: raise, return, or call
        self._guard = threading.Lock()

    @property
    def fetches(self) -> int:
        return len(self.asked)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), timezone.utc)

    def token(self, number: int | str, lifetime: float | None = None) -> Token:
        """Return the token that the *number*-th call gives, if it is now."""
        seconds = self.lifetime if lifetime is None else lifetime
        return Token(
            f"{self.name}-{number}",
            issued_at=self.now(),
            expires_at=None if seconds is None else self.now() + timedelta(seconds=seconds),
            refresh_token=f"{self.name}-refresh-{number}" if self.has_refresh_token else None,
        )

    def fetch(self, context: FetchContext | None = None) -> Token:
        return self._answer(None, context)

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        self.spent.append(current)
        return self._answer(current, context)

    def on_fetch_error(self, error: Exception, context: FetchContext | None = None) -> None:
        self.failed.append(error)

    def close(self) -> None:
        self.closed += 1

    def _answer(self, previous: Token | None, context: FetchContext | None) -> Token:
        assert context is not None
        with self._guard:
            self.asked.append(context)
            number = len(self.asked)
            answer = self.script.pop(0) if self.script else None
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        if self.revoked.intersection(token.access_token for token in context.values()):
            raise refusal()
        return self.token(number) if answer is None else answer


@dataclass
class Chain:
    """device, app (on device) and user (on both), in a pipeline over a storage."""

    clock: FakeClock
    storage: TokenStorage
    device: Step
    app: Step
    user: Step
    pipeline: TokenFetchPipeline

    @property
    def fetches(self) -> tuple[int, int, int]:
        return self.device.fetches, self.app.fetches, self.user.fetches

    def execute(self, **options: Any) -> str:
        """Return the access token of one execution."""
        return self.pipeline.execute(**options).access_token

    def revoke(self, access_token: str) -> None:
        """Have the steps after it refuse *access_token*."""
        self.app.revoked.add(access_token)
        self.user.revoked.add(access_token)


def chain(storage: TokenStorage | None = None, prefix: str = "", **options: Any) -> Chain:
    """Make a chain; *options* are the pipeline's."""
    clock = FakeClock()
    storage = InMemoryTokenStorage() if storage is None else storage
    device = Step("device", clock=clock)
    app = Step("app", ["device"], clock=clock)
    user = Step("user", ["device", "app"], clock=clock)
    pipeline = TokenFetchPipeline([device, app, user], storage, prefix, clock=clock, **options)
    return Chain(clock, storage, device, app, user, pipeline)


class WatchedStorage(TokenStorage):
    """A storage that counts what is asked of it, and does first what a test put into :attr:`before`."""

    def __init__(self, inner: TokenStorage | None = None) -> None:
        self.inner = inner or InMemoryTokenStorage()
        self.before: dict[str, Callable[..., object]] = {}
        self.calls: Counter[str] = Counter()
        self.lockers: set[int] = set()  # the threads that wanted a lock; one that waits asks again and again
        self.closed = 0
        self._changed = threading.Condition(threading.Lock())

    def wait_for(self, call: str, count: int) -> None:
        """Return once *call* was made *count* times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.calls[call] >= count, PATIENCE), self.calls

    def wait_for_lockers(self, count: int) -> None:
        """Return once *count* threads wanted a lock."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.lockers) >= count, PATIENCE), len(self.lockers)

    def _note(self, call: str, *arguments: object) -> None:
        with self._changed:
            self.calls[call] += 1
            if call == "lock":
                self.lockers.add(threading.get_ident())
            self._changed.notify_all()
        if call in self.before:
            self.before[call](*arguments)

    def get(self, key: str) -> Token | None:
        self._note("get", key)
        return self.inner.get(key)

    def set(self, key: str, token: Token) -> None:
        self._note("set", key, token)
        self.inner.set(key, token)

    def delete(self, key: str) -> None:
        self._note("delete", key)
        self.inner.delete(key)

    def clear(self) -> None:
        self._note("clear")
        self.inner.clear()

    def delete_if_equal(self, key: str, token: Token) -> bool:
        self._note("delete_if_equal", key, token)
        return self.inner.delete_if_equal(key, token)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        self._note("replace", key, expected, token)
        return self.inner.replace(key, expected, token)

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        self._note("lock", key, timeout)
        return self._held(key, timeout)

    @contextmanager
    def _held(self, key: str, timeout: float) -> Iterator[None]:
        try:
            with self.inner.lock(key, timeout):
                yield
        finally:
            self._note("unlock", key)

    def close(self) -> None:
        self.closed += 1


class Reluctant:
    """Refuses a lock until it was waited for as long as expected, in however many parts. For :attr:`before`.

    Args:
        expected: By key, how many seconds each holder has to wait.
    """

    def __init__(self, **expected: Sequence[float]) -> None:
        self._expected = {key: list(each) for key, each in expected.items()}
        self._parts: Counter[str] = Counter()
        self.waited: dict[str, list[float]] = {}  # by key, how long each holder did

    def __call__(self, key: str, timeout: float) -> None:
        self._parts[key] += timeout  # type: ignore[assignment]  # seconds may be counted, too
        waited, turns = round(self._parts[key], 6), self.waited.setdefault(key, [])
        if waited < (self._expected[key][len(turns) :] or [0.0])[0]:
            raise StorageLockTimeoutError("another holds it")
        turns.append(waited)
        del self._parts[key]


def failing_storage(error: Exception | None = None) -> WatchedStorage:
    """Return a storage every call of which raises *error*."""

    def fail(*_arguments: object) -> None:
        raise error or StorageError("the disk is full")

    storage = WatchedStorage()
    storage.before = dict.fromkeys(["get", "set", "delete", "clear", "delete_if_equal", "replace", "lock"], fail)
    return storage
