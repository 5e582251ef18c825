"""A program: signals whose handler raises fall into renewals until so many did; it prints what came of it, as JSON.

``python storm.py led|background none|memory|file|http SIGNALS [SEED]``: by hand with 20000, and by the tests with less.
A program of its own, because what it looks for is a process that hangs: it ends itself, with every thread's stack.
"""

import collections
import faulthandler
import json
import logging
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

from tokenkit import ClientCredentialsFetcher, RefreshPolicy, TokenManager
from tokenkit.contracts import FetchContext, TokenProvider
from tokenkit.errors import TokenKitError
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token

LIMIT = 0.5  # seconds that each caller gives
POLICY = RefreshPolicy(
    initial_retry_timeout=0.001,
    max_retry_timeout=0.001,
    lock_timeout=0.3,
    refresh_request_timeout=2,
    min_renewal_interval=0,
)
WATCH = 30.0  # seconds without a signal taken, after which the process hangs


class Interrupt(BaseException):
    pass


class Source(TokenProvider):
    service_name = "storm"

    def __init__(self) -> None:
        self.number = 0

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        self.number += 1
        now = datetime.now(timezone.utc)
        return Token(f"t{self.number}", issued_at=now, expires_at=now + timedelta(hours=1))


class Times:
    """How far beyond their limit callers came back."""

    def __init__(self) -> None:
        self.calls = self.late = self.very_late = 0
        self.worst = 0.0
        self.errors: collections.Counter[str] = collections.Counter()

    def call(self, manager: TokenManager) -> None:
        began = time.monotonic()
        try:
            manager.get_token(LIMIT)
        except (TokenKitError, RuntimeError) as error:
            self.errors[type(error).__name__] += 1
        finally:
            beyond = time.monotonic() - began - LIMIT
            self.calls += 1
            self.late += beyond > 0.05
            self.very_late += beyond > 1
            self.worst = max(self.worst, beyond)


def others(manager: TokenManager, times: Times, over: threading.Event) -> None:
    """Ask from another thread, which no signal falls into."""
    while not over.wait(0.001):
        manager.invalidate_token()
        times.call(manager)


def rain(manager: TokenManager, signals: int, span: float, mine: Times) -> int:
    armed, fallen = False, 0

    def strike(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupt

    signal.signal(signal.SIGALRM, strike)
    while fallen < signals:
        faulthandler.dump_traceback_later(WATCH, exit=True)
        try:
            try:
                manager.invalidate_token()
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-6, span))
                mine.call(manager)
            finally:
                armed = False
        except Interrupt:
            fallen += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    return fallen


def storage_of(kind: str, rest: ExitStack) -> Any:
    if kind == "file":
        return FileTokenStorage(rest.enter_context(tempfile.TemporaryDirectory()))
    return InMemoryTokenStorage() if kind == "memory" else None


def main(how: str, kind: str, signals: int) -> None:
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None  # an interrupt may fall into a __del__
    mine, theirs, over = Times(), Times(), threading.Event()
    with ExitStack() as rest:
        source: Any = Source()
        if kind == "http":
            idp = rest.enter_context(LocalIdP())
            idp.add_client("client", "secret")
            source = ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret="secret")
        storage = storage_of(kind, rest)
        manager = TokenManager(source, storage, background=how == "background", policy=POLICY)
        other = threading.Thread(target=others, args=(manager, theirs, over), daemon=True)
        other.start()
        began = time.monotonic()
        fallen = rain(manager, signals, {"http": 0.005, "file": 0.0015}.get(kind, 0.0004), mine)
        seconds = time.monotonic() - began
        over.set()
        other.join(10)
        manager.invalidate_token()
        began = time.monotonic()
        after = manager.get_token(5)
        took = time.monotonic() - began
        manager.close(1)
    faulthandler.cancel_dump_traceback_later()
    report = {
        "signals": fallen,
        "calls": mine.calls + theirs.calls,
        "late": mine.late + theirs.late,
        "very_late": mine.very_late + theirs.very_late,
        "worst": round(max(mine.worst, theirs.worst), 3),
        "errors": dict(mine.errors + theirs.errors),
        "hung": other.is_alive(),
        "after": round(took, 3) if after else None,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    random.seed(int(sys.argv[4]) if len(sys.argv) > 4 else None)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
