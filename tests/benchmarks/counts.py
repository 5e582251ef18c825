"""What one authorised request and one renewal ask for, counted without a stopwatch: python tests/benchmarks/counts.py.

Locks, storage calls and clock reads are counted as they are; bytecode instructions, bytes and the blocks of memory that
stay are told as ratios to an auth that sets a constant header, counted in the same run. A busy machine changes none of
them, so tests/benchmarks/test_counts.py holds them to limits on every interpreter.
"""

import gc
import opcode
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from types import CodeType, FrameType
from typing import Any

from requests import PreparedRequest, Request
from requests.auth import AuthBase

from tokenkit.auth import BearerAuth
from tokenkit.clock import SystemClock
from tokenkit.fetchers import CallableTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.storage import InMemoryTokenStorage

__all__ = ["Constant", "Costs", "World", "costs", "excess", "prepared"]

TRIES = 3  # another thread of the process may allocate something meanwhile
WARM_UPS = 3  # calls whose imports and first-time work are nobody's cost
BATCH = 20  # calls over which the blocks of memory that stay are counted
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "clock_gettime", "utcnow"}
CLOCKS |= {"now", "clock_gettime_ns", "process_time", "thread_time"}

Call = Callable[[PreparedRequest], object]


class Constant(AuthBase):
    """The least that an auth object can do."""

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        r.headers["Authorization"] = "Bearer constant"
        return r


@dataclass
class Costs:
    """What one call asked for."""

    locks: float = 0
    """Locks taken, waits, and blocks of ``with``, in which one may hide."""
    storage_calls: float = 0
    clock_reads: float = 0
    instructions: float = 0
    """Of bytecode, in this thread."""
    bytes: float = 0
    """The most that it had at once beyond what was there before."""
    blocks: float = 0
    """Of memory that stay when it has returned, on the average of a few calls."""

    def in_units_of(self, bare: "Costs") -> "Costs":
        """Return these with what has no meaning alone as ratios to *bare*."""
        per = {name: getattr(self, name) / max(1.0, getattr(bare, name)) for name in ("instructions", "bytes")}
        return Costs(self.locks, self.storage_calls, self.clock_reads, **per, blocks=self.blocks - bare.blocks)


class CountingStorage(InMemoryTokenStorage):
    """Says what it is asked."""

    calls: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "calls":
            self.calls.append(name)
        return super().__getattribute__(name)


class CountingClock(SystemClock):  # type: ignore[misc]  # final
    """The system's, and how often it was read."""

    reads = 0

    def time(self) -> float:  # type: ignore[override]
        self.reads += 1
        return SystemClock.time()

    def monotonic(self) -> float:  # type: ignore[override]
        self.reads += 1
        return SystemClock.monotonic()


OBSERVERS = {CountingStorage.__getattribute__.__code__, CountingClock.time.__code__, CountingClock.monotonic.__code__}


@dataclass
class World:
    """A manager whose storage and clock count, and no thread of its own: who asks does all the work."""

    storage: CountingStorage = field(default_factory=CountingStorage)
    clock: CountingClock = field(default_factory=CountingClock)

    def __post_init__(self) -> None:
        numbers = iter(range(1_000_000))

        def answer() -> dict[str, object]:
            return {"access_token": f"token-{next(numbers):06d}", "expires_in": 3600}

        source = CallableTokenFetcher(answer, name="counted")
        self.manager = TokenManager(source, self.storage, background=False, clock=self.clock)
        self.auth = BearerAuth(self.manager)

    def renew(self, _request: PreparedRequest) -> object:
        """Have another token, from a source that costs next to nothing."""
        return self.manager.force_refresh()


def prepared(number: int) -> list[PreparedRequest]:
    """Return requests as requests hands them to an auth object."""
    urls = (f"https://api.example.com/v1/users/{user}?full=1" for user in range(number))
    return [Request("GET", url, headers={"Accept": "*/*"}).prepare() for url in urls]


def costs(call: Call, world: World) -> Costs:
    """Return what *call* asks for, each time it is called, of *world* and of the interpreter."""
    for request in prepared(WARM_UPS):
        call(request)
    first, second, *others = prepared(2 + TRIES)
    seen = traced(lambda: call(first))
    world.storage.calls.clear()
    world.clock.reads = 0
    called = profiled(lambda: call(second))
    return Costs(
        locks=seen["with"] + called["locks"],
        storage_calls=len(world.storage.calls),
        clock_reads=called["clocks"] + world.clock.reads,
        instructions=seen["instructions"],
        bytes=min(most_bytes(lambda request=one: call(request)) for one in others),
        blocks=min(blocks_that_stay(call) for _ in range(TRIES)),
    )


def traced(call: Callable[[], object]) -> Counter[str]:
    """Count the instructions of *call* in this thread, and those among them that enter a block of ``with``."""
    seen: Counter[str] = Counter()
    skipped = {*OBSERVERS, call.__code__, monitored.__code__, hooked.__code__}

    def note(code: CodeType, at: int) -> None:
        if code not in skipped:
            seen["instructions"] += 1
            seen["with"] += enters(opcode.opname[code.co_code[at]], code.co_code[at + 1])

    if sys.version_info >= (3, 12):  # whose sys.settrace leaves out the instructions of the first calls
        monitored(call, note)
    else:
        settraced(call, note)
    return seen


def monitored(call: Callable[[], object], note: Callable[[CodeType, int], None]) -> None:
    """Call *call*, and *note* for each instruction that this thread runs meanwhile."""
    watch, me = sys.monitoring, threading.get_ident()  # type: ignore[attr-defined]  # of 3.12
    tool = next(number for number in range(6) if watch.get_tool(number) is None)
    watch.use_tool_id(tool, "counts")
    try:
        seen = lambda code, at: note(code, at) if threading.get_ident() == me else None  # noqa: E731
        watch.register_callback(tool, watch.events.INSTRUCTION, seen)
        watch.set_events(tool, watch.events.INSTRUCTION)
        call()
    finally:
        watch.set_events(tool, watch.events.NO_EVENTS)
        watch.register_callback(tool, watch.events.INSTRUCTION, None)
        watch.free_tool_id(tool)


def settraced(call: Callable[[], object], note: Callable[[CodeType, int], None]) -> None:
    """Do the same on 3.10 and 3.11."""

    def trace(frame: FrameType, event: str, _what: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            note(frame.f_code, frame.f_lasti)
        return trace

    hooked(sys.gettrace, sys.settrace, trace, call)


def enters(name: str, argument: int) -> bool:
    """Return whether an instruction enters a block of ``with``: SETUP_WITH on 3.10, LOAD_SPECIAL from 3.14 on."""
    if name == "LOAD_SPECIAL":
        return opcode._special_method_names[argument] == "__enter__"  # type: ignore[attr-defined]  # of 3.14
    return name in ("BEFORE_WITH", "SETUP_WITH")


def profiled(call: Callable[[], object]) -> Counter[str]:
    """Count the locks that *call* takes in this thread without a ``with``, and its reads of other clocks than ours."""
    seen: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, what: Any) -> None:
        if frame.f_code in OBSERVERS or frame.f_code.co_name == "__enter__":  # counted by its block
            return
        name = what.__name__ if event == "c_call" else frame.f_code.co_name if event == "call" else ""
        seen["locks"] += name in ("acquire", "wait")
        seen["clocks"] += event == "c_call" and name in CLOCKS

    hooked(sys.getprofile, sys.setprofile, profile, call)
    return seen


def hooked(get: Callable[[], Any], put: Callable[[Any], object], hook: object, call: Callable[[], object]) -> None:
    """Call *call* with *hook* in the place of the interpreter's hook that there is."""
    before = get()
    put(hook)
    try:
        call()
    finally:
        put(before)


@contextmanager
def collected() -> Iterator[None]:
    """Have no collection fall in, and the interpreter's free lists empty; a heap of any size costs no time."""
    gc.freeze()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def most_bytes(call: Callable[[], object]) -> int:
    """Return the most bytes that *call* had at once."""
    was_tracing = tracemalloc.is_tracing()
    with collected():
        tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            call()
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            if not was_tracing:
                tracemalloc.stop()


def blocks_that_stay(call: Call) -> float:
    """Return how many blocks of memory each of a few calls leaves behind, while its request lives."""
    requests = prepared(BATCH)
    with collected():
        before = sys.getallocatedblocks()
        for request in requests:
            call(request)
        return max(0.0, (sys.getallocatedblocks() - before) / BATCH)


def excess(counted: Costs, limits: Costs) -> list[str]:
    """Return what is beyond its limit, in words."""
    pairs = ((one.name, getattr(counted, one.name), getattr(limits, one.name)) for one in fields(Costs))
    return [f"{name}: {value:.2f}, at most {most:g}" for name, value, most in pairs if value > most]


def main() -> None:
    world = World()
    bare = costs(Constant(), world)
    print(f"Python {sys.version.split()[0]}; a constant header: {bare.instructions} instructions, {bare.bytes} bytes")
    for name, call in {"request": world.auth, "renewal": world.renew}.items():
        print(f"{name}: {costs(call, world).in_units_of(bare)}")


if __name__ == "__main__":
    main()
