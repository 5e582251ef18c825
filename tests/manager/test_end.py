"""The end of a manager: closed, dropped, or overtaken by the end of the program."""

import gc
import os
import subprocess
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from support.scripted import PATIENCE, EventLog, Harness, ScriptedSource, ask, down, outcomes

from tokenkit import AuthenticationError, ClientCredentialsFetcher, RenewalStoppedError, TokenManager
from tokenkit.clock import SystemClock
from tokenkit.events import TokenEvent
from tokenkit.testing import FakeClock, LocalIdP


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_stopped_manager_serves_what_it_holds(harness: Harness) -> None:
    """The token is good until it expires, and then there is no other."""
    first = harness.manager.get_token()
    harness.parked()
    harness.manager.stop()
    harness.clock.advance(3500)
    assert first is harness.manager.get_token()
    harness.clock.advance(100)
    with pytest.raises(RenewalStoppedError):
        harness.manager.get_token()
    assert 1 == harness.source.fetches


def test_a_stopped_manager_starts_no_thread(harness: Harness) -> None:
    """Asking it for a renewal, or for a token, is in vain."""
    before = set(threading.enumerate())
    harness.manager.stop()
    harness.manager.request_renewal()
    with pytest.raises(RenewalStoppedError):
        harness.manager.force_refresh()
    assert (set(), 0) == (set(threading.enumerate()) - before, harness.source.fetches)


def test_closing_closes_the_source(harness: Harness) -> None:
    """Once; to close again does no harm."""
    harness.manager.get_token()
    harness.manager.close()
    assert 1 == harness.source.closed
    harness.manager.close(grace=0)
    harness.manager.close(grace=float("inf"))


def test_the_refresh_thread_ends_when_all_are_closed(harness: Harness) -> None:
    """It has nothing to wait for any more."""
    harness.manager.get_token()
    harness.parked()
    thread = harness.manager._engine._thread._thread  # there is no public way to it
    harness.manager.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_closing_waits_for_a_renewal_under_way(harness: Harness) -> None:
    """The grace is for the fetch: what it brings is still stored and held."""
    gate = harness.source.hang()
    harness.manager.request_renewal()
    assert gate.reached()
    threading.Timer(0.05, gate.release).start()
    harness.manager.close(grace=PATIENCE)
    assert "token-1" == harness.manager.current.access_token


def test_closing_waits_a_moment_for_listeners(make_harness: Callable[..., Harness]) -> None:
    """They have a second from when the attempt has landed, however long it took."""
    told, let_go, closed = threading.Event(), threading.Event(), []

    class Dawdling(EventLog):
        def token_lifetime(self, event: TokenEvent) -> None:
            told.set()
            let_go.wait(PATIENCE)
            closed.append(harness.source.closed)

    harness = make_harness(ears=Dawdling())
    gate = harness.source.hang()
    harness.manager.request_renewal()
    assert gate.reached()
    closing = ask(harness.manager.close)
    for seconds in (1, 0.9):
        harness.parked()
        harness.clock.advance(seconds)
    gate.release()
    assert told.wait(PATIENCE)
    harness.parked()
    harness.clock.advance(0.5)
    threading.Timer(0.03, let_go.set).start()
    assert [None] == outcomes(closing)
    assert [0] == closed


def test_closing_waits_no_longer_than_its_grace(make_harness: Callable[..., Harness]) -> None:
    """A fetch that hangs does not keep the program."""
    harness = make_harness(clock=SystemClock())
    gate = harness.source.hang()
    harness.manager.request_renewal()
    assert gate.reached()
    began = time.monotonic()
    harness.manager.close(grace=0.05)
    assert (True, 1) == (time.monotonic() - began < 1, harness.source.closed)


def test_a_with_block_closes() -> None:
    """Also when it is left by an error."""
    source = ScriptedSource(FakeClock())
    with pytest.raises(KeyError), TokenManager(source, clock=source.clock) as manager:
        raise KeyError
    assert (1, source) == (source.closed, manager.source)


def test_closing_revokes_if_asked(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """A source that can revoke is given the token held; its failure is logged."""
    revoked = []
    harness.source.revoke = revoked.append
    token = harness.manager.get_token()
    harness.manager.close()
    assert [] == revoked
    harness.manager.close(revoke=True)
    assert [token] == revoked
    harness.source.revoke = None.__getattribute__
    harness.manager.close(revoke=True)
    assert "could not revoke the token" in caplog.text


def refresh_thread_of(manager: TokenManager) -> threading.Thread:
    """Return the thread that sees to *manager*; there is no public way to it."""
    thread = manager._engine._thread._thread
    assert thread is not None
    return thread


def test_a_dropped_manager_is_collected() -> None:
    """The refresh thread holds it weakly, and ends where it was the last one."""
    source = ScriptedSource(FakeClock())
    manager = TokenManager(source, clock=source.clock)
    manager.get_token()
    source.clock.wait_until_parked()
    gone, thread = weakref.ref(manager._engine), refresh_thread_of(manager)
    del manager
    gc.collect()
    thread.join(PATIENCE)
    assert (False, None) == (thread.is_alive(), gone())


def test_a_manager_dropped_after_a_failure_is_collected_too() -> None:
    """The error that it remembers holds nobody."""
    source = ScriptedSource(FakeClock())
    source.always = down()
    manager = TokenManager(source, clock=source.clock)
    with pytest.raises(AuthenticationError):
        manager.get_token()
    source.clock.wait_until_parked()
    thread = refresh_thread_of(manager)
    del manager
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


MANY = """
    import gc, threading, tracemalloc
    from tokenkit import Token, TokenManager
    from tokenkit.fetchers import CallableTokenFetcher

    def use(count):
        for _ in range(count):
            manager = TokenManager(CallableTokenFetcher(lambda: Token("token"), name="one-of-many"))
            manager.get_token()
            assert threading.active_count() > 1  # there is a thread
        del manager
        gc.collect()
        for thread in threading.enumerate():
            if thread.name == "tokenkit-refresh":
                thread.join({patience})

    def remembered():
        # How many threads there are is counted, and what the interpreter keeps for one is its own: 6 KB without a GIL.
        traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, threading.__file__)]).traces
        return sum(trace.size for trace in traces)

    use(50)
    tracemalloc.start()
    use(50)  # what is traced for the first time
    before = remembered()
    for _ in range(4):
        use(250)
    print(remembered() - before, threading.active_count())
"""


def test_a_thousand_managers_leave_nothing() -> None:
    """Made, used and dropped, they leave no memory, not one manager in thirty, and of threads an idle worker or two."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(MANY).format(patience=PATIENCE)],
        capture_output=True,
        text=True,
        timeout=50,
        env=environ,  # coverage keeps a tracer for each thread there ever was
    )
    assert ("", 0) == (done.stderr, done.returncode)
    grown, threads = map(int, done.stdout.split())
    assert grown < 100_000
    assert threads < 20


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_managers_leave_no_descriptor() -> None:
    """Each has talked to its provider, and when it is dropped nothing is left of that."""
    clients = {"client_id": "client", "client_secret": "secret"}
    before = descriptors()
    with LocalIdP() as idp:
        managers = [TokenManager(ClientCredentialsFetcher(token_url=idp.token_url, **clients)) for _ in range(30)]
        for manager in managers:
            manager.get_token()
        assert 30 == idp.connections
        thread = refresh_thread_of(manager)
        del manager, managers
        gc.collect()
        thread.join(PATIENCE)
    assert descriptors() <= before  # the provider's own are closed by now, those of clients by nobody but them


PROGRAM = """
    import threading
    from tokenkit import TokenManager, TokenProvider, Token

    class Hanging(TokenProvider):
        service_name = "hanging"
        def fetch_token(self, context=None):
            entered.set()
            {hang}

    entered = threading.Event()
    manager = TokenManager(Hanging())
    {use}
    assert entered.wait(10)
    print("ends", flush=True)
"""


@pytest.mark.parametrize(
    ("hang", "use"),
    [
        ("threading.Event().wait()", "manager.request_renewal()"),
        ("threading.Event().wait()", "threading.Thread(target=manager.get_token, daemon=True).start()"),
        ("import time; time.sleep(0.05); raise ValueError", "manager.request_renewal()"),
        ("return Token('t')", "manager.get_token()"),
    ],
)
def test_a_program_ends_at_once_with_a_renewal_in_flight(hang: str, use: str) -> None:
    """The interpreter exits within a second of the program's last line and prints nothing."""
    program = dedent(PROGRAM).format(hang=hang, use=use)
    for _ in range(3):  # a machine with other work may take longer for once; what waits for something always does
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert "ends\n" == process.stdout.readline()
            began = time.monotonic()
            rest = process.communicate(timeout=10)
            took = time.monotonic() - began
        assert (("", ""), 0) == (rest, process.returncode)
        if took < 1:
            break
    assert took < 1


LAST = """
    class Last:
        def __del__(self):
            print(manager.get_token(5).access_token)
    last = Last()
"""
# There a timedelta alone, made while modules are taken down, ends the process: CPython's, not this package's.
DOES_WITHOUT_DEL = sys.version_info < (3, 14) and bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def test_a_token_can_be_had_while_the_interpreter_shuts_down() -> None:
    """In an atexit handler, where no thread can be started, a caller leads; and in what is finalized after it."""
    program = """
        import atexit
        from tokenkit import TokenManager, Token
        from tokenkit.fetchers import CallableTokenFetcher
        manager = TokenManager(CallableTokenFetcher(lambda: Token("late")))
        atexit.register(lambda: print(manager.get_token(5).access_token))
    """
    code = dedent(program) + ("" if DOES_WITHOUT_DEL else dedent(LAST))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, env={**os.environ})
    expected = "late\n" if DOES_WITHOUT_DEL else "late\nlate\n"
    assert (expected, "", 0) == (done.stdout, done.stderr, done.returncode)


def test_dropping_many_at_once_while_they_renew(make_harness: Callable[..., Harness]) -> None:
    """A manager dropped in the midst of a fetch is collected when that comes back, and its thread ends."""
    source = ScriptedSource(FakeClock())
    gate = source.hang()
    manager = TokenManager(source, clock=source.clock)
    manager.request_renewal()
    assert gate.reached()
    thread = refresh_thread_of(manager)
    del manager
    gc.collect()
    gate.release()
    thread.join(PATIENCE)
    assert not thread.is_alive()
