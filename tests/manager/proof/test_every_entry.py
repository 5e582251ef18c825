"""An interrupt at each function entry of a renewal, one after the other: nothing is lost, and nobody is left waiting.

A signal's handler runs between two instructions; on CPython those of a function's entry are among them, so it may fall
there. Which are the places is found by tracing, so that a new one is tried as soon as it is written.
"""

import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.interrupts import unmeasured
from support.rotating import RotatingSource, TellingClock

import tokenkit
from tokenkit import RefreshPolicy, TokenManager
from tokenkit.contracts import FetchContext
from tokenkit.fetchers import CallableTokenFetcher
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock
from tokenkit.tokens import Token

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    unmeasured,
    # Where it falls into a generator's end, from CPython 3.14 on: nobody is told there, as in a ``__del__``.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PACKAGE = str(Path(tokenkit.__file__).parent)
TESTING = str(Path(PACKAGE, "testing"))  # what falls into the test's own clock says nothing
POLICY = RefreshPolicy(
    initial_retry_timeout=0.01,
    max_retry_timeout=0.02,
    lock_timeout=0.2,
    refresh_request_timeout=8,
    min_renewal_interval=0,
)
LIMIT = 10.0  # seconds that a caller is waited for here
LATEST = 4.0  # seconds after which a token must be there: a wait is cut to one, and a loaded machine adds to that


class Interrupt(BaseException):
    pass


class Entries:
    """Raises Interrupt at the *number*-th function entry in the package's own code, in a thread that asks for it."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.armed = False
        self.place: str | None = None

    def trace(self, frame: FrameType, event: str, arg: object) -> Any:
        file = frame.f_code.co_filename
        if self.armed and self.place is None and file.startswith(PACKAGE) and not file.startswith(TESTING):
            self._left -= 1
            if self._left <= 0:
                self.place = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
                raise Interrupt
        return None


class Waiter:
    """A caller in a thread of its own, waiting for the renewal that is interrupted."""

    def __init__(self, manager: TokenManager, clock: TellingClock) -> None:
        self._manager = manager
        self._clock = clock
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._parked = clock.expect(self._thread)
        self.said: str | None = None
        self.seconds = 0.0

    def start(self) -> None:
        """Start it once; return when it waits."""
        if self._thread.ident is None:
            self._thread.start()
            assert self._parked.wait(LIMIT)

    def _ask(self) -> None:
        sys.settrace(None)  # it is not the one to interrupt
        began = self._clock.monotonic()
        try:
            self._manager.get_token(LIMIT)
            self.said = "token"
        except Exception as error:
            self.said = repr(error)
        self.seconds = self._clock.monotonic() - began

    def end(self) -> str:
        if self._thread.ident is not None:
            self._thread.join(LIMIT)
        return "late" if self._thread.is_alive() or self.seconds > LATEST else self.said or "token"


def renewals(number: int, stored: bool, background: bool) -> tuple[str | None, list[str]]:
    """Interrupt one renewal at its *number*-th entry; return the place, and what was wrong afterwards."""
    clock, source, entries = TellingClock(), RotatingSource(), Entries(number)
    storage = InMemoryTokenStorage() if stored else None
    manager = TokenManager(source, storage, background=background, policy=POLICY, clock=clock)
    wrong = []
    threading.settrace(entries.trace)
    if not background:
        sys.settrace(entries.trace)
    try:
        manager.get_token(LIMIT)
        manager.invalidate_token()
        waiter = Waiter(manager, clock)
        source.during = waiter.start
        entries.armed = True
        manager.get_token(LIMIT)
    except Interrupt:
        pass
    except Exception as error:
        if not background:
            wrong.append(f"it came out as {error!r}")
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
    entries.armed = False
    if entries.place is None:
        manager.close(0)
        return None, []
    source.during = int
    if (said := waiter.end()) != "token" and not (background and said != "late"):
        wrong.append(f"who waited: {said}")
    manager.invalidate_token()
    later = Waiter(manager, clock)
    later._thread.start()
    if (said := later.end()) != "token":
        wrong.append(f"who came later: {said}")
    if source.reused:
        wrong.append("a refresh token was lost")
    manager.close(0)
    return entries.place, [f"{entries.place}: {one}" for one in wrong]


@pytest.mark.parametrize("stored", [False, True], ids=["alone", "stored"])
@pytest.mark.parametrize(
    "background",
    [
        pytest.param(False, id="led"),
        pytest.param(True, id="background"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of a thread that it ended
def test_an_interrupt_at_every_entry_costs_nothing(stored: bool, background: bool) -> None:
    """It leaves no lock, no waiter and no refresh token behind, wherever it falls into a renewal."""
    number, wrong = 0, []
    while True:
        number += 1
        place, found = renewals(number, stored, background)
        if place is None:
            break
        wrong += found
    assert [] == wrong
    assert number > 50


def renewed_ahead(number: int, stored: bool) -> tuple[str | None, bool]:
    """Interrupt a renewal that nobody waits for; return the place, and whether the token was renewed all the same."""
    clock, entries, life = FakeClock(), Entries(number), 1000.0

    def fetch(context: FetchContext) -> Token:
        return Token(f"t{clock.monotonic():g}", issued_at=clock.now(), expires_at=clock.now() + timedelta(seconds=life))

    storage = InMemoryTokenStorage() if stored else None
    manager = TokenManager(CallableTokenFetcher(fetch), storage, policy=RefreshPolicy(jitter=0), clock=clock)
    threading.settrace(entries.trace)
    try:
        first = manager.get_token(LIMIT)
        clock.wait_until_parked()
        entries.armed = True
        clock.advance(0.8 * life)
        for step in (2.0, 30.0, 60.0, 60.0):  # seconds, of the 190 before it expires
            with suppress(AssertionError):  # where it cost the thread itself, or a worker its work
                clock.wait_until_parked(timeout=1.0)
            if manager.current is not first:
                break
            clock.advance(step)
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
    entries.armed = False
    renewed = manager.current is not first
    manager.close(0)
    clock.advance(60)
    return entries.place, renewed


@pytest.mark.parametrize("stored", [False, True], ids=["alone", "stored"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of a thread that it ended
def test_an_interrupt_at_every_entry_of_the_threads_leaves_no_token_to_expire(stored: bool) -> None:
    """A token that is due is renewed in time though nobody asks, wherever it falls into the thread or its worker."""
    number, late = 0, []
    while True:
        number += 1
        place, renewed = renewed_ahead(number, stored)
        if place is None:
            break
        if not renewed:
            late.append(place)
    assert [] == late
    assert number > 30
