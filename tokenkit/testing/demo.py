"""What tokenkit does, live: sixteen threads, a token in three steps, an outage, a revocation. Ends within 20 seconds.

``tokenkit demo`` and ``examples/quickstart.py`` run it. A naive program goes through the same beside it: each of its
threads fetches a token when its own has expired. Both have an identity provider of their own on this machine, with the
same troubles.
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
from tokenkit.fetchers import BodyTokenFetcher, HeaderTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.pipeline import PipelineTokenProvider, TokenFetchPipeline
from tokenkit.policy import RefreshPolicy
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing.idp import LocalIdP

__all__ = ["main"]

_THREADS = 16
_STEPS = ("device", "app", "user")
_LIFETIME = 5.0  # seconds that the last step's token lives
_POLICY = RefreshPolicy(lifetime_safe_fraction=0.6, jitter=0.0, initial_retry_timeout=0.5)  # due after 3 of them
_PAUSE = 0.1  # seconds between two requests of a thread
# Seconds from the start. In the outage the naive threads' tokens expire (10), and tokenkit's of the 9th comes due (12).
_OUTAGE, _HEALED, _REVOKED, _END = 9.6, 12.3, 14.0, 15.0
_LONGER = 1.0  # seconds that the outage lasts on at most, on a machine so busy that nothing came due in it
_DEVICE, _USER = {"device_id": "till-7"}, {"username": "alice", "password": "wonderland"}
_clock = SystemClock()
_Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


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
        self.waited: Counter[str] = Counter()
        self.renewed_ahead = 0
        self.is_down = False
        self.has_failed = threading.Event()

    def cache_miss(self, event: TokenEvent) -> None:
        self.waited[event.result] += 1

    def cache_invalidate(self, event: TokenEvent) -> None:
        self._tell("the API answered 401: the token is given up, once for all threads")

    def token_refresh(self, event: TokenEvent) -> None:
        if event.result == "error":
            if not self.is_down:
                self._tell("no new token: the one held is good still, and this is tried again")
            self.is_down = True
            self.has_failed.set()
        elif event.reason == "first":
            self._tell(f"the first token, by three calls: one thread fetched it, {_THREADS} use it")
        elif event.reason == "rejected":
            self._tell("healed: one call brought a new token, and the requests were sent again")
        else:
            self.renewed_ahead += 1
            what = "outage survived" if self.is_down else "renewed"
            self._tell(f"{what} behind {_THREADS} threads: none of them waited")
            self.is_down = False


@final
class _Naive:
    """What one writes first: the three steps in each thread, and again when that thread's token has expired."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._mine = threading.local()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if getattr(self._mine, "until", 0.0) <= _clock.monotonic():
            device = self._ask("device", json=_DEVICE).json()["data"]["token"]
            app = self._ask("app", headers={"X-Device-Token": device}).headers["Authorization"].split()[-1]
            both = {"X-Device-Token": device, "X-App-Token": app}
            self._mine.token = self._ask("user", data=_USER, headers=both).json()["access_token"]
            self._mine.until = _clock.monotonic() + _LIFETIME
        request.headers["Authorization"] = f"Bearer {self._mine.token}"
        return request

    def _ask(self, step: str, **options: object) -> requests.Response:
        answer = requests.request("POST", f"{self._url}/{step}", timeout=10, **options)  # type: ignore[arg-type]  # mixed
        answer.raise_for_status()
        return answer


def _provider(url: str) -> PipelineTokenProvider:
    """Return tokenkit's way to the same token."""
    steps = [
        BodyTokenFetcher(
            "device", url, "/device", request_data=_DEVICE, content_type="json", token_field="data.token", retries=0
        ),
        HeaderTokenFetcher(
            "app",
            url,
            "/app",
            request_headers=lambda context: {"X-Device-Token": context["device"].access_token},
            depends_on=["device"],
            retries=0,
        ),
        BodyTokenFetcher(
            "user",
            url,
            "/user",
            request_headers=lambda context: {
                "X-Device-Token": context["device"].access_token,
                "X-App-Token": context["app"].access_token,
            },
            request_data=_USER,
            depends_on=["device", "app"],
            retries=0,
        ),
    ]
    return PipelineTokenProvider(TokenFetchPipeline(steps, InMemoryTokenStorage()), "shop", refresh_from_step="user")


def _work(auth: _Auth, url: str, over: threading.Event) -> Counter[str]:
    """One thread's requests until it is over, counted by how they ended."""
    counted: Counter[str] = Counter()
    with requests.Session() as session:
        session.trust_env = False
        _ask(session, auth, url, over, counted)
    return counted


def _ask(session: requests.Session, auth: _Auth, url: str, over: threading.Event, counted: Counter[str]) -> None:
    while not over.is_set():
        try:
            answer = session.get(url, auth=auth, timeout=10)
            is_good = answer.status_code == 200
            counted["good" if is_good else "failed"] += 1
            counted["sent again"] += is_good and bool(answer.history)
        except requests.RequestException:
            counted["failed"] += 1
        over.wait(_PAUSE)


def main() -> int:
    """Run it, and return 0 if no request of tokenkit's failed, else 1."""
    with LocalIdP() as idp, LocalIdP() as other:
        for one in (idp, other):
            one.lifetimes["user"] = _LIFETIME
        story = _Story()
        narrator = _Narrator(story)
        story.tell(f"{_THREADS} threads begin to call an API; no token yet")
        over = threading.Event()
        with (
            TokenManager(_provider(idp.url), policy=_POLICY, listeners=[narrator]) as manager,
            ThreadPoolExecutor(2 * _THREADS) as pool,
        ):
            try:
                auth, naive = BearerAuth(manager), _Naive(other.url)
                ours = [pool.submit(_work, auth, idp.api("orders"), over) for _ in range(_THREADS)]
                theirs = [pool.submit(_work, naive, other.api("orders"), over) for _ in range(_THREADS)]
                _trouble(story, narrator, idp, other)
            finally:
                over.set()  # after Ctrl-C, too: the pool waits for its threads
        results = [sum((job.result() for job in jobs), Counter[str]()) for jobs in (ours, theirs)]
        _account(narrator, results[0], idp)
        _compare(("tokenkit", results[0], idp), ("naive program", results[1], other))
    return int(results[0]["failed"] > 0)


def _trouble(story: _Story, narrator: _Narrator, *idps: LocalIdP) -> None:
    story.wait(_OUTAGE)
    story.tell("the identity provider is down")
    for idp in idps:
        for step in _STEPS:
            idp.fail(step, status=503, times=None)
    story.wait(_HEALED)
    narrator.has_failed.wait(_LONGER)
    story.tell("the identity provider is back")
    for idp in idps:
        idp.heal()
    story.wait(_REVOKED)
    story.tell("the users' tokens are revoked")
    for idp in idps:
        idp.revoke_all("access")
    story.wait(_END)


def _account(narrator: _Narrator, counted: Counter[str], idp: LocalIdP) -> None:
    waited, again = narrator.waited, counted["sent again"]
    for line in (
        f"token calls: {', '.join(f'{step} {idp.count(step)}' for step in _STEPS)}",
        f"waited for a token: {waited['absent']} for the first or after the revocation, {waited['expired']} else",
        f"renewed ahead of expiry: {narrator.renewed_ahead} times",
        f"revoked: {again} requests were answered 401, sent again, and answered 200",
        f"failures: {counted['failed']}",
    ):
        sys.stdout.write(f"{line}\n")


def _compare(*rows: tuple[str, Counter[str], LocalIdP]) -> None:
    sys.stdout.write(f"\n{'':14}{'requests':>10}{'failed':>8}{'token calls':>13}\n")
    for name, counted, idp in rows:
        made, calls = counted["good"] + counted["failed"], sum(idp.count(step) for step in _STEPS)
        sys.stdout.write(f"{name:14}{made:10}{counted['failed']:8}{calls:13}\n")
