"""Many processes that share one storage, as a program: it forks them, starts them together, prints what they saw.

Run by test_herds.py in an interpreter of its own, which has no threads when it forks. One JSON argument, one line
of JSON a run: what each process got, as fingerprints or the error's class.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from tokenkit import ClientCredentialsFetcher, RefreshPolicy, Token, TokenFetchPipeline, TokenManager, TokenStorage
from tokenkit import storage as storages
from tokenkit.fetchers import RefreshTokenFetcher


def make_storage(kind: str, where: str, run: int) -> TokenStorage:
    """Return a storage of *kind*, and load only what that takes."""
    if kind == "file":
        return storages.FileTokenStorage(f"{where}/{run}")
    if kind == "redis":
        return storages.RedisTokenStorage(where, key_prefix=f"herd-{run}")
    from django.conf import settings

    if not settings.configured:
        cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": where}
        settings.configure(CACHES={"default": cache})
    return storages.DjangoCacheTokenStorage(key_prefix=f"herd-{run}")


def client(order: dict) -> dict[str, str]:
    return {"token_url": order["token_url"], "client_id": "client", "client_secret": "secret"}


def make_fetcher(order: dict, run: int) -> ClientCredentialsFetcher | RefreshTokenFetcher:
    if not order["refresh_tokens"]:
        return ClientCredentialsFetcher(**client(order))
    return RefreshTokenFetcher(refresh_token=order["refresh_tokens"][run], **client(order))


def make_asker(order: dict, storage: TokenStorage, run: int) -> Callable[[], Token]:
    """Return what a program calls for each request."""
    user, lock_timeout = make_fetcher(order, run), order["lock_timeout"]
    if not order["pipeline"]:
        manager = TokenManager(user, storage, policy=RefreshPolicy(lock_timeout=lock_timeout))
        return lambda: manager.get_token(20)
    pipeline = TokenFetchPipeline([user], storage, lock_timeout=lock_timeout)
    return lambda: pipeline.execute(timeout=20)


def leave_an_expired_token(order: dict, storage: TokenStorage, run: int) -> None:
    """As a process of last night would have left it: its refresh token is the one that may be spent."""
    past = datetime.now(timezone.utc) - timedelta(hours=1)
    spendable = order["refresh_tokens"][run]
    token = Token("expired", issued_at=past, expires_at=past + timedelta(minutes=5), refresh_token=spendable)
    storage.set(make_fetcher(order, run).cache_key, token)


def child(order: dict, run: int, start_at: float) -> list[str]:
    ask = make_asker(order, make_storage(order["storage"], order["where"], run), run)
    seen: list[str] = []
    time.sleep(max(0.0, start_at - 0.01 - time.monotonic()))
    while time.monotonic() < start_at:
        pass  # all at the same instant, closer than a sleep alone would bring them
    give_up_at = start_at + 60
    while len(seen) < order["tokens"] and time.monotonic() < give_up_at:
        fingerprint = ask().fingerprint
        if fingerprint not in seen:
            seen.append(fingerprint)
        elif order["tokens"] > 1:
            time.sleep(0.02)  # a client at work
    return seen


def fork(task: Callable[[], list[str]]) -> int:
    """Run *task* in a child; return the descriptor from which to read its result."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            os.close(reading)
            result = task()
        except BaseException as error:
            result = [type(error).__name__]
        os.write(writing, json.dumps(result).encode())
        os._exit(0)
    os.close(writing)
    return reading


def main() -> None:
    order = json.loads(sys.argv[1])
    for run in range(order["runs"]):
        storage = make_storage(order["storage"], order["where"], run)
        storage.get("nothing")  # this loads for all children what theirs take
        if order["refresh_tokens"] and order["stored"]:
            leave_an_expired_token(order, storage, run)
        start_at = time.monotonic() + 0.15
        pipes = [fork(lambda run=run, at=start_at: child(order, run, at)) for _ in range(order["processes"])]
        results = []
        for pipe in pipes:
            with os.fdopen(pipe, "rb") as reader:
                results.append(json.loads(reader.read() or b'["killed"]'))
        for _ in pipes:
            os.wait()
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
