"""A manager for each key, such as a tenant or a user: made when it is first asked for, closed when it is used no more.

Which of them are in use, and which are to be closed, is decided in :mod:`tokenkit.manager._keeper`.
"""

from __future__ import annotations

import math
import os
import queue
from collections.abc import Callable, Hashable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, final

from tokenkit._checks import is_count, seconds
from tokenkit._guard import Guard
from tokenkit._per_process import PerProcess
from tokenkit.clock import Clock, SystemClock
from tokenkit.errors import ConfigurationError, RenewalStoppedError
from tokenkit.manager._condition import RenewalCondition
from tokenkit.manager._keeper import Keeper, Place
from tokenkit.manager.manager import TokenManager

__all__ = ["ManagerPool"]

_LONGEST_WAIT = 1.0  # seconds: a notification that an interrupt swallowed is made up for by then
_LONGEST_CLOSE = 30.0  # seconds
_fork_gate = PerProcess(Guard)  # held only while a pool of a forked child is being set up


@final
class ManagerPool:
    """Keeps a manager for each key, which may be anything that a dictionary takes: a tenant, a user.

    ``pool[key]`` gives the key's manager. Ask for it at each use, and keep what it gives no longer than that: a manager
    may be closed afterwards. Safe from any thread and after a fork. A manager is made once, however many threads ask
    for it, and no other key is held up meanwhile; if *make* raises, each who waits tries for itself. A storage that
    several managers of the pool share is closed with the last of them. ``len(pool)``, ``key in pool`` and iteration
    over its keys concern the managers that there are. Pickles and copies carry the arguments, and no manager.

    Args:
        make: Called with a key, returns a manager for it, which the pool closes. What it raises goes to the caller and
            is not remembered.
        max_size: How many managers there may be, at least 1. Beyond it, the one that was used least recently is
            closed, of those that no caller waits for and no renewal is under way for; where there is none, as soon as
            there is one. None: any number.
        idle_after: Seconds, or a timedelta, more than 0, after which a manager that nobody has asked for is closed,
            and its token renewed no more. None: never.
        clock: What time it is; the system's unless a test says otherwise.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> from tokenkit import CallableTokenFetcher, Token, TokenManager
        >>> def make(tenant):
        ...     return TokenManager(
        ...         CallableTokenFetcher(lambda: Token(f"for-{tenant}"), name=tenant)
        ...     )
        >>> with ManagerPool(make, max_size=1000, idle_after=3600) as pool:
        ...     print(pool["acme"].access_token(), len(pool))
        for-acme 1
    """

    def __init__(
        self,
        make: Callable[[Any], TokenManager],
        *,
        max_size: int | None = None,
        idle_after: float | timedelta | None = None,
        clock: Clock = SystemClock(),  # noqa: B008  # it has no state
    ) -> None:
        if not callable(make):
            raise ConfigurationError("make must be a function of the key that returns a TokenManager")
        if max_size is not None and not (is_count(max_size) and max_size):
            raise ConfigurationError("max_size must be a whole number, at least 1, or None")
        if not isinstance(clock, Clock):
            raise ConfigurationError(f"clock must be a Clock, not {type(clock).__name__}")
        asked = math.inf if idle_after is None else idle_after
        # Set here, never reassigned:
        self._make = make
        self._options: dict[str, Any] = {"max_size": max_size, "idle_after": idle_after, "clock": clock}
        self._clock = clock
        self._keeper = Keeper(max_size, seconds("idle_after", asked, zero=False, infinite=True), clock)
        # Guarded by the keeper's lock:
        self._closed = False
        self._made = RenewalCondition()  # notified when a manager is made, or its making failed, and on close
        self._pid = os.getpid()

    def _here(self) -> Keeper:
        """Return the keeper, ready for this process."""
        if self._pid != os.getpid():  # uWSGI forks without running any hook
            with _fork_gate.get():
                if self._pid != os.getpid():
                    self._made = RenewalCondition()
                    self._keeper.begin_process()
                    self._pid = os.getpid()  # set last
        return self._keeper

    def __getitem__(self, key: Hashable) -> TokenManager:
        """Return the manager of *key*, making it if there is none.

        Raises:
            Exception: What *make* raised.
            ConfigurationError: *make* returned no manager.
            RenewalStoppedError: The pool is closed.
            RuntimeError: *make* asked for the very key that it makes a manager for.
        """
        keeper, is_beyond = self._here(), False
        with keeper.lock:
            place = keeper.places.get(key)
            manager = None if place is None else place.manager
            if place is not None and manager is not None:
                is_beyond = keeper.note_use_locked(key, place)
        if is_beyond:
            keeper.tell()
        return self._awaited(keeper, key) if manager is None else manager

    def peek(self, key: Hashable) -> TokenManager | None:
        """Return the manager of *key* if there is one; none is made, and it does not count as used."""
        keeper = self._here()
        with keeper.lock:
            place = keeper.places.get(key)
            return None if place is None else place.manager

    def __contains__(self, key: Hashable) -> bool:
        return self.peek(key) is not None

    def __iter__(self) -> Iterator[Any]:
        keeper = self._here()
        with keeper.lock:
            return iter(keeper.made_locked())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True  # an empty one is a pool, too

    def __repr__(self) -> str:
        return f"<ManagerPool of {len(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ManagerPool, **self._options), (self._make,)

    # Making

    def _awaited(self, keeper: Keeper, key: Hashable) -> TokenManager:
        """Return the manager of *key*, which this thread makes unless another does."""
        mine = Place()
        try:
            found = self._found(keeper, key, mine)
            if found is not None:
                return found
            made: object = self._make(key)
            if not isinstance(made, TokenManager):
                raise ConfigurationError(f"make must return a TokenManager, not {type(made).__name__}")
            self._keep(keeper, key, mine, made)
            return made
        finally:
            try:
                self._withdraw(keeper, key, mine)
            finally:
                self._withdraw(keeper, key, mine)  # an interrupt may have fallen into the first, and others wait

    def _found(self, keeper: Keeper, key: Hashable, mine: Place) -> TokenManager | None:
        """Return the manager of *key*, waiting while another thread makes it; None, where *mine* is there."""
        while (found := self._claim(keeper, key, mine)) is not None:
            if isinstance(found, TokenManager):
                return found
            try:
                self._clock.nap(found, _LONGEST_WAIT)
            finally:
                self._made.leave(found)
        return None

    def _claim(self, keeper: Keeper, key: Hashable, mine: Place) -> TokenManager | queue.SimpleQueue[None] | None:
        """Return the manager of *key*; or a mailbox, where another thread makes it; or None, where *mine* is there."""
        with keeper.lock:
            if self._closed:
                raise RenewalStoppedError("the pool of managers is closed")
            place = keeper.places.setdefault(key, mine)
            if place.manager is not None:
                keeper.note_use_locked(key, place)
                return place.manager
            if place is mine:
                return None
            if place.maker == mine.maker:
                raise RuntimeError("make asked the pool for the key that it makes a manager for")
            return self._made.join()

    def _keep(self, keeper: Keeper, key: Hashable, mine: Place, made: TokenManager) -> None:
        with keeper.lock:
            if keeper.places.get(key) is mine:  # else it was discarded meanwhile, and is this caller's alone
                mine.manager = made
                keeper.note_use_locked(key, mine)
            self._made.notify_all()
            closed = self._closed
        if closed:
            made.close(0)
            raise RenewalStoppedError("the pool of managers is closed")
        keeper.tidy()
        keeper.tell()

    def _withdraw(self, keeper: Keeper, key: Hashable, mine: Place) -> None:
        with keeper.lock:
            if mine.manager is None and keeper.places.get(key) is mine:
                del keeper.places[key]
                self._made.notify_all()

    # Closing

    def discard(self, key: Hashable) -> None:
        """Close the manager of *key*, if there is one; the next use makes another.

        A renewal under way is waited for, as :meth:`tokenkit.manager.TokenManager.close` does.
        Who waits for a token of it gets a :class:`~tokenkit.errors.RenewalStoppedError`. Requests that were sent with
        its token go on.
        """
        keeper = self._here()
        with keeper.lock:
            place = keeper.places.pop(key, None)
            self._made.notify_all()
        if place is not None and place.manager is not None:
            keeper.close(place.manager, None)

    def close(self, grace: float | timedelta | None = None) -> None:
        """Close all managers; there will be no others. Closing twice is harmless. Not from a signal handler.

        Args:
            grace: Seconds to wait for renewals under way, in all. None: 30; 0: not at all.
        """
        wait = _LONGEST_CLOSE if grace is None else seconds("grace", grace, zero=True, infinite=True)
        keeper = self._here()
        with keeper.lock:
            self._closed = True
            managers = list(keeper.made_locked().values())
            keeper.places.clear()
            self._made.notify_all()
        deadline = self._clock.monotonic() + wait
        for manager in managers:
            manager.stop()
        for manager in managers:
            manager.close(max(0.0, deadline - self._clock.monotonic()))

    def __enter__(self) -> ManagerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
