"""A token source whose every answer a test decides, a manager around it, and callers that a test can wait for."""

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenProvider, TokenStorage
from tokenkit.errors import AuthenticationError
from tokenkit.events import TokenEvent, TokenListener
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy
from tokenkit.testing import FakeClock
from tokenkit.tokens import Token

PATIENCE = 10.0  # real seconds: what waits longer has failed
STEADY = RefreshPolicy(jitter=0)


def down(message: str = "down", **facts: Any) -> AuthenticationError:
    """Return a failure that may pass."""
    return AuthenticationError(message, transient=True, **facts)


class Gate:
    """Where a fetch hangs until the test lets it go on, with what it then answers."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.context: FetchContext | None = None
        self._outcome: Any = None
        self._open = threading.Event()

    def release(self, outcome: Any = None) -> None:
        """Let the fetch end with *outcome*; None is a new token."""
        self._outcome = outcome
        self._open.set()

    def reached(self) -> bool:
        """Wait for a fetch to hang here."""
        return self.entered.wait(PATIENCE)

    def pass_through(self) -> Any:
        self.entered.set()
        assert self._open.wait(3 * PATIENCE), "no test opened the gate"
        return self._outcome


@dataclass
class Asked:
    """One call of the source."""

    previous: Token | None
    timeout: float | None
    at: float
    thread: threading.Thread


class ScriptedSource(TokenProvider):
    """Answers with what was said by :meth:`then`, in turn, and after that with *always*; None is a new token."""

    service_name = "scripted"

    def __init__(self, clock: Clock, lifetime: float | None = 3600.0) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.rotates = False
        self.always: Any = None
        self.asked: list[Asked] = []
        self.closed = 0
        self._script: list[Any] = []
        self._gates: list[Gate] = []
        self._changed = threading.Condition(threading.Lock())

    def then(self, *answers: Any) -> None:
        """Add answers: a token, an exception, a gate, a function of the previous token and the context, or None."""
        with self._changed:
            self._script.extend(answers)

    def hang(self) -> Gate:
        """Have the next unanswered call hang at the gate returned."""
        gate = Gate()
        self._gates.append(gate)
        self.then(gate)
        return gate

    def let_go(self) -> None:
        """Open every gate."""
        for gate in self._gates:
            gate.release()

    def wait_for(self, calls: int) -> None:
        """Return once the source was asked that often."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= calls, PATIENCE), len(self.asked)

    @property
    def fetches(self) -> int:
        return len(self.asked)

    def token(self, number: int | None = None, lifetime: float | None = None) -> Token:
        """Return the token that a call answers with now."""
        now = datetime.fromtimestamp(self.clock.time(), timezone.utc)
        number = self.fetches if number is None else number
        seconds = self.lifetime if lifetime is None else lifetime
        return Token(
            f"token-{number}",
            issued_at=now,
            expires_at=None if seconds is None else now + timedelta(seconds=seconds),
            refresh_token=f"refresh-{number}" if self.rotates else None,
        )

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return self._answer(None, context)

    def refresh_token(self, current: Token, context: FetchContext | None = None) -> Token:
        return self._answer(current, context)

    def close(self) -> None:
        self.closed += 1

    def _answer(self, previous: Token | None, context: FetchContext | None) -> Token:
        with self._changed:
            timeout = context.timeout if context is not None else None
            self.asked.append(Asked(previous, timeout, self.clock.monotonic(), threading.current_thread()))
            number = len(self.asked)
            answer = self._script.pop(0) if self._script else self.always
            self._changed.notify_all()
        if isinstance(answer, Gate):
            answer.context = context
            answer = answer.pass_through()
        if isinstance(answer, BaseException):
            raise copy.copy(answer)
        if callable(answer):
            return answer(previous, context)
        return self.token(number) if answer is None else answer


class EventLog(TokenListener):
    """Hears everything but a fresh hit, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, TokenEvent]] = []
        self.changed = threading.Condition()

    def results(self, name: str) -> list[str]:
        """Return the results heard by one method."""
        return [event.result for heard, event in list(self.heard) if heard == name]

    def clear(self) -> None:
        self.heard.clear()

    def wait_for(self, name: str, count: int) -> None:
        """Return once the method *name* was called that often."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.results(name)) >= count, PATIENCE), self.heard


def _hear(name: str) -> Callable[[EventLog, TokenEvent], None]:
    def hear(self: EventLog, event: TokenEvent) -> None:
        with self.changed:
            self.heard.append((name, event))
            self.changed.notify_all()

    return hear


EVENTS = [name for name in vars(TokenListener) if not name.startswith("_")]
for _name in EVENTS:
    if _name != "cache_hit":
        setattr(EventLog, _name, _hear(_name))


class FullEventLog(EventLog):
    """Hears fresh hits too."""

    cache_hit = _hear("cache_hit")


def ask(work: Callable[[], Any], count: int = 1) -> list["Future[Any]"]:
    """Run *work* in *count* daemon threads; return what each will have returned or raised."""
    futures: list[Future[Any]] = [Future() for _ in range(count)]

    def run(future: "Future[Any]") -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    for future in futures:
        threading.Thread(target=run, args=(future,), daemon=True, name="caller").start()
    return futures


def outcomes(futures: "list[Future[Any]]") -> list[Any]:
    """Wait for all and return what each returned or raised."""
    return [future.exception(PATIENCE) or future.result(PATIENCE) for future in futures]


@dataclass
class Harness:
    """A manager, its source and its clock."""

    clock: Any
    source: ScriptedSource
    manager: TokenManager
    ears: EventLog
    futures: "list[Future[Any]]" = field(default_factory=list)

    def ask(self, count: int = 1, **options: Any) -> "list[Future[Any]]":
        """Have *count* threads call ``get_token``."""
        return ask(lambda: self.manager.get_token(**options), count)

    def parked(self, count: int = 1) -> None:
        """Wait until *count* threads sleep: the renewal thread, once it runs and is idle, and those who wait."""
        self.clock.wait_until_parked(count)

    def asleep(self, count: int = 1) -> None:
        """Wait until *count* callers sleep, whatever the refresh thread does: it, too, may be one who is parked."""
        clock, listed = self.clock, self.manager._engine._renewed
        with clock._changed:
            assert clock._changed.wait_for(
                lambda: count <= len({one.mailbox for one in clock._sleepers} & listed._mailboxes), PATIENCE
            )

    def napping(self) -> None:
        """Wait until the refresh thread naps, though what it has begun is not done.

        Who moves the clock a moment before makes that nap too long.
        """
        clock, bell = self.clock, self.manager._engine._thread._doorbell
        with clock._changed:
            assert clock._changed.wait_for(lambda: bell in {one.mailbox for one in clock._sleepers}, PATIENCE)

    def landed(self, count: int) -> None:
        """Wait until so many attempts have landed, superseded ones included."""
        self.ears.wait_for("token_refresh", count)

    def advance(self, seconds: float) -> None:
        """Let time pass while the renewal thread is idle, and wait until it is idle again."""
        self.parked()
        self.clock.advance(seconds)
        self.parked()

    def live(self, seconds: float, at_each_step: Callable[[], Any] = lambda: None) -> None:
        """Let time pass from one wake-up of the idle renewal thread to the next."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.parked()
            at_each_step()
            self.parked()
            self.clock.advance(min(self.clock.until_next_wake, end - self.clock.monotonic()))
        self.parked()


@contextmanager
def managed(
    *,
    clock: Clock | None = None,
    lifetime: float | None = 3600.0,
    storage: TokenStorage | None = None,
    policy: RefreshPolicy = STEADY,
    background: bool = True,
    ears: EventLog | None = None,
) -> Iterator[Harness]:
    """Make a harness; whatever hangs at the end is let go."""
    clock = clock or FakeClock()
    source = ScriptedSource(clock, lifetime)
    ears = ears or EventLog()
    manager = TokenManager(source, storage, policy=policy, listeners=[ears], background=background, clock=clock)
    try:
        yield Harness(clock, source, manager, ears)
    finally:
        manager.stop()
        source.let_go()
        manager.close(grace=PATIENCE)
