"""The managers of a pool in the order of their use: which of them are in use, which are to be closed, and closing them.

How they are made is :mod:`tokenkit.manager.pool`'s affair.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import final

from tokenkit._guard import Guard
from tokenkit._refresh_thread import Work, refresh_thread
from tokenkit.clock import Clock
from tokenkit.manager.manager import TokenManager

__all__ = ["Keeper", "Place"]

_JUST_NOW = 1.0  # seconds: what another thread was given so lately, it may be about to use
_LOOK_AGAIN = 1.0  # seconds until what is to be closed, but in use, is looked at again
_FEW = 64  # threads
_TIDYING = 3  # its rank for the refresh thread: behind every renewal


@final
class Place:
    """Where the manager of one key is, or will be. Guarded by the keeper's lock."""

    __slots__ = ("maker", "manager", "used_at")

    def __init__(self) -> None:
        self.maker = threading.get_ident()
        self.manager: TokenManager | None = None  # none while *maker* makes it
        self.used_at = math.inf


@final
class Keeper:
    """Has the managers of one pool, and its lock. The refresh thread asks it, though nobody uses the pool."""

    def __init__(self, max_size: int | None, idle_after: float, clock: Clock) -> None:
        # Set here, never reassigned:
        self.clock = clock
        self._most = math.inf if max_size is None else max_size
        self._idle_after = idle_after
        # Guarded by lock, which is held while a key is compared with others:
        self.places: OrderedDict[Hashable, Place] = OrderedDict()  # the least recently used one first
        self.begin_process()

    def begin_process(self) -> None:
        """Make what a forked child must not inherit; the managers stay."""
        self.lock = Guard()  # entered by `with keeper.lock:` alone
        # Guarded by lock, and of this process alone:
        for key, place in list(self.places.items()):
            if place.manager is None:  # its maker is a thread of the parent
                del self.places[key]
        self._given: dict[threading.Thread, tuple[Place, float]] = {}  # what each thread was given last, and when
        self._most_given = _FEW  # threads, beyond which those that were given none lately are forgotten
        self._asked_at = math.inf  # when the refresh thread will ask, at the latest
        self._thread = refresh_thread(self.clock)
        self._ticket = self._thread.ticket(self)

    def note_use_locked(self, key: Hashable, place: Place) -> bool:
        """Note that the calling thread is given the manager in *place* now; return whether there is to be a tell().

        That is where who made one too many was interrupted before it closed another.
        """
        place.used_at = self.clock.monotonic()
        self.places.move_to_end(key)
        if self._most < math.inf:
            self._given[threading.current_thread()] = (place, place.used_at)
            if len(self._given) > self._most_given:
                self._forget_threads_locked(place.used_at)
        return len(self.places) > self._most and self._asked_at > place.used_at + _LOOK_AGAIN

    def _forget_threads_locked(self, now: float) -> None:
        self._given = {one: last for one, last in self._given.items() if last[1] + _JUST_NOW > now}
        self._most_given = max(_FEW, 2 * len(self._given))

    # Closing

    def tidy(self) -> None:
        """Close what has been idle for too long, and what is beyond the size, unless it is in use."""
        with self.lock:
            managers = self._take_out_locked(self._leaving_locked(self.clock.monotonic()))
        for manager in managers:
            self.close(manager, 0.0)

    def _take_out_locked(self, keys: list[Hashable]) -> list[TokenManager]:
        return [place.manager for key in keys if (place := self.places.pop(key)).manager is not None]

    def made_locked(self) -> dict[Hashable, TokenManager]:
        """Return the managers that there are, by key."""
        return {key: place.manager for key, place in self.places.items() if place.manager is not None}

    def _leaving_locked(self, now: float) -> list[Hashable]:
        """Return the keys whose managers are to be closed now."""
        if self._look_at_locked() > now:
            return []
        self._forget_threads_locked(now)
        in_use = {id(place) for place, _ in self._given.values()}
        beyond = len(self.places) - self._most
        leaving: list[Hashable] = []
        for key, place in self.places.items():
            if len(leaving) >= beyond and now < place.used_at + self._idle_after:
                break  # as are all that follow
            if place.manager is not None and id(place) not in in_use and not place.manager._is_busy:
                leaving.append(key)
        return leaving

    def _look_at_locked(self) -> float:
        """Return the moment from which on something may have to be closed."""
        if len(self.places) > self._most:
            return -math.inf
        return next((place.used_at for place in self.places.values()), math.inf) + self._idle_after

    def close(self, manager: TokenManager, grace: float | None) -> None:
        """Close *manager*, which has left; a storage that it shares with others stays open."""
        with self.lock:
            others = [place.manager for place in self.places.values()]
        manager._leave(grace, keep_storage=any(one is not None and one._shares_storage(manager) for one in others))

    # The refresh thread

    def tell(self) -> None:
        """Have the refresh thread ask, where there will be something to close."""
        with self.lock:
            look_at = self._look_at_locked()
            is_sooner = look_at < self._asked_at
            if is_sooner:
                self._asked_at = look_at
                self._thread.tell(self._ticket, look_at)
        if is_sooner and not sys.is_finalizing():
            with suppress(Exception):  # without a thread they are closed when the next is made
                self._thread.ensure()

    def tick(self, now: float) -> tuple[float, tuple[int, float] | None]:
        """Say when to ask again, and whether something is to be closed now."""
        with self.lock:
            leaving = self._leaving_locked(now)
            self._asked_at = max(self._look_at_locked(), now + _LOOK_AGAIN)
            return self._asked_at, (_TIDYING, now) if leaving else None

    def begin(self, now: float, may_supersede: bool) -> Work | None:
        """Return the closing of what is to be closed."""
        return Work(self.tidy, now + _LOOK_AGAIN)

    def refuse(self) -> None:
        """Do without a worker: what is to be closed is when the next manager is made."""
