"""Thirty-two threads beside tokens that expire and are revoked: python tests/benchmarks/stress.py [SECONDS].

Half of the threads authorise a request, half send one to a resource that knows which tokens are good. What must not be
ends the run with an error: a token that had expired when it was asked for, an older token after a newer one, two
fetches at once, a fetch that nothing called for, an answer of 401 although the token could be replaced. Made for
interpreters without a global lock; it imports no more than the package does.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import requests
from requests.adapters import BaseAdapter

from tokenkit import BearerAuth, RefreshPolicy, Token, TokenManager
from tokenkit.contracts import FetchContext, TokenProvider

THREADS = 32
LIFETIME = 1.0
URL = "https://api.example.com/orders"


class Source(TokenProvider):
    """Numbers its tokens, and takes a moment for each."""

    service_name = "stress"

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}
        self.revoked: set[str] = set()
        self.accepted: set[str] = set()
        self.inside = self.most_inside = 0
        self.lock = threading.Lock()

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        time.sleep(0.002)
        with self.lock:
            self.inside -= 1
            now = datetime.now(timezone.utc)
            token = Token(f"token-{len(self.tokens) + 1}", issued_at=now, expires_at=now + timedelta(seconds=LIFETIME))
            self.tokens[token.access_token] = token
        return token

    def revoke_what_was_accepted(self) -> None:
        """A token that no resource has taken yet is not replaced at once: that is no subject of this run."""
        with self.lock:
            newest = f"token-{len(self.tokens)}"
            if newest in self.accepted:
                self.revoked.add(newest)


class Resource(BaseAdapter):
    """Answers 200 to the bearer of a token that is not revoked; keeps what each thread sent."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.sent = threading.local()

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        name = request.headers["Authorization"].removeprefix("Bearer ")
        self.sent.rejected = getattr(self.sent, "rejected", 0)
        with self.source.lock:
            is_good = name not in self.source.revoked
            if is_good:
                self.source.accepted.add(name)
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = (200 if is_good else 401), URL, request
        answer.connection = self
        if not is_good:
            self.sent.rejected += 1
            answer.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        answer.raw, answer._content = None, b""
        return answer

    def close(self) -> None:
        pass


def run(seconds: float) -> tuple[Counter[str], list[str], Source]:
    source, done, faults = Source(), Counter[str](), list[str]()
    policy = RefreshPolicy(min_renewal_interval=0.001, initial_retry_timeout=0.001)
    with TokenManager(source, policy=policy) as manager:
        auth, resource = BearerAuth(manager), Resource(source)
        end = time.monotonic() + seconds

        def authorise() -> None:
            newest = 0
            while time.monotonic() < end:
                asked_at = datetime.now(timezone.utc)
                header = auth(requests.Request("GET", URL).prepare()).headers["Authorization"]
                token = source.tokens[header.removeprefix("Bearer ")]
                number = int(token.access_token.removeprefix("token-"))
                if token.expires_at is None or token.expires_at <= asked_at:
                    faults.append(f"{token.access_token} had expired")
                if number < newest:
                    faults.append(f"{token.access_token} after token-{newest}")
                newest = max(newest, number)
                done["authorised"] += 1

        def ask() -> None:
            session = requests.Session()
            session.auth = auth
            session.mount("https://", resource)
            while time.monotonic() < end:
                resource.sent.rejected = 0
                status = session.get(URL).status_code
                if status != 200 and resource.sent.rejected <= 2:
                    faults.append(f"an answer of {status} after {resource.sent.rejected} rejections")
                done["asked"] += 1

        def revoke() -> None:
            while time.monotonic() < end:
                time.sleep(random.uniform(0.0, 0.05))
                source.revoke_what_was_accepted()

        works: list[Callable[[], None]] = [authorise, ask] * (THREADS // 2) + [revoke]
        in_threads(works, faults, seconds)
    return done, faults, source


def in_threads(works: list[Callable[[], None]], faults: list[str], seconds: float) -> None:
    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            faults.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 30)
    faults += [f"{thread.name} hangs" for thread in threads if thread.is_alive()]


def main() -> int:
    sys.setswitchinterval(1e-5)  # where there is a global lock, whoever has it lets go of it often
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    done, faults, source = run(seconds)
    most = len(source.revoked) + seconds / (LIFETIME / 2) + 2
    if source.most_inside != 1:
        faults.append(f"{source.most_inside} fetches at once")
    if len(source.tokens) > most:
        faults.append(f"{len(source.tokens)} fetches")
    print(f"Python {sys.version.split()[0]}, {'with' if has_gil else 'without'} a global lock, {THREADS} threads")
    print(f"{dict(done)} in {seconds:g} s; {len(source.revoked)} tokens revoked, {len(source.tokens)} fetched")
    print("\n".join(f"FAULT: {fault}" for fault in faults[:20]) or "no fault")
    return 1 if faults else 0


sys.exit(main())
