"""What a manager holds: its token, when that is due, what failed last, and what was rejected.

Rules without a lock or a thread of their own; all of it is guarded by the lock of the engine that has it.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal, NamedTuple, final

from tokenkit._dataclasses import dataclass, replace
from tokenkit._sources.judging import is_newer
from tokenkit.clock import Clock
from tokenkit.contracts import Challenge
from tokenkit.errors import AuthenticationError
from tokenkit.manager._predecessor import Predecessor
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Rejection", "RejectionLimit", "Snapshot", "TokenState"]

_LONGEST_INTERVAL = 60.0  # seconds: what the interval between renewals for rejected tokens grows to


@final
@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A held token and its deadlines. Never changed: readers take one reference and see one whole state."""

    token: Token
    asked_at: float  # when the attempt began that asked the source for it; -inf: found in the storage
    due_at: float
    expired_at: float
    landed_at: float
    generation: int  # how many tokens came before it in this process
    challenge: Challenge | None  # what the source was told when it gave this
    exempt: bool  # a first fetch, or one that the user asked for: may be replaced at any age


class Rejection(NamedTuple):
    """Why a token is to be given up."""

    token: Token | None
    """What a resource refused; None: the user wants another than is held."""
    counted: bool
    """Whether the token that follows must live a while before its rejection costs a renewal too."""
    trusted: bool = False
    """The token is known to have been good before, so that its age does not matter."""
    challenge: Challenge | None = None
    """What the resource said, for the source."""
    earlier: Challenge | None = None
    """What it said to the same request before, which the source may not have heard: another was first."""


@final
class RejectionLimit:
    """How old a renewed token must be for its rejection to cost a renewal. Guarded by the engine's lock.

    A resource that answers 401 to every token must not cost a renewal per request. The interval doubles from each
    token that was rejected young to the next, up to 60 seconds, and is short again after a token that was not.
    """

    __slots__ = ("_interval", "_shortest", "_was_hit")

    def __init__(self, interval: float) -> None:
        self._shortest = interval
        self._interval = interval
        self._was_hit = False  # whether the token held now was rejected young

    @property
    def is_throttling(self) -> bool:
        """Whether some resource rejects tokens that are too young to be bad."""
        return self._was_hit or self._interval > self._shortest

    def counts_at(self, landed_at: float) -> float:
        """Return from when on a rejection of the token that landed then costs a renewal."""
        return landed_at + self._interval

    def allows(self, snapshot: Snapshot, now: float) -> bool:
        """Return whether a rejection of *snapshot*'s token may cost a renewal now."""
        if snapshot.exempt or now >= self.counts_at(snapshot.landed_at):
            return True
        self._was_hit = True
        return False

    def land(self) -> None:
        """Note that another token takes the place of the one held."""
        longest = max(_LONGEST_INTERVAL, self._shortest)
        self._interval = min(self._interval * 2, longest) if self._was_hit else self._shortest
        self._was_hit = False


@final
class TokenState:
    """The token and all that decides when another is wanted. Guarded by the engine's lock; kept over a fork."""

    def __init__(self, policy: RefreshPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self.limit = RejectionLimit(policy.seconds("min_renewal_interval"))
        self._exempt = True  # whether the next token may be rejected at any age: it is a first one
        self._failures = 0  # attempts in a row that failed
        self.snapshot: Snapshot | None = None  # also read without the lock: one reference, replaced whole
        self.predecessor = Predecessor()
        self.weigh_until: float | None = None  # while it matters who takes the token held; also reset without the lock
        self.known: Token | None = None  # the newest token known, usable or not; its refresh token may be spent
        self.rejected: Token | None = None  # never to be adopted again
        self.challenge: Challenge | None = None  # what was said when that was rejected, until the source has heard it
        self._missing = "first"  # why there is no token, where there is none
        self._asked_again = False  # whether the token held, or the next, is for one who joined another's attempt before
        self.generations = 0  # how many tokens have landed
        self.wanted = False  # whether a renewal was requested and none has landed since
        self.failure: AuthenticationError | None = None  # why the last attempt failed, if it did
        self._not_before = -math.inf  # no renewal that nobody waits for before
        self.retry_at = -math.inf  # nor one that a caller waits for
        self.poll_at = math.inf  # when to look into the storage
        self.used_at = clock.monotonic()  # the last call; written by any thread, as one reference
        self._idle_after = math.inf if policy.idle_after is None else policy.seconds("idle_after")

    def usable(self, now: float) -> Snapshot | None:
        """Return what is held, if it may still be sent."""
        snapshot = self.snapshot
        return snapshot if snapshot is not None and now < snapshot.expired_at else None

    def is_wanted(self, now: float) -> bool:
        """Return whether there is no usable token or a renewal was requested. Needs no lock: a hint."""
        return self.wanted or self.usable(now) is None

    def name(self, now: float) -> Literal["fresh", "due", "expired", "absent"]:
        """Return in which of its states the token is."""
        held = self.snapshot
        if held is None:
            return "absent"
        return "fresh" if now < held.due_at else "due" if now < held.expired_at else "expired"

    def reason(self, now: float) -> str:
        """Return why another token is wanted, in a word of :class:`~tokenkit.events.TokenEvent`."""
        if self.snapshot is None:
            return self._missing
        if self.wanted:
            return "requested"
        return "due" if now < self.snapshot.expired_at else "expired"

    def next_try_at(self, now: float) -> float:
        """Return when the next attempt may begin after one that failed."""
        return self.retry_at if self.usable(now) is None else self._not_before

    def is_idle(self, now: float) -> bool:
        """Return whether nobody has asked for so long that nothing is renewed ahead any more."""
        return now - self.used_at >= self._idle_after

    def renew_at(self, now: float) -> float:
        """Return when a renewal should begin, whether or not a caller waits for it."""
        if self.wanted:
            return self.retry_at
        if self.snapshot is None or self.is_idle(now):
            return math.inf
        return max(self.snapshot.due_at, self._not_before)

    def see_wall(self, now: float) -> None:
        """Make the token due when it expires by the wall clock: a restored machine's other clock stood still.

        Until when it is used stays as it was, since the wall clock may be the wrong one.
        """
        held = self.snapshot
        left = None if held is None else held.token.expires_in(self._clock.now())
        if held is not None and left is not None and now + max(left, 0.0) < held.due_at:
            self.snapshot = replace(held, due_at=now + max(left, 0.0))

    def publish(
        self, token: Token, now: float, *, asked_at: float, challenge: Challenge | None = None, ahead: bool = False
    ) -> None:
        """Hold *token* from *now* on. May be repeated, should an interrupt fall in: the generation is counted last.

        Args:
            token: It.
            now: The monotonic time.
            asked_at: When the attempt began in which the source gave it; -inf: it was found in the storage.
            challenge: What the source was told for it.
            ahead: Whether it was wanted for no other reason than that the token held was due.
        """
        wall, adopted = self._clock.now(), asked_at == -math.inf
        due_in, usable_for = self._policy.window(token, wall, just_fetched=not adopted)
        if adopted:
            due_in = min(due_in, self._found_due_in(token, wall))
        self._not_before = -math.inf if adopted else now + self._policy.seconds("min_renewal_interval")
        self._asked_again = self._asked_again and self.snapshot is None
        if not self._asked_again:  # else it belongs to the token before it, as far as the interval goes
            self.limit.land()
        held = self.snapshot
        if held is None or not ahead or self.wanted:
            self.predecessor.drop()
        elif held.token is not token:  # else this is repeated
            self.predecessor.keep(held.token, token, now=now, expired_at=held.expired_at)
        self.weigh_until = max(self.limit.counts_at(now), self.predecessor.kept_until)
        self.known = token
        self.snapshot = Snapshot(
            token,
            asked_at=asked_at,
            due_at=now + min(due_in, usable_for),  # until then nobody looks at the expiry
            expired_at=now + usable_for,
            landed_at=now,
            generation=self.generations + 1,
            exempt=self._exempt,
            challenge=None if adopted else challenge,
        )
        self._exempt = self.wanted = False
        self.challenge = None
        self._failures, self.failure, self.retry_at = 0, None, -math.inf
        self.poll_at = now + (self._policy.seconds("storage_poll") or math.inf)
        self.generations += 1

    def _found_due_in(self, token: Token, wall: datetime) -> float:
        """Return when a token from the storage is due at the latest, as its margins say."""
        left = token.expires_in(wall)
        if left is None:
            return math.inf
        if not self.generations and left <= self._policy.seconds("initial_safety_margin"):
            return 0.0
        return left - self._policy.seconds("retry_safety_margin")

    def is_improved_by(self, token: Token) -> bool:
        """Return whether *token*, which comes late or from the storage, is newer than all that was held."""
        if self.rejected is not None and token.access_token == self.rejected.access_token:
            return False
        return self.known is None or is_newer(token, self.known)

    def fail(self, error: AuthenticationError, now: float) -> None:
        """Note that an attempt failed; what is held stays."""
        self._failures += 1
        self.failure = error.with_traceback(None)  # whose frames hold the source's variables
        self.retry_at = self._not_before = now + self._policy.retry_delay(self._failures, error)
        held = self.usable(now)
        if held is not None:
            self._not_before = now + self._policy.retry_delay(self._failures, error, usable_for=held.expired_at - now)
        if not error.transient:
            self.challenge = None  # the source has heard it and said no: it must not stand in the way for ever

    def end_pause(self) -> None:
        """Let the next attempt begin at once: what was refused has been replaced."""
        self.retry_at = self._not_before = -math.inf

    def give_up(self, rejection: Rejection, now: float) -> bool | None:
        """Drop the token if it is the one rejected, or whichever it is where that is None.

        Returns:
            True: dropped. None: another one is held by now. False: too young for its rejection to cost a renewal.
        """
        rejected, earlier = rejection.token, rejection.earlier
        self.predecessor.drop(rejected)
        snapshot = self.snapshot
        if snapshot is None or (rejected is not None and snapshot.token.access_token != rejected.access_token):
            return None
        asks_again = not self._asked_again and (
            earlier is not None and earlier.wants_more and earlier != snapshot.challenge  # which the source was told
        )
        if rejection.counted and not (rejection.trusted or asks_again or self.limit.allows(snapshot, now)):
            return False
        self.snapshot = None
        self.rejected = snapshot.token
        self._missing = "requested" if rejected is None else "rejected"
        self.challenge = rejection.challenge
        self._asked_again = asks_again  # once: those who want different tokens would take turns for ever
        self._exempt = not rejection.counted
        return True
