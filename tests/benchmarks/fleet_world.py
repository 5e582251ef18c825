"""What lies around the processes of a modelled fleet: time, an identity provider, storages and their locks."""

import heapq
import itertools
import random
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenProvider, TokenStorage
from tokenkit.errors import StorageLockTimeoutError, TokenEndpointError
from tokenkit.fetchers._transport import _policy as retries_of
from tokenkit.policy import RefreshPolicy
from tokenkit.storage import redis as redis_storage
from tokenkit.storage._locks import flock
from tokenkit.tokens import Token

__all__ = [
    "SHARINGS",
    "Day",
    "Group",
    "Host",
    "Member",
    "ModelClock",
    "Place",
    "Provider",
    "Sharing",
    "Timeline",
    "View",
]

EPOCH = 1_800_000_000.0  # wall time at the start


class Sharing(NamedTuple):
    """Which processes share a storage, and what that costs."""

    by: str | None
    """``host``: those of one host; ``fleet``: all; None: nobody."""
    trip: float = 0.0
    """Seconds of one call of it."""
    poll: float = 0.0
    """Seconds between two tries for a lock that another holds."""
    lease: float = 0.0
    """Seconds after which the lock of a process that was killed comes free."""


SHARINGS = {
    "no storage": Sharing(None),
    "a file on each host": Sharing("host", 0.0002, flock._POLL_INTERVAL),
    "one Redis": Sharing("fleet", 0.0005, redis_storage._POLL_INTERVAL, 60.0),
}


@dataclass(frozen=True)
class Day:
    """A fleet, and what happens to it. All moments and durations are seconds; None: it does not happen."""

    hosts: int = 1000
    per_host: int = 10
    seconds: float = 86400.0
    lifetime: float = 3600.0
    policy: RefreshPolicy = field(default_factory=RefreshPolicy)
    calls: float = 1.0
    """A second, of each process."""
    latency: tuple[float, float] = (0.1, 0.3)
    rotates: bool = False
    """Whether those who share have a grant whose refresh token is replaced at each use, and tells of reuse."""
    started_within: float = 300.0
    outages: tuple[tuple[float, float], ...] = ()
    """From when on and for how long each time the provider answers 503."""
    revoked_at: float | None = None
    """When all tokens of the fleet are revoked."""
    deployed: tuple[float, float] | None = None
    """From when on and within how long each process is killed and another started in its place."""
    clocks_wrong: tuple[float, float] | None = None
    """From when on, and by how much at most, the wall clocks of the hosts are wrong, either way."""


class Timeline:
    """The time of a fleet, what happens in it, and what is counted."""

    def __init__(self, day: Day, sharing: Sharing, seed: int) -> None:
        self.day, self.sharing, self.rng = day, sharing, random.Random(seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], Any]]] = []
        self._count = itertools.count()
        # What is counted:
        self.arrivals: Counter[int] = Counter()  # requests at the provider, by second
        self.issued: list[float] = []  # when each token was
        self.stalls: list[tuple[float, float, int]] = []  # from when on, how long, and whose call waited
        self.failures: list[tuple[float, int]] = []
        self.grants_lost: list[float] = []
        self.storage_calls = 0

    def at(self, moment: float, do: Callable[[], Any]) -> None:
        """Have *do* called at *moment*."""
        heapq.heappush(self._events, (moment, next(self._count), do))

    def live(self) -> None:
        """Do what happens, one after the other, until the day is over."""
        while self._events and self._events[0][0] <= self.day.seconds:
            self.now, _, do = heapq.heappop(self._events)
            do()

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Let time run ahead, for what takes some, and come back."""
        now = self.now
        try:
            yield
        finally:
            self.now = now

    def is_down(self) -> bool:
        return any(begins <= self.now < begins + seconds for begins, seconds in self.day.outages)

    def is_good(self, token: Token) -> bool:
        """Return whether the resources take *token* now."""
        issued_at, revoked_at = self.issued[int(token.access_token)], self.day.revoked_at
        is_revoked = revoked_at is not None and issued_at < revoked_at <= self.now
        return not is_revoked and self.now < issued_at + self.day.lifetime


class Host:
    """A machine: it has one wall clock."""

    wrong_by = 0.0


class ModelClock(Clock):
    """A host's, in the time of the fleet."""

    def __init__(self, fleet: Timeline, host: Host) -> None:
        self._fleet, self._host = fleet, host

    def time(self) -> float:
        return EPOCH + self._fleet.now + self._host.wrong_by

    def monotonic(self) -> float:
        return self._fleet.now

    def nap(self, mailbox: "SimpleQueue[None]", timeout: float | None) -> None:
        raise AssertionError("nobody waits in the model")


class Member(ABC):
    """One of those who share a storage."""

    def __init__(self, fleet: Timeline, group: "Group | None") -> None:
        self.grant = Grant() if group is None else group.grant
        self.undo: list[tuple[float, Callable[[], Any]]] = []  # what it has not done if it is killed before
        self.place: Place | None = None  # where it waits for a lock

    @abstractmethod
    def hear(self) -> None:
        """Hear that there is something new in the storage."""


@dataclass(eq=False)
class Grant:
    """What the provider knows of a grant."""

    refresh_token: str = "first"  # the one that may be spent
    uses: int = 0

    def spend(self, refresh_token: str) -> bool:
        """Replace it; return whether it was the right one."""
        was_right = refresh_token == self.refresh_token
        self.uses += 1
        self.refresh_token = f"refresh-{self.uses}"
        return was_right


@dataclass(eq=False, slots=True)
class Place:
    """Where a process waits for a lock."""

    process: Member
    since: float
    looks: tuple[float, ...]
    """After how many seconds it looks whether it needs no lock any more; the last is when it gives up."""
    finds: Callable[[], bool]
    go: Callable[[bool], None]
    """Called with whether the lock is held."""
    number: int = -1
    is_looking: bool = False
    """Whether a look that may find something is to come; others are not made one by one."""


class Group:
    """Those who share a storage: its entries, each with when it can be seen, and its lock."""

    def __init__(self, fleet: Timeline, sharing: Sharing) -> None:
        self.fleet, self.sharing = fleet, sharing
        self.asleep: dict[Member, None] = {}  # who is to hear of another token, in order
        self.entries: dict[str, list[tuple[float, Token]]] = defaultdict(list)
        self.holder: Member | None = None
        self.waiting: list[Place] = []
        self.grant = Grant()

    def seen(self, key: str) -> Token | None:
        for at, token in reversed(self.entries[key]):
            if at <= self.fleet.now:
                return token
        return None

    def put(self, key: str, token: Token, by: Member) -> None:
        entry = (self.fleet.now, token)
        entries = self.entries[key]
        entries.append(entry)
        entries.sort(key=lambda one: one[0])
        del entries[:-4]
        by.undo.append((self.fleet.now, lambda: entries.remove(entry) if entry in entries else None))
        if key == "token":
            self.fleet.at(self.fleet.now, self.wake)

    def wake(self) -> None:
        asleep, self.asleep = self.asleep, {}
        for member in asleep:
            member.hear()
        for place in self.waiting:
            self.expect_look(place)

    def acquire(self, place: Place) -> None:
        """Let its process go on once it holds the lock, has found what makes that needless, or has waited too long."""
        fleet = self.fleet
        if self.holder is None:
            self.holder = place.process
            fleet.at(fleet.now + self.sharing.trip, partial(place.go, True))
            return
        place.process.place, place.number = place, len(self.waiting)
        self.waiting.append(place)
        fleet.at(place.since + place.looks[-1], partial(self.give_up, place))
        if place.finds():
            self.expect_look(place)

    def expect_look(self, place: Place) -> None:
        coming = bisect_left(place.looks, self.fleet.now - place.since)
        if not place.is_looking and coming < len(place.looks):
            place.is_looking = True
            self.fleet.at(place.since + place.looks[coming], partial(self.look, place))

    def look(self, place: Place) -> None:
        place.is_looking = False
        if place.process.place is place and place.finds():
            self.give_up(place)

    def give_up(self, place: Place) -> None:
        if place.process.place is place:
            self.leave(place.process)
            place.go(False)

    def leave(self, process: Member) -> None:
        """Wait no longer; the last of those who wait gets its place."""
        place, process.place = process.place, None
        if place is not None:
            self.fleet.storage_calls += bisect_right(place.looks, self.fleet.now - place.since)
            last = self.waiting.pop()
            if last is not place:
                self.waiting[place.number], last.number = last, place.number

    def release(self, process: Member) -> None:
        """The lock is whose next try comes first: each tries again and again, and nobody queues."""
        if self.holder is not process:
            return
        self.holder = None
        waiting, rng = self.waiting, self.fleet.rng
        if waiting:
            pause = self.sharing.poll * (1 - rng.random() ** (1 / len(waiting)))
            place = waiting[rng.randrange(len(waiting))]
            self.leave(place.process)
            self.holder = place.process
            self.fleet.at(self.fleet.now + pause + self.sharing.trip, partial(place.go, True))


class View(TokenStorage):
    """The storage of a group, as one process has it."""

    def __init__(self, group: Group, process: Member) -> None:
        self._group, self._process = group, process
        self.refused = False

    def _trip(self) -> None:
        self._group.fleet.now += self._group.sharing.trip
        self._group.fleet.storage_calls += 1

    def get(self, key: str) -> Token | None:
        self._trip()
        return self._group.seen(key)

    def set(self, key: str, token: Token) -> None:
        self._trip()
        self._group.put(key, token, self._process)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        self._trip()
        if self._group.seen(key) != expected:
            return False
        self._group.put(key, token, self._process)
        return True

    def delete(self, key: str) -> None:
        raise AssertionError("nobody deletes in the model")

    def clear(self) -> None:
        raise AssertionError("nobody clears in the model")

    def delete_if_equal(self, key: str, token: Token) -> bool:
        raise AssertionError("nobody deletes in the model")

    @contextmanager
    def lock(self, key: str, timeout: float) -> Iterator[None]:  # type: ignore[override]
        if self.refused:  # who has waited for it in vain
            raise StorageLockTimeoutError("another holds the storage's lock")
        yield


def after_503() -> Iterator[Retry]:
    """Give what the transport goes by after each answer of 503, as long as it tries again."""
    retry = retries_of(None)
    with suppress(HTTPError):
        while True:
            retry = retry.increment("POST", "/", response=urllib3.HTTPResponse(status=503))
            yield retry


TRIES = list(after_503())


class Provider(TokenProvider):
    """The identity provider, as one process asks it. Tokens are numbered; it knows when each was issued and expires."""

    service_name = "fleet"
    cache_key = "token"

    def __init__(self, fleet: Timeline, process: Member, clock: Clock) -> None:
        self._fleet, self._process, self._clock = fleet, process, clock
        self.spends_refresh_token = fleet.day.rotates

    @property
    def grant_key(self) -> str | None:
        return "grant" if self._fleet.day.rotates else None

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return self._answer("first" if self._fleet.day.rotates else None)

    def refresh_token(self, current: Token, context: FetchContext | None = None) -> Token:
        return self._answer(current.refresh_token)

    def _answer(self, spent: str | None) -> Token:
        fleet, tries = self._fleet, iter(TRIES)
        while True:
            fleet.arrivals[int(fleet.now)] += 1
            is_down, half = fleet.is_down(), fleet.rng.uniform(*fleet.day.latency) / 2
            fleet.now += half
            if not is_down:
                break
            fleet.now += half
            retry = next(tries, None)
            if retry is None or spent is not None:  # which is not sent again once it may have arrived
                raise TokenEndpointError("503", status=503, transient=True)
            fleet.now += retry.get_backoff_time()
        following = None
        if spent is not None:
            if not self._process.grant.spend(spent):
                fleet.grants_lost.append(fleet.now)  # here a person signs in; in the model, at once
            following = self._process.grant.refresh_token
        number = len(fleet.issued)
        fleet.issued.append(fleet.now)
        fleet.now += half
        now = self._clock.now()
        until = now + timedelta(seconds=fleet.day.lifetime)
        return Token(f"{number}", issued_at=now, expires_at=until, refresh_token=following)
