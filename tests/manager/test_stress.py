"""Many threads at once, switched as often as the interpreter can: outcomes, not survival."""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from support.scripted import EventLog, ask, down, outcomes

from tokenkit import AuthenticationError, RefreshPolicy, Token, TokenManager
from tokenkit.contracts import FetchContext, TokenProvider
from tokenkit.errors import RenewalTimeoutError
from tokenkit.storage import InMemoryTokenStorage

THREADS = 12
SECONDS = 0.5


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Counting(TokenProvider):
    """Numbers its tokens, takes a moment for each, and notices when it is asked for another in that."""

    service_name = "counting"

    def __init__(self, lifetime: float = 3600, failing: float = 0) -> None:
        self.lifetime = lifetime
        self.failing = failing
        self.fetches = 0
        self.inside = 0
        self.most_inside = 0
        self._lock = threading.Lock()

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        with self._lock:
            self.fetches += 1
            number = self.fetches
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        threading.Event().wait(0.002)
        now = datetime.now(timezone.utc)
        with self._lock:
            self.inside -= 1
        if random.random() < self.failing:
            raise down()
        return Token(f"token-{number}", issued_at=now, expires_at=now + timedelta(seconds=self.lifetime))


def for_a_while(work: Callable[[int], object]) -> list[object]:
    """Have many threads do *work* again and again; return what each raised, or its number of rounds."""
    end = time.monotonic() + SECONDS
    numbers = iter(range(THREADS))

    def run() -> int:
        number, rounds = next(numbers), 0
        while not rounds or time.monotonic() < end:
            work(number)
            rounds += 1
        return rounds

    return outcomes(ask(run, THREADS))


def counts(results: list[object]) -> bool:
    return all(isinstance(one, int) and one > 0 for one in results)


@pytest.mark.parametrize("background", [True, False])
def test_rejections_cost_one_renewal_each(background: bool) -> None:
    """However the threads fall, each token is replaced once, and what a caller gets is not what it rejected."""
    source = Counting()
    with TokenManager(source, background=background) as manager:
        rejected: set[str] = set()

        def reject(number: int) -> None:
            token = manager.get_token(10)
            if number < 3:
                rejected.add(token.access_token)
                manager.invalidate_token(token)
                assert token.access_token != manager.get_token(10).access_token

        assert counts(for_a_while(reject))
        assert (1, True) == (source.most_inside, len(rejected) <= source.fetches <= len(rejected) + 1)


@pytest.mark.parametrize("background", [True, False])
def test_short_lived_tokens(background: bool) -> None:
    """Tokens of a tenth of a second, a source that often fails, and not one expired token handed out."""
    source = Counting(lifetime=0.1, failing=0.2)
    policy = RefreshPolicy(initial_retry_timeout=0.001, max_retry_timeout=0.01)
    with TokenManager(source, InMemoryTokenStorage(), policy=policy, background=background) as manager:

        def get(number: int) -> None:
            asked_at = datetime.now(timezone.utc)
            try:
                token = manager.get_token(10)
            except AuthenticationError:
                return
            assert token.expires_at > asked_at

        assert counts(for_a_while(get))
        assert (1, True) == (source.most_inside, source.fetches < SECONDS / 0.05 * 3)


def test_everything_at_once() -> None:
    """All that users may call, from all threads, with a storage and listeners: each call has an outcome, soon."""
    source = Counting(lifetime=0.2)
    ears = EventLog()
    policy = RefreshPolicy(storage_poll=0.05, initial_retry_timeout=0.001)
    manager = TokenManager(source, InMemoryTokenStorage(), policy=policy, listeners=[ears])
    works: list[Callable[[], object]] = [
        lambda: manager.get_token(10),
        lambda: manager.force_refresh(10),
        lambda: manager.request_renewal(),
        lambda: manager.request_renewal(invalidate=True),
        lambda: manager.renew_rejected(manager.get_token(10), 10),
        lambda: (manager.current, manager.is_renewal_required(), repr(manager)),
    ]

    def call(number: int) -> None:
        try:
            works[number % len(works)]()
            manager.get_token(0)
        except RenewalTimeoutError:
            pass  # that one had no time

    assert counts(for_a_while(call))
    assert "token" in manager.get_token(10).access_token
    manager.close()
    assert (0, 1) == (source.inside, source.most_inside)
    ears.wait_for("token_acquire", source.fetches)  # told after the landing, by whoever fetched
    assert len(ears.results("token_acquire")) == source.fetches
