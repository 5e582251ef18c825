"""Many managers in one process: what each costs, and that none delays another."""

import gc
import threading
import tracemalloc

from support.scripted import PATIENCE, STEADY, ScriptedSource

from tokenkit import TokenManager
from tokenkit.testing import FakeClock

MANY = 300


def test_idle_managers_cost_one_thread_and_little_memory() -> None:
    """Each takes less than 6 KiB beyond its source, token included, and one thread sees to them all."""
    clock = FakeClock()
    sources = [ScriptedSource(clock) for _ in range(MANY)]
    tracemalloc.start()
    managers = [TokenManager(source, policy=STEADY, clock=clock) for source in sources]
    for manager in managers:
        manager.get_token()
    clock.wait_until_parked()
    gc.collect()
    each = tracemalloc.get_traced_memory()[0] / MANY
    tracemalloc.stop()
    assert each < 6 * 1024
    assert {"tokenkit-refresh"} == {managers[0]._engine._thread._thread.name}  # of this clock; no public way to it
    assert 1 == clock.parked


def test_sources_that_hang_delay_nobody_else() -> None:
    """A hundred managers whose source hangs keep a hundred workers; the others are renewed ahead of expiry."""
    clock = FakeClock()
    well = [ScriptedSource(clock, 300.0) for _ in range(100)]
    ill = [ScriptedSource(clock, 300.0) for _ in range(100)]
    before = set(threading.enumerate())
    managers = [TokenManager(source, policy=STEADY, clock=clock) for source in (*well, *ill)]
    try:
        for manager in managers:
            manager.get_token()
        for source in ill:
            for _ in range(20):
                source.hang()
        for _ in range(60):
            clock.advance(10)
            for _ in range(20):
                threading.Event().wait(0.001)
        tokens = [manager.get_token(0) for manager in managers[:100]]
        assert all(token.access_token != "token-1" for token in tokens)
        assert len(set(threading.enumerate()) - before) <= 257
    finally:
        for manager in managers:
            manager.stop()
        for source in ill:
            source.let_go()
        for manager in managers:
            manager.close(PATIENCE)
