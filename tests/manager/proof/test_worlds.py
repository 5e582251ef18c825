"""Worlds of threads, failures and hung fetches, each in its own order; and mutants, which are caught.

``TOKENKIT_DEPTH=10`` visits 3,000, as CI does, and ``TOKENKIT_WORLD=17`` one again.
"""

import gc
import logging
import math
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.baton import Baton, BatonClock, Stuck
from support.interrupts import DEPTH, unmeasured

from tokenkit import RefreshPolicy, TokenManager
from tokenkit._refresh_thread import RefreshThread
from tokenkit.contracts import FetchContext, TokenProvider
from tokenkit.errors import AuthenticationError, RenewalTimeoutError, TokenKitError
from tokenkit.manager._attempts import Attempt, Run
from tokenkit.manager._condition import RenewalCondition
from tokenkit.manager._engine import Engine
from tokenkit.manager._predecessor import Predecessor
from tokenkit.manager._schedule import Call, Schedule
from tokenkit.tokens import Token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), unmeasured]

WORLDS = 300 * DEPTH
PARTS = 6  # to be shared out among workers
LIFE = 100.0
LIMIT = 5.0  # seconds that a fetch may take


class World:
    """One seed's."""

    def __init__(self, seed: int) -> None:
        self.baton = Baton(seed)
        self.random = self.baton.random
        self.wrong: list[str] = []
        self.calm = False
        self.clock = BatonClock(self.baton)
        self.source = Source(self)
        policy = RefreshPolicy(
            refresh_request_timeout=LIMIT,
            jitter=0,
            initial_retry_timeout=1,
            max_retry_timeout=5,
            min_renewal_interval=self.random.choice([0, 1]),
        )
        self.led = self.random.random() < 0.3
        self.manager = TokenManager(self.source, policy=policy, clock=self.clock, background=not self.led)
        self.busy = 0
        self._newest = -1.0

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(f"t={self.baton.now - 1000:.3f} {what}")

    def live(self) -> None:
        callers = [threading.Thread(target=self.call, daemon=True) for _ in range(self.random.randrange(2, 5))]
        self.busy = len(callers)
        for one in callers:
            one.start()
        self.baton.wait(lambda: not self.busy)
        self.calm = True
        self.baton.wait(lambda: False, 12 * LIMIT)  # whatever hangs is back by then
        self.check_calm()
        self.manager.stop()
        self.baton.wait(lambda: False, 200)

    def check_calm(self) -> None:
        try:
            token = self.manager.force_refresh()
        except TokenKitError as error:
            self.check(False, f"in calm weather: {error!r}")
            return
        self.check(token is self.manager.current, "force_refresh gave a token that is not held")
        if self.led:
            return
        fetches = self.source.number
        if self.random.random() < 0.5:
            moment = LIFE * 0.8 + self.random.choice([0, 1e-5, 1])  # a datetime is rounded
            threading.Thread(target=self.reject, args=(token, moment), daemon=True).start()
        self.baton.wait(lambda: False, LIFE * 0.85)  # else nobody asks: the thread alone renews
        self.check(self.source.number > fetches, "nothing is renewed ahead of expiry")
        began = self.baton.now
        self.manager.get_token()
        self.check(self.baton.now == began, "a caller waited although the token was renewed ahead")

    def reject(self, token: Token, after: float) -> None:
        """Give up *token* just as it becomes due: whichever comes first, it is no predecessor then."""
        try:
            self.baton.wait(lambda: False, after)
            self.manager.invalidate_token(token)
            held = self.manager.get_token()
            kept = self.manager._engine.state.predecessor.of(held, self.baton.now)  # what the auth asks for
            self.check(kept is not token, "a token that was rejected is kept as a predecessor")
        except Stuck:
            pass

    def call(self) -> None:
        try:
            for _ in range(self.random.randrange(1, 4)):
                self.act(self.random.choice(["get", "get", "get", "force", "invalidate", "request", "rest"]))
        except Stuck:
            pass
        except Exception as error:
            self.check(False, f"a caller failed by {error!r}")
        finally:
            self.busy -= 1

    def act(self, what: str) -> None:
        began, limit = self.baton.now, self.random.choice([0.5, LIMIT, 3 * LIMIT])
        fetches = self.source.starts
        needed = 1 if self.source.open else 2  # fetches that begin while it waits for long: each hangs after LIMIT
        token: Token | None = None
        late = False
        try:
            if what == "get":
                token = self.manager.get_token(limit)
            elif what == "force":
                token = self.manager.force_refresh(limit)
            elif what == "invalidate":
                self.manager.invalidate_token()
            elif what == "request":
                self.manager.request_renewal()
            else:
                self.baton.wait(lambda: False, self.random.choice([0.3, 3, LIFE / 2, LIFE]))
                return
        except RenewalTimeoutError:
            late = True
        except AuthenticationError:
            pass
        took = self.baton.now - began
        self.check_order()
        self.check(self.led or took <= limit + 1e-6, f"{what} took {took:.3f} of {limit} s")
        self.check(not late or took >= limit - 1e-6, f"{what} gave up after {took:.3f} of {limit} s")
        if took > 2 * LIMIT and not self.led:
            self.check(self.source.starts - fetches >= needed, "a fetch that hangs was not superseded")
        if token is not None:
            came = self.source.ended[token.access_token]
            late_by = self.baton.now - max(came, began)
            self.check(self.led or late_by <= 1e-6, f"{what} came back {late_by:.3f} s after its token")
            self.check(not token.is_expired(self.clock.now()), f"{what} gave an expired token")
            if what == "force":
                self.check(self.source.begun[token.access_token] >= began, "force_refresh gave a token of before")

    def check_order(self) -> None:
        """A token that is held was asked for no earlier than any that was held before."""
        held = self.manager.current
        if held is not None:
            begun = self.source.begun[held.access_token]
            self.check(begun >= self._newest, "an older token took the place of a newer one")
            self._newest = max(self._newest, begun)


class Source(TokenProvider):
    service_name = "world"

    def __init__(self, world: World) -> None:
        self._world = world
        self.number = 0
        self.begun: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.open: list[float] = []
        self.starts = 0

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        world = self._world
        began = world.baton.now
        self.starts += 1
        for other in self.open:
            world.check(began - other >= LIMIT - 1e-6, f"another fetch {began - other:.3f} s after one that still runs")
        self.open.append(began)
        try:
            return self._answer(began)
        finally:
            self.open.remove(began)

    def _answer(self, began: float) -> Token:
        world = self._world
        kind = "ok" if world.calm else world.random.choice(["ok", "ok", "slow", "fail", "hang"])
        if kind in ("slow", "hang"):
            world.baton.wait(lambda: False, {"slow": 1.0, "hang": LIMIT * 2.5}[kind])
        if kind == "fail":
            raise AuthenticationError("down", transient=True)
        self.number += 1
        name = f"t{self.number}"
        issued = world.clock.now() - timedelta(seconds=world.baton.now - began)  # when it was asked for
        self.begun[name], self.ended[name] = began, world.baton.now
        return Token(name, issued_at=issued, expires_at=issued + timedelta(seconds=LIFE))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(RefreshPolicy.retry_delay, "__defaults__", (lambda: 0.5,))  # no chance but the seed's
    logging.disable(logging.CRITICAL)
    gc.disable()  # a collection runs callbacks, at moments that no seed decides
    yield
    gc.enable()
    logging.disable(logging.NOTSET)


def visit(seed: int) -> list[str]:
    """Return what is wrong in the world of *seed*."""
    world = World(seed)
    try:
        world.baton.run(world.live)
    except Stuck as stuck:
        world.wrong.append(str(stuck))
    return [f"seed {seed}: {one}" for one in world.wrong]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_order_of_events_breaks_a_promise(part: int) -> None:
    """Nobody waits beyond a limit or for ever, gets a token that is expired or older, or is left without one."""
    alone = os.environ.get("TOKENKIT_WORLD")
    seeds = [int(alone)] if alone else range(part, WORLDS, PARTS)
    wrong: list[str] = []
    for number, seed in enumerate(seeds):
        wrong += visit(seed)
        if number % 50 == 0:  # each would cost more than a world
            gc.collect()
        if len(wrong) > 5:
            break
    assert [] == wrong


def _publish(self: Schedule, run: Run, token: Token, now: float) -> bool:
    self.state.publish(token, now, asked_at=now)
    return True


def _wait(self: Engine, call: Call) -> Token:
    while True:
        with self._lock:
            now = self._clock.monotonic()
            found = self._schedule.consult(call, now)
            mailbox = self._renewed.join()
        if isinstance(found, Token):
            return found
        if isinstance(found, float):
            self._nap(mailbox, found - now)
            continue
        self._clock.nap(mailbox, 1e-7)  # a moment in which another caller may offer it
        if found.offered:
            self._run(found, until=call.deadline)
        else:
            self._offer()


# What each mutant breaks is private: a name that is gone here has moved with the rule that it stands for.
MUTANTS = {
    "no notification on landing": (RenewalCondition, "notify_all", lambda self: None),
    "a hung one is never superseded": (Attempt, "hangs_at", property(lambda self: math.inf)),
    "a claim is ignored": (Schedule, "may_start", lambda self, attempt: True),
    "a late result is published": (Schedule, "_hold", _publish),
    "what a caller leads is decided without the lock": (Engine, "_wait", _wait),
    "what was rejected is kept as a predecessor": (Predecessor, "drop", lambda self, rejected=None: None),
    "the thread is not woken": (RefreshThread, "tell", lambda self, ticket, moment: None),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_caught(mutant: tuple[type, str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the rules that hold the engine together is taken away, and a world tells."""
    monkeypatch.setattr(*mutant)
    assert any(told for seed in range(200) for told in visit(seed))
