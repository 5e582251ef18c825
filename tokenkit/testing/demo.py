"""What tokenkit does, live: sixteen threads, a token that comes due, an outage, a revocation. Ends within 20 seconds.

``tokenkit demo`` runs it. A naive program goes through the same beside it: each of its threads fetches a token when its
own has expired. Both have an identity provider of their own on this machine, with the same troubles.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import final

import requests

from tokenkit.auth import BearerAuth
from tokenkit.clock import SystemClock
from tokenkit.events import TokenEvent, TokenListener
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
from tokenkit.manager import TokenManager
from tokenkit.policy import RefreshPolicy
from tokenkit.testing.idp import LocalIdP

__all__ = ["main"]

_THREADS = 16
_LIFETIME = 8.0  # seconds that a token lives; it is renewed after 5.6 to 6.4
_PAUSE = 0.1  # seconds between two requests of a thread
_OUTAGE, _HEALED, _REVOKED, _END = 11.0, 12.5, 15.0, 17.0  # seconds from the start
_clock = SystemClock()


@final
class _Story:
    """Tells what happens as it happens, each line with its time."""

    def __init__(self) -> None:
        self._began = _clock.monotonic()
        self._is_terminal = sys.stdout.isatty()

    @property
    def seconds(self) -> float:
        return _clock.monotonic() - self._began

    def tell(self, line: str) -> None:
        clear = "\r\x1b[K" if self._is_terminal else ""
        sys.stdout.write(f"{clear}{self.seconds:5.1f} s  {line}\n")
        sys.stdout.flush()

    def wait(self, until: float) -> None:
        """Wait until that many seconds from the start, with a progress line on a terminal and nowhere else."""
        while (left := until - self.seconds) > 0:
            if self._is_terminal:
                sys.stdout.write(f"\r{self.seconds:5.1f} s  ...")
                sys.stdout.flush()
            _clock.nap(queue.SimpleQueue(), min(left, 0.2))


@final
class _Narrator(TokenListener):
    """Puts the events of a manager into words."""

    def __init__(self, story: _Story) -> None:
        self._tell = story.tell
        self.misses = 0
        self.renewed_ahead = 0

    def cache_miss(self, event: TokenEvent) -> None:
        self.misses += 1

    def cache_invalidate(self, event: TokenEvent) -> None:
        self._tell("the API answered 401: the token is given up, once for all threads")

    def token_refresh(self, event: TokenEvent) -> None:
        if event.result == "error":
            self._tell("no new token: the one held is good still, and is tried again")
        elif self.misses:
            self._tell(f"a new token: {self.misses} requests waited for it, one asked for it")
            self.misses = 0
        else:
            self.renewed_ahead += 1
            self._tell(f"renewed behind {_THREADS} threads: none of them waited")


class _Naive:
    """What one writes first: a token for each thread, and another when it has expired."""

    def __init__(self, idp: LocalIdP) -> None:
        self._token_url = idp.token_url
        self._mine = threading.local()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if getattr(self._mine, "until", 0.0) <= _clock.monotonic():
            form = {"grant_type": "client_credentials"}
            answer = requests.post(self._token_url, form, auth=("client", "secret"), timeout=10)
            answer.raise_for_status()
            self._mine.token, self._mine.until = answer.json()["access_token"], _clock.monotonic() + _LIFETIME
        request.headers["Authorization"] = f"Bearer {self._mine.token}"
        return request


def _work(
    session_auth: Callable[[requests.PreparedRequest], requests.PreparedRequest], url: str, until: float
) -> Counter[str]:
    """One thread's requests until that moment, counted by how they ended."""
    counted: Counter[str] = Counter()
    with requests.Session() as session:
        session.trust_env = False
        while _clock.monotonic() < until:
            try:
                answer = session.get(url, auth=session_auth, timeout=10)
                counted["good" if answer.status_code == 200 else "failed"] += 1
            except requests.RequestException:
                counted["failed"] += 1
            _clock.nap(queue.SimpleQueue(), _PAUSE)
    return counted


def main() -> int:
    """Run it, and return 0 if no request of tokenkit's failed, else 1."""
    with LocalIdP(lifetime=_LIFETIME) as idp, LocalIdP(lifetime=_LIFETIME) as other:
        story = _Story()
        narrator = _Narrator(story)
        fetcher = ClientCredentialsFetcher(
            token_url=idp.token_url, client_id="client", client_secret="secret", retries=0
        )
        policy = RefreshPolicy(initial_retry_timeout=0.5)
        story.tell(f"{_THREADS} threads begin to call an API; no token yet")
        until = _clock.monotonic() + _END
        with (
            TokenManager(fetcher, policy=policy, listeners=[narrator]) as manager,
            ThreadPoolExecutor(2 * _THREADS) as pool,
        ):
            auth, naive = BearerAuth(manager), _Naive(other)
            ours = [pool.submit(_work, auth, idp.api("orders"), until) for _ in range(_THREADS)]
            theirs = [pool.submit(_work, naive, other.api("orders"), until) for _ in range(_THREADS)]
            _trouble(story, idp, other)
        results = [sum((job.result() for job in jobs), Counter[str]()) for jobs in (ours, theirs)]
        _account(("tokenkit", results[0], idp), ("naive program", results[1], other))
    return int(results[0]["failed"] > 0)


def _trouble(story: _Story, *idps: LocalIdP) -> None:
    story.wait(_OUTAGE)
    story.tell("the identity provider is down")
    for idp in idps:
        idp.fail("token", status=503, times=None)
    story.wait(_HEALED)
    story.tell("the identity provider is back")
    for idp in idps:
        idp.heal("token")
    story.wait(_REVOKED)
    story.tell("all tokens are revoked")
    for idp in idps:
        idp.revoke_all()
    story.wait(_END)


def _account(*rows: tuple[str, Counter[str], LocalIdP]) -> None:
    sys.stdout.write(f"\n{'':14}{'requests':>10}{'failed':>8}{'token calls':>13}\n")
    for name, counted, idp in rows:
        requests_made = counted["good"] + counted["failed"]
        sys.stdout.write(f"{name:14}{requests_made:10}{counted['failed']:8}{idp.count('token'):13}\n")


if __name__ == "__main__":
    sys.exit(main())
