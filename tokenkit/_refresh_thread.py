"""The one daemon thread of a process that knows when something is to be renewed, and the workers that do it.

It knows moments and who is to be asked then, weakly; what is to be done is its owners' affair, and each piece of
work runs on a worker, so that one that hangs delays nobody else's.
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
import logging
import math
import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, final

from tokenkit._guard import Guard
from tokenkit._per_process import PerProcess
from tokenkit.clock import Clock, SystemClock

__all__ = ["AT_ONCE", "RefreshThread", "Renewable", "Work", "refresh_thread"]

logger: logging.Logger = logging.getLogger("tokenkit")

AT_ONCE = (-1, 0.0)  # the rank of what somebody waits for

_LONGEST_NAP = 60.0  # seconds: however wrong a moment is, a step of the clocks is seen by then
_LEAST_STEP = 1.0  # seconds by which the wall clock goes ahead of the other one
_MOST_YOUNG = 64  # pieces of work at once that nobody waits for
_YOUNG = 2.0  # seconds
_MOST_HUNG = 192  # pieces of work at once, beyond which nobody who has one that hangs begins another
_TELL_AGAIN = 60.0  # seconds between two warnings that there is no thread
_TRY_AGAIN = 1.0  # seconds after no worker was to be had
_LINGER = 10.0  # seconds of the system's clock that a worker without work stays for more
_BIRTH = 1.0  # seconds of it after which a thread that has not begun is taken for one that never will
_SYSTEM: Clock = SystemClock()

Rank = tuple[int, float]


class Work(NamedTuple):
    """One piece of work for a worker."""

    run: Callable[[], object]
    again_at: float
    """When its owner is to be asked again at the latest."""


class Renewable(Protocol):
    """What the refresh thread asks of an owner. None may wait."""

    def tick(self, now: float) -> tuple[float, Rank | None]:
        """Return the next moment to ask, and how urgent the work is that is to be done, if there is any."""

    def begin(self, now: float, may_supersede: bool) -> Work | None:
        """Return the work that is to be done now, for which there is a place; None if there is none any more."""

    def refuse(self) -> None:
        """Hear that there is no worker to be had for it."""


class _Replaced(BaseException):
    """Another refresh thread has taken over from the one in which this is raised."""


class _Doorbell(queue.SimpleQueue[None]):
    """The mailbox on which the thread naps, and what young work is under way.

    A :class:`~tokenkit.testing.FakeClock` does not take the thread for idle before that has landed. No method is
    overridden: gevent's own, which takes the place of this base, calls them from within.
    """

    def __init__(self) -> None:
        super().__init__()  # gevent's, which takes this class's place, is one of Python
        self.young: dict[object, float] = {}  # when each piece of work began; changed by the thread alone


@final
class RefreshThread:
    """One clock's thread in one process; made by :func:`refresh_thread`. Any thread may :meth:`tell` it things.

    Its heap belongs to the thread alone. All that others do is put something into its inbox, which is safe anywhere,
    even in a weakref callback that the collector runs in a thread that holds any lock.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._inbox: queue.SimpleQueue[tuple[float, weakref.ref[Any]] | object] = queue.SimpleQueue()
        self._doorbell = _Doorbell()
        self._lock = Guard()
        # Guarded by _lock, and also read without it:
        self._born_at = -math.inf
        self._thread: threading.Thread | None = None
        self._lives: threading.Thread | None = None  # the same one, once it has begun
        self._starts_since = math.inf  # when it began to start a worker, which it may wait for for ever
        # Everybody that was ever told of; added by single steps of any thread, taken out by the thread:
        self._owners: dict[weakref.ref[Any], None] = {}
        # The thread's own:
        self._heap: list[tuple[float, int, weakref.ref[Any]]] = []
        self._moments: dict[weakref.ref[Any], float] = {}  # of each owner's entry that counts; others are out of date
        self._ready: list[tuple[Rank, int, weakref.ref[Any]]] = []  # who waits for a place
        self._old: set[object] = set()  # pieces of work that have had their place for too long
        self._idle: dict[_Worker, None] = {}  # who waits for work; changed by single steps alone
        self._count = itertools.count()
        self._gone = 0  # entries whose owner was collected
        self._wall_ahead = math.inf
        self._told_at = -math.inf  # the last warning that there is no thread
        self._broke_off = False  # whether something fell into its last turn, or another thread took over in it

    def ticket(self, owner: Renewable) -> weakref.ref[Any]:
        """Return what *owner* is known by here."""
        ring = self._put
        ticket = weakref.ref(owner, lambda _: ring(_GONE))
        hash(ticket)  # it keeps that: of one who is gone before it was ever asked for, it is not to be had
        return ticket

    def tell(self, ticket: weakref.ref[Any], moment: float) -> None:
        """Have the owner asked at *moment* or before. Never blocks, and takes no lock; call :meth:`ensure` after it."""
        self._owners[ticket] = None
        self._put((moment, ticket))

    def ensure(self) -> None:
        """Start the thread unless it runs.

        Raises:
            Exception: Whatever keeps a thread from being started.
        """
        if self.runs():
            return
        thread = threading.Thread(target=contextvars.Context().run, args=(self._live,), name="tokenkit-refresh")
        thread.daemon = True
        try:
            with self._lock:
                if self.runs():
                    return
                self._born_at, self._starts_since = _SYSTEM.monotonic(), math.inf
                self._thread = thread
            thread.start()  # without the lock: it waits until the new thread runs
        except BaseException:
            if self._thread is thread:
                with self._lock:
                    if self._thread is thread and self._lives is not thread:  # who has begun goes on
                        self._thread = None
            raise

    def runs(self) -> bool:
        """Return whether the thread is there. A hint: it may end at any time where nothing is left to wait for."""
        thread, since = self._thread, self._starts_since
        if thread is None:
            return False
        if thread is self._lives:
            return since == math.inf or _SYSTEM.monotonic() < since + _BIRTH
        # It may be thrown out as it begins, or before. Only then it is asked whether it is alive: that is no harmless
        # question where an interrupt may fall in, as CPython 3.11 takes a thread for ended then.
        return thread.is_alive() if thread.ident is not None else _SYSTEM.monotonic() < self._born_at + _BIRTH

    def _put(self, item: object) -> None:
        self._inbox.put(item)
        if self._doorbell.empty():
            self._doorbell.put(None)

    # What follows runs on the thread.

    def _live(self) -> None:
        me = threading.current_thread()
        try:
            with self._lock:  # never two of them: the one that is not wanted any more does not begin
                if self._thread is me:
                    self._lives = me
            self._serve(me)
        except BaseException as error:
            logger.error("another refresh thread takes over after %s [thrown-in]", type(error).__name__)
        finally:
            if self._thread is me:  # thrown out by what another thread threw in: nobody must lose the thread
                self._thread = None
                with suppress(Exception):  # the interpreter ends: then nobody needs it
                    self.ensure()

    def _serve(self, me: threading.Thread) -> None:
        pause = 0.0
        while self._thread is me:
            try:
                nap = self._turn()
                if nap is None and self._may_end(me):
                    return
                self._nap(0.0 if nap is None else nap)
                pause = 0.0
            except BaseException as error:
                if not self._goes_on(me):
                    return
                logger.error("the refresh thread goes on after %s [thrown-in]", type(error).__name__)
                self._nap(pause)
                pause = min(_TRY_AGAIN, 4 * pause + 0.01)  # should it go on like that

    def _nap(self, seconds: float) -> None:
        self.clock.nap(self._doorbell, max(0.0, min(seconds, _LONGEST_NAP)))

    def _goes_on(self, me: threading.Thread) -> bool:
        """Return whether *me* is still the one, which starts no worker any more."""
        with self._lock:
            if self._thread is me:
                self._starts_since = math.inf
            return self._thread is me

    def _may_end(self, me: threading.Thread) -> bool:
        with self._lock:
            self._thread, ends = None, False  # before the look: who puts something in looks at this afterwards
            try:
                ends = self._inbox.empty()
            finally:
                if not ends:
                    self._thread = me
            return ends

    def _turn(self) -> float | None:
        """Do what is to be done; return the seconds until there may be more, or None where there will be nothing."""
        broke_off, self._broke_off = self._broke_off, True
        self._take_in()
        now = self.clock.monotonic()
        if broke_off:  # nobody else reminds this thread of whom it was about to ask, or who has left a place
            for places in (self._ready, self._doorbell.young, self._old):
                places.clear()
            self._ask_everybody(now)
        self._see_steps(now)
        while self._heap and self._heap[0][0] <= now:
            moment, _, ticket = heapq.heappop(self._heap)
            if moment == self._moments.get(ticket):
                del self._moments[ticket]
                self._ask(ticket, now)
        self._age(now)
        while self._ready and len(self._doorbell.young) < _MOST_YOUNG:
            self._begin(heapq.heappop(self._ready)[2], now)
        nap = self._until_next()
        self._broke_off = False
        return nap

    def _until_next(self) -> float | None:
        moments = [begun + _YOUNG for begun in itertools.islice(self._doorbell.young.values(), 1)]
        if not self._moments:
            self._heap.clear()  # what is left of it is out of date
        elif self._heap:
            moments.append(self._heap[0][0])
        if moments:
            return min(moments) - self.clock.monotonic()
        return _LONGEST_NAP if self._old or self._ready else None

    def _take_in(self) -> None:
        while True:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return
            if item is _GONE:
                self._gone += 1
            elif isinstance(item, tuple):
                self._push(*item)
            else:  # a piece of work that is done
                self._doorbell.young.pop(item, None)
                self._old.discard(item)
            if self._gone * 2 > len(self._owners):
                self._gone = 0
                for ticket in [ticket for ticket in list(self._owners) if ticket() is None]:
                    del self._owners[ticket]
                self._moments = {ticket: moment for ticket, moment in self._moments.items() if ticket() is not None}
                self._heap = [(moment, next(self._count), ticket) for ticket, moment in self._moments.items()]
                heapq.heapify(self._heap)

    def _push(self, moment: float, ticket: weakref.ref[Any]) -> None:
        if moment < self._moments.get(ticket, math.inf):
            self._moments[ticket] = moment
            heapq.heappush(self._heap, (moment, next(self._count), ticket))

    def _see_steps(self, now: float) -> None:
        """Have everybody asked if the wall clock went on while the other one stood still, as in a restored machine."""
        ahead = self.clock.time() - now
        if ahead > self._wall_ahead + _LEAST_STEP:
            self._ask_everybody(now)
        self._wall_ahead = ahead

    def _ask_everybody(self, now: float) -> None:
        self._moments = dict.fromkeys(list(self._owners), now)
        self._heap = [(now, next(self._count), ticket) for ticket in self._moments]

    def _ask(self, ticket: weakref.ref[Any], now: float) -> None:
        owner: Renewable | None = ticket()
        if owner is None:
            return
        again_at, rank = owner.tick(now)
        if rank == AT_ONCE:
            self._begin(ticket, now)
        elif rank is not None:
            heapq.heappush(self._ready, (rank, next(self._count), ticket))
        self._push(again_at if again_at > now else now + _TRY_AGAIN, ticket)  # whatever it says, this never spins

    def _age(self, now: float) -> None:
        """Take their places from those who have had them for too long."""
        young = self._doorbell.young
        for work, begun in list(young.items()):
            if now < begun + _YOUNG:
                break
            self._old.add(work)
            del young[work]

    def _begin(self, ticket: weakref.ref[Any], now: float) -> None:
        owner: Renewable | None
        try:
            worker = self._worker()  # before its work is known: who waits for a thread to start holds no manager
        except Exception as error:
            level = logging.WARNING if now >= self._told_at + _TELL_AGAIN else logging.DEBUG
            self._told_at = now if level == logging.WARNING else self._told_at
            logger.log(level, "no thread is to be had for a renewal: %s [no-thread]", type(error).__name__)
            if (owner := ticket()) is not None:
                owner.refuse()
                self._push(now + _TRY_AGAIN, ticket)
            return
        work = None
        try:
            owner = ticket()
            has_room = len(self._old) + len(self._doorbell.young) < _MOST_HUNG
            work = None if owner is None else owner.begin(now, has_room)
        finally:
            if work is None:
                self._idle[worker] = None
        if work is not None:
            self._push(work.again_at, ticket)
            mark, done = object(), self._put
            self._doorbell.young[mark] = now
            worker.jobs.put((work.run, lambda: done(mark)))

    def _worker(self) -> _Worker:
        """Return a worker without work.

        Raises:
            Exception: Whatever keeps a thread from being started.
            _Replaced: This thread has waited for that for so long that another has taken over.
        """
        with suppress(KeyError):
            return self._idle.popitem()[0]
        worker = _Worker(self._idle)
        try:
            with self._lock:
                self._starts_since = _SYSTEM.monotonic()
            worker.start()  # CPython waits until it says that it has begun; one that dies before that never does
            self._idle[worker] = None
        finally:
            if not self._goes_on(threading.current_thread()):
                raise _Replaced
        return self._idle.popitem()[0]


_GONE = object()  # in the inbox: an owner was collected


@final
class _Worker:
    """A daemon thread that does one piece of work after the other."""

    def __init__(self, idle: dict[_Worker, None]) -> None:
        self.jobs: queue.SimpleQueue[tuple[Callable[[], object], Callable[[], object]]] = queue.SimpleQueue()
        self._idle = idle

    def start(self) -> None:
        target = contextvars.Context().run
        threading.Thread(target=target, args=(self._live,), name="tokenkit-worker", daemon=True).start()

    def _live(self) -> None:
        try:
            self._serve()
        except BaseException:
            if self._idle.pop(self, self) is not None:  # thrown out with work on its way here
                with suppress(Exception):
                    self.start()
            raise

    def _serve(self) -> None:
        is_over = False
        while not is_over:
            try:
                is_over = self._work()
            except BaseException as error:
                logger.error("a worker goes on after %s [thrown-in]", type(error).__name__)

    def _work(self) -> bool:
        """Do one piece of work; return whether there was none for so long that this thread is to end."""
        try:
            run, done = self.jobs.get(timeout=_LINGER)
        except queue.Empty:  # unless somebody has just taken it off that list, to give it work
            return self._idle.pop(self, self) is None
        try:
            run()
        finally:
            del run  # or its manager could not be collected by who hears that it is done
            self._idle[self] = None
            done()
        return False


class _Threads:
    """The threads of this process, one for each clock."""

    def __init__(self) -> None:
        self._lock = Guard()
        self._by_clock: weakref.WeakValueDictionary[object, RefreshThread] = weakref.WeakValueDictionary()

    def of(self, clock: Clock) -> RefreshThread:
        key: object = SystemClock if isinstance(clock, SystemClock) else id(clock)  # which its thread keeps from reuse
        with self._lock:
            thread = self._by_clock.get(key)
            if thread is None:
                thread = self._by_clock[key] = RefreshThread(clock)
            return thread


_threads = PerProcess(_Threads)


def refresh_thread(clock: Clock) -> RefreshThread:
    """Return this process's thread for *clock*; all system clocks are one. It is not started yet."""
    return _threads.get().of(clock)
