"""A fleet in virtual time: thousands of processes that renew by the package's own rules.

Each process has the engine's real :class:`~tokenkit.manager._schedule.Schedule`, with its policy, its state and its
back-off, and the real :class:`~tokenkit.manager._source.SharedSource`, with all that it does under a storage's lock.
While a source is asked, the time of the fleet runs ahead and comes back: what that brings lands in due time.
"""

from dataclasses import dataclass
from functools import cache, partial

from fleet_world import SHARINGS, Day, Group, Host, Member, ModelClock, Place, Provider, Sharing, Timeline, View

from tokenkit._sources.judging import lock_patience
from tokenkit._sources.locking import _waits
from tokenkit.errors import TokenKitError
from tokenkit.manager._attempts import Attempt, Run
from tokenkit.manager._schedule import Call, Schedule
from tokenkit.manager._source import SharedSource
from tokenkit.manager._state import Rejection
from tokenkit.tokens import Token

__all__ = ["SHARINGS", "Day", "Fleet"]

MOST_RESENDS = 2  # of a request that was rejected, as BearerAuth does


@cache
def looks_within(patience: float) -> tuple[float, ...]:
    """Return after how many seconds each who waits for a lock looks into the storage; the last is when it gives up."""
    moments = [0.0]
    for seconds in _waits(patience, lambda: moments[-1]):
        moments.append(moments[-1] + seconds)
    return tuple(moments[1:])


class Process(Member):
    """One process with one manager, whose token calls want."""

    def __init__(self, fleet: "Fleet", name: int, host: Host, group: Group | None) -> None:
        super().__init__(fleet, group)
        self.fleet, self.name, self.host, self.group = fleet, name, host, group
        clock = ModelClock(fleet, host)
        self.view = None if group is None else View(group, self)
        self.schedule = Schedule("fleet", fleet.day.policy, clock)
        self.source = SharedSource(Provider(fleet, self, clock), self.view, fleet.day.policy, clock)
        self.waiting: list[Waiter] = []
        self.tick_at = float("inf")
        self.asleep = False  # whether its looks into the storage are not made one by one, for they find nothing
        self.alive = True

    # The refresh thread

    def tell(self, moment: float) -> None:
        if moment not in (self.tick_at, float("inf")):
            self.fleet.at(moment, self.tick)
        self.tick_at = moment

    def tick(self) -> None:
        if not self.alive or self.tick_at != self.fleet.now:
            return None
        self.tick_at = float("inf")
        self.catch_up()
        if self.schedule.plan(self.fleet.now)[1] is not None:
            attempt = self.schedule.begin(self.fleet.now, True)
            if attempt is not None:
                return self.start(attempt)
        return self.sleep()

    def sleep(self) -> None:
        """Tell when to be asked again; where the storage has nothing new, the looks until then are left out."""
        state, now = self.schedule.state, self.fleet.now
        known, stored = state.known, None if self.group is None else self.group.entries["token"]
        self.asleep = self.group is None or bool(known and stored and stored[-1][1].access_token == known.access_token)
        look_at = state.poll_at
        if self.asleep:
            state.poll_at = float("inf")
            if self.group is not None:
                self.group.asleep[self] = None
        self.tell(max(now, self.schedule.next_change(now)))
        state.poll_at = look_at

    def catch_up(self) -> None:
        """Count the looks that were left out."""
        state, every = self.schedule.state, self.fleet.day.policy.seconds("storage_poll")
        if self.asleep and state.poll_at < self.fleet.now:
            missed = -int((state.poll_at - self.fleet.now) // every)
            state.poll_at += missed * every
            self.fleet.storage_calls += missed if self.group else 0

    def hear(self) -> None:
        """Look when it would have, in any case, now that there is something to be found."""
        if self.asleep:
            self.catch_up()
            self.asleep = False
            self.tell(min(self.tick_at, self.schedule.state.poll_at))

    # Attempts, as the engine runs them

    def start(self, attempt: Attempt) -> None:
        state, now = self.schedule.state, self.fleet.now
        attempt.run = run = Run(
            attempt.request,
            now,
            state.generations,
            background=True,
            challenge=state.challenge,
            known=state.known,
            rejected=state.rejected,
        )
        if not run.request.asks:
            with self.fleet.ahead():
                self.source.look(run)
                lands_at = self.fleet.now
            self.fleet.at(lands_at, lambda: self.land(attempt))
        elif self.group is None:
            self.ask(attempt, True)
        else:
            policy = self.fleet.day.policy
            patience = lock_patience(policy.seconds("lock_timeout"), run.deadline - now, self.fleet.day.rotates)
            looks = looks_within(round(patience, 3))
            self.group.acquire(Place(self, now, looks, partial(self.finds, run), partial(self.ask, attempt)))

    def finds(self, run: Run) -> bool:
        """Return whether there is something in the storage that it would adopt: the look of who waits for a lock."""
        assert self.group is not None
        stored = self.group.seen("token")
        return stored is not None and stored is not run.known and self.source._is_better(stored, run)

    def ask(self, attempt: Attempt, held: bool) -> None:
        if not self.alive:
            return
        assert attempt.run is not None
        if self.view is not None:
            self.view.refused = not held
        self.undo = []
        with self.fleet.ahead():
            self.source.renew(attempt.run)
            lands_at = self.fleet.now
        self.fleet.at(lands_at, lambda: self.land(attempt))

    def land(self, attempt: Attempt) -> None:
        if not self.alive:
            return
        if self.group is not None and attempt.request.asks:
            self.group.release(self)
        if self.schedule.land(attempt, self.fleet.now):
            self.expect_trouble()
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            self.call(waiter)
        if self.schedule.attempts.current is None:
            self.sleep()

    def expect_trouble(self) -> None:
        """Have a call come when the token held is over, by its own reckoning or by the provider's."""
        state, pause = self.schedule.state, self.fleet.rng.random() / self.fleet.day.calls
        held = state.snapshot
        assert held is not None
        over_at = min(held.expired_at, self.fleet.issued[int(held.token.access_token)] + self.fleet.day.lifetime)
        generation = state.generations
        self.fleet.at(over_at + pause, lambda: self.call() if state.generations == generation else None)

    # Callers

    def call(self, waiter: "Waiter | None" = None) -> None:
        """One call, or one that goes on: it has a good token, waits, or fails."""
        if not self.alive:
            return None
        fleet, state, now = self.fleet, self.schedule.state, self.fleet.now
        limit = fleet.day.policy.seconds("refresh_request_timeout")
        waiter = waiter or Waiter(now, Call(now + limit, limit, -1, True, False))
        while True:
            try:
                found = self.schedule.consult(waiter.call, now)
            except TokenKitError:
                return self.fail()
            if isinstance(found, Token):
                if fleet.is_good(found):
                    if now > waiter.asked_at:
                        fleet.stalls.append((waiter.asked_at, now - waiter.asked_at, self.name))
                    return None
                waiter.rejections += 1
                is_first = waiter.rejections == 1
                given_up = state.give_up(Rejection(found, counted=True, trusted=is_first), now)
                if given_up is False or waiter.rejections > MOST_RESENDS:
                    return self.fail()
                waiter.call = Call(now + limit, limit, -1, True, False)
                continue
            self.waiting.append(waiter)
            if isinstance(found, Attempt):
                self.schedule.attempts.offer(now, to_thread=True)
                if found.run is None:
                    self.start(found)
            else:
                fleet.at(found, partial(self.again, waiter))
            return None

    def again(self, waiter: "Waiter") -> None:
        if waiter in self.waiting:
            self.waiting.remove(waiter)
            self.call(waiter)

    def fail(self) -> None:
        self.fleet.failures.append((self.fleet.now, self.name))
        self.fleet.at(self.fleet.now + 1 / self.fleet.day.calls, self.call)

    def kill(self) -> None:
        """End it where it stands: what it had not done by now is not done."""
        self.alive = False
        for moment, undo in reversed(self.undo):
            if moment > self.fleet.now:
                undo()
        if self.group is not None:
            group = self.group
            group.asleep.pop(self, None)
            group.leave(self)
            self.fleet.at(self.fleet.now + group.sharing.lease, lambda: group.release(self))


@dataclass(eq=False)
class Waiter:
    """A caller."""

    asked_at: float
    call: Call
    rejections: int = 0


class Fleet(Timeline):
    """All of it."""

    def __init__(self, day: Day, sharing: Sharing, seed: int = 1) -> None:
        super().__init__(day, sharing, seed)

    def run(self) -> "Fleet":
        """Live through the day."""
        day, rng = self.day, self.rng
        hosts = [Host() for _ in range(day.hosts)]
        everyone: dict[int, Process] = {}
        for_all = Group(self, self.sharing)

        def start(name: int, host: Host, group: Group | None) -> None:
            everyone[name] = Process(self, name, host, group)
            everyone[name].call()

        def replace(name: int) -> None:
            old = everyone[name]
            old.kill()
            self.at(self.now + 2.0, lambda: start(name, old.host, old.group))

        for number, host in enumerate(hosts):
            group = {None: None, "fleet": for_all}.get(self.sharing.by) or (
                Group(self, self.sharing) if self.sharing.by == "host" else None
            )
            for place in range(day.per_host):
                name = number * day.per_host + place
                self.at(rng.uniform(0, day.started_within), lambda n=name, h=host, g=group: start(n, h, g))
                if day.revoked_at is not None:
                    self.at(day.revoked_at + rng.random() / day.calls, lambda n=name: everyone[n].call())
                if day.deployed is not None:
                    self.at(day.deployed[0] + rng.uniform(0, day.deployed[1]), lambda n=name: replace(n))
                if day.clocks_wrong is not None:  # the thread sees it within a minute
                    self.at(day.clocks_wrong[0] + rng.uniform(0, 60), lambda n=name: everyone[n].tell(self.now))
            if day.clocks_wrong is not None:
                wrong_by = rng.uniform(-1, 1) * day.clocks_wrong[1]
                self.at(day.clocks_wrong[0], lambda h=host, by=wrong_by: setattr(h, "wrong_by", by))
        self.live()
        return self
