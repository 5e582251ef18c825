"""The wall clock stepped under a real manager, in the process and from outside: its deadlines are elsewhere."""

import subprocess
import sys
from textwrap import dedent

import pytest
from support import needs

from tokenkit import TokenManager
from tokenkit.clock import SystemClock
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
from tokenkit.testing import LocalIdP

time_machine = needs.module("time_machine")

HOUR = 3600.0

PROGRAM = """
    import sys, time
    from datetime import datetime, timedelta, timezone
    import time_machine
    from tokenkit import RefreshPolicy, Token, TokenManager, TokenProvider

    class Source(TokenProvider):
        service_name = "source"
        fetches = 0
        def fetch_token(self, context=None):
            self.fetches += 1
            now = datetime.now(timezone.utc)
            return Token(f"token-{self.fetches}", issued_at=now, expires_at=now + timedelta(seconds=LIFETIME))

    def stepped(seconds):
        return time_machine.travel(datetime.now(timezone.utc) + timedelta(seconds=seconds), tick=True)

    source = Source()
    manager = TokenManager(source, policy=RefreshPolicy(jitter=0))
"""


def run(program: str, lifetime: float) -> str:
    """Run *program*, whose other clocks go on as they do; return what it printed."""
    code = dedent(PROGRAM).replace("LIFETIME", str(lifetime)) + dedent(program)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=50)
    assert ("", 0) == (done.stderr, done.returncode)
    return done.stdout


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_step_costs_no_renewal_and_no_loop(step: float) -> None:
    """A token with a day to live is neither dropped nor renewed for it, and a manager does not spin."""
    program = f"""
        manager.get_token()
        with stepped({step}):
            used = time.process_time()
            tokens = {{manager.get_token().access_token for _ in range(100)}}
            time.sleep(0.3)
            print(sorted(tokens), source.fetches, time.process_time() - used < 0.2)
    """
    assert "['token-1'] 1 True\n" == run(program, 86400)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_token_is_renewed_in_its_own_time(step: float) -> None:
    """A token of one second is renewed each second, and its age is not told from the wall."""
    program = f"""
        manager.get_token()
        with stepped({step}):
            end = time.perf_counter() + 2.5
            while time.perf_counter() < end:
                manager.get_token()
                time.sleep(0.01)
            print(2 <= source.fetches <= 5)
    """
    assert "True\n" == run(program, 1)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_time_limits_are_not_on_the_wall(step: float) -> None:
    """A wait that begins before a step ends in time after it."""
    program = f"""
        import threading
        entered = threading.Event()
        source.fetch_token = lambda context=None: entered.set() or threading.Event().wait()
        manager = TokenManager(source)
        took = []
        def wait():
            began = time.perf_counter()
            try:
                manager.get_token(0.5)
            except Exception as error:
                took.append((type(error).__name__, time.perf_counter() - began))
        waiter = threading.Thread(target=wait)
        waiter.start()
        assert entered.wait(10)
        with stepped({step}):
            waiter.join()
        print(took[0][0], 0.5 <= took[0][1] < 5)
    """
    assert "RenewalTimeoutError True\n" == run(program, HOUR)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_tokens_fetched_after_a_step_are_judged_by_the_new_time(local_idp: LocalIdP, step: float) -> None:
    """A client whose wall is an hour off still gets tokens that live as long as they say: lifetimes are relative."""
    source = ClientCredentialsFetcher(token_url=local_idp.token_url, client_id="client", client_secret="secret")
    with TokenManager(source) as manager:
        wall = SystemClock().time()
        with time_machine.travel(wall + step, tick=True):
            token = manager.get_token()
            left = token.expires_at.timestamp() - SystemClock().time()
            assert 0 < left <= HOUR + 5
            assert token is manager.get_token()
