"""A WSGI application that calls an API with tokens: through tokenkit, and through managers as they are often written.

Loaded by the hosts of test_hosts.py, which say in the environment where the identity provider is. At its import, in the
parent of the workers where the host loads before it forks, each manager gets a token; then a renewal of tokenkit's
and one of a naive manager's are begun, which the identity provider lets hang where a test wants a fork amid them.
"""

import json
import os
import threading
import time
from contextlib import nullcontext

import requests

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager

IDP = os.environ["TOKENKIT_TEST_IDP"]
IMPORTED_IN = os.getpid()
asking = threading.Event()


def client_secret() -> str:
    """The secret, as a function: it is called when a request to the identity provider is about to go out."""
    asking.set()
    return "secret"


class NaiveManager:
    """What one writes first: a thread from the start, and a lock that callers take; some hold it while they fetch."""

    def __init__(self, *, fetch_under_lock: bool) -> None:
        self._lock = threading.Lock()
        self._fetching = self._lock if fetch_under_lock else nullcontext()
        self._due = threading.Event()
        self.inside = threading.Event()
        self._fetch()
        threading.Thread(target=self._renew, daemon=True).start()

    def renew_now(self) -> None:
        self._due.set()

    def get(self) -> str:
        if not self._lock.acquire(timeout=1):  # with a plain `with`, for ever
            raise TimeoutError("the lock is never free")
        try:
            return self._token
        finally:
            self._lock.release()

    def _renew(self) -> None:
        while True:
            self._due.wait(self._lifetime * 0.8)
            self._due.clear()
            with self._fetching:
                self.inside.set()
                self._fetch()

    def _fetch(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "secret"}
        answer = requests.post(f"{IDP}/token", data=form, timeout=30).json()
        self._token, self._lifetime = answer["access_token"], answer["expires_in"]


fetcher = ClientCredentialsFetcher(token_url=f"{IDP}/token", client_id="client", client_secret=client_secret)
manager = TokenManager(fetcher)
auth = BearerAuth(manager)
naive, naive_amid_renewal = NaiveManager(fetch_under_lock=False), NaiveManager(fetch_under_lock=True)

manager.get_token()
asking.clear()
manager.request_renewal()
asking.wait(10)
naive_amid_renewal.renew_now()
naive_amid_renewal.inside.wait(10)
# By then both wait for their answers. uWSGI forks without telling the interpreter, whose own lock is lost in the worker
# if another thread is about to take it at that instant: then nothing runs there, with tokenkit or without.
time.sleep(0.3)


def call_api(path: str) -> dict[str, object]:
    if path == "/tokenkit":
        response = requests.get(f"{IDP}/api/x", auth=auth, timeout=10)
    else:
        token = (naive if path == "/naive" else naive_amid_renewal).get()
        response = requests.get(f"{IDP}/api/x", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    token = response.json().get("token_fingerprint", "")
    return {"status": response.status_code, "token": token, "resent": len(response.history)}


def application(environ, start_response):
    began = time.monotonic()
    try:
        answer = call_api(environ["PATH_INFO"])
    except Exception as error:
        answer = {"status": 0, "error": f"{type(error).__name__}: {error}"}
    answer |= {"seconds": time.monotonic() - began, "pid": os.getpid(), "forked": os.getpid() != IMPORTED_IN}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
