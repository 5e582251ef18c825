"""What a manager holds: deadlines, back-off, and the strikes of tokens rejected young; without lock or thread."""

import math
from datetime import datetime, timedelta, timezone

import pytest
from support.scripted import STEADY, down

from tokenkit import RefreshPolicy, Token, TokenEndpointError
from tokenkit.manager._state import Rejection, TokenState
from tokenkit.testing import FakeClock

HOUR = 3600.0


class Held:
    """A holding and its clock."""

    def __init__(self, policy: RefreshPolicy = STEADY) -> None:
        self.clock = FakeClock()
        self.state = TokenState(policy, self.clock)

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def token(self, name: str = "token", lifetime: float | None = HOUR, age: float = 0) -> Token:
        issued = datetime.fromtimestamp(self.clock.time() - age, timezone.utc)
        return Token(
            name, issued_at=issued, expires_at=None if lifetime is None else issued + timedelta(seconds=lifetime)
        )

    def publish(self, name: str = "token", *, adopted: bool = False, **facts: float) -> Token:
        token = self.token(name, **facts)
        self.state.publish(token, self.now, asked_at=-math.inf if adopted else self.now)
        return token

    def improve(self, token: Token) -> bool:
        better = self.state.is_improved_by(token)
        if better:
            self.state.publish(token, self.now, asked_at=-math.inf)
        return better

    def give_up(self, rejected: Token | None, **facts: bool) -> bool | None:
        return self.state.give_up(Rejection(rejected, **facts), self.now)


@pytest.fixture
def held() -> Held:
    return Held()


def test_nothing_at_first(held: Held) -> None:
    """There is no token, one is wanted, and nobody asks the thread to fetch it."""
    assert (None, True) == (held.state.usable(held.now), held.state.is_wanted(held.now))
    assert (float("inf"), float("inf")) == (held.state.renew_at(held.now), held.state.poll_at)


def test_deadlines_count_from_the_landing(held: Held) -> None:
    """Due at eight tenths of the lifetime, expired ten seconds before its end, on the monotonic clock."""
    held.publish()
    snapshot = held.state.snapshot
    assert (0.8 * HOUR, HOUR - 10) == pytest.approx((snapshot.due_at - held.now, snapshot.expired_at - held.now))
    assert (snapshot, None) == (held.state.usable(held.now), held.state.usable(snapshot.expired_at))


def test_jitter_draws_the_moment_forward() -> None:
    """Of many managers with the same token none is due at the same time."""
    due = set()
    for _ in range(50):
        held = Held(RefreshPolicy())
        held.publish()
        due.add(held.state.snapshot.due_at - held.now)
    assert (50, True) == (len(due), all(0.7 * HOUR <= one <= 0.8 * HOUR for one in due))


@pytest.mark.parametrize("lifetime", [0.001, 0.5, 1, 10, 100, HOUR])
@pytest.mark.parametrize("left", [1, 0.5, 0.01, 0.0001])
@pytest.mark.parametrize("adopted", [True, False])
def test_a_token_is_due_before_it_expires(lifetime: float, left: float, adopted: bool) -> None:
    """Whatever its lifetime and age, nobody is told to use it longer than it lives."""
    held = Held(RefreshPolicy(jitter=0, min_renewal_interval=60))
    held.publish(adopted=adopted, lifetime=lifetime, age=lifetime * (1 - left))
    snapshot = held.state.snapshot
    assert snapshot.due_at <= snapshot.expired_at <= held.now + lifetime * left + 1e-6


def test_failures_back_off_and_a_token_forgives(held: Held) -> None:
    """Each failure delays the next attempt; what is held stays, and the next token clears the slate."""
    held.publish()
    held.state.fail(down(retry_after=7), held.now)
    held.state.wanted = True
    assert (7, True) == (held.state.renew_at(held.now) - held.now, held.state.usable(held.now) is not None)
    held.publish("another")
    assert (None, False) == (held.state.failure, held.state.wanted)
    assert held.state.renew_at(held.now) == held.state.snapshot.due_at


def test_a_permanent_refusal_delays_the_due_token(held: Held) -> None:
    """The thread comes back when the back-off is over, not when the token is due."""
    held.publish()
    held.clock.advance(0.8 * HOUR)
    held.state.fail(TokenEndpointError("no"), held.now)
    assert pytest.approx(71) == held.state.renew_at(held.now) - held.now  # a tenth of what is left


@pytest.mark.parametrize(("age", "better"), [(-1, True), (0, False), (1, False)])
def test_only_a_newer_token_improves(held: Held, age: float, better: bool) -> None:
    """A late result, or a find in the storage, counts if it was issued later."""
    held.publish()
    assert better == held.improve(held.token("late", age=age))
    assert ("late" if better else "token") == held.state.snapshot.token.access_token


def test_a_newer_token_improves_nothing(held: Held) -> None:
    """Where none is held a late one will do, but not the rejected one, nor one that is older than that."""
    rejected = held.publish()
    held.give_up(rejected, counted=False)
    assert not held.improve(rejected)
    assert not held.improve(held.token("older", age=5))
    assert held.improve(held.token("newer", age=-5))


def test_giving_up_tells_what_it_did(held: Held) -> None:
    """True where the token is dropped, None where another is held, False where it is too young."""
    first = held.publish("first")
    assert held.give_up(held.token("other"), counted=True) is None
    assert held.give_up(first, counted=True) is True
    assert (first, first) == (held.state.known, held.state.rejected)
    assert held.give_up(first, counted=True) is None
    second = held.publish("second")
    assert held.give_up(second, counted=True) is False
    assert held.give_up(second, counted=True, trusted=True) is True
    assert (second, second) == (held.state.known, held.state.rejected)


def test_strikes_double_the_interval(held: Held) -> None:
    """Each token rejected young doubles what the next must live, up to a minute; one that was not resets it."""
    held.give_up(held.publish(), counted=True)
    for interval in (1, 2, 4, 8, 16, 32, 60, 60):
        held.publish()
        held.clock.advance(interval - 0.001)
        assert held.give_up(None, counted=True) is False
        held.clock.advance(0.001)
        assert (True, True) == (held.state.limit.is_throttling, held.give_up(None, counted=True))
    held.publish()
    held.clock.advance(60)
    held.give_up(None, counted=True)
    held.publish()
    assert not held.state.limit.is_throttling


def test_a_token_found_at_the_start_may_count_as_due() -> None:
    """One with less than initial_safety_margin left is due at once, the first one only."""
    held = Held(RefreshPolicy(jitter=0, initial_safety_margin=1200))
    held.publish(adopted=True, age=0.7 * HOUR)
    assert held.state.snapshot.due_at <= held.now
    held.publish(adopted=True, age=0.7 * HOUR)
    assert held.state.snapshot.due_at > held.now


def test_a_token_found_later_is_due_so_long_before_its_end() -> None:
    """By retry_safety_margin, whichever it is; one that the source gave is not."""
    held = Held(RefreshPolicy(jitter=0, retry_safety_margin=1200))
    held.publish("first")
    assert pytest.approx(0.8 * HOUR) == held.state.snapshot.due_at - held.now
    held.publish("second", adopted=True)
    assert pytest.approx(HOUR - 1200) == held.state.snapshot.due_at - held.now


def test_pauses_beside_a_good_token_grow_with_what_is_left(held: Held) -> None:
    """To a tenth of that; who then finds no token any more waits for the ordinary one."""
    held.publish(lifetime=24 * HOUR)
    held.clock.advance(0.8 * 24 * HOUR)
    for _ in range(30):
        held.state.fail(TokenEndpointError("no"), held.now)
    assert 300 == held.state.renew_at(held.now) - held.now
    held.state.wanted = True
    assert 60 == held.state.renew_at(held.now) - held.now


def test_nothing_is_renewed_for_whom_nobody_asks() -> None:
    """After idle_after seconds without a call; the next one counts."""
    held = Held(RefreshPolicy(jitter=0, idle_after=600))
    held.publish()
    held.clock.advance(599)
    assert held.state.snapshot.due_at == held.state.renew_at(held.now)
    held.clock.advance(1)
    assert float("inf") == held.state.renew_at(held.now)
    held.state.used_at = held.now
    assert held.state.snapshot.due_at == held.state.renew_at(held.now)


@pytest.mark.parametrize(("poll", "expected"), [(300, 300), (0, float("inf"))])
def test_when_to_look_into_the_storage(poll: float, expected: float) -> None:
    """After each token anew; never, where the policy says 0."""
    held = Held(RefreshPolicy(storage_poll=poll))
    held.publish()
    assert expected == held.state.poll_at - held.now
