"""A program with one refresh token: it renews once and ends. How it is started, and given the token, is the test's."""

import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

from tokenkit import Token, TokenManager, TokenStorage, secrets
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.storage import FileTokenStorage


def given() -> str:
    return os.environ["GRANT_TOKEN"]


FORMS: dict[str, Any] = {
    "string": os.environ.get("GRANT_TOKEN"),
    "function": given,
    "lambda": lambda: os.environ["GRANT_TOKEN"],
    "variable": secrets.env("GRANT_TOKEN"),
    "file": secrets.file(os.environ.get("GRANT_FILE", "none")),
}


asking = threading.Event()


def told() -> dict[str, str]:
    """Tell that a request is about to be sent."""
    asking.set()
    return {}


class Killed(FileTokenStorage):  # type: ignore[misc]  # final for users
    """Kills its process before or after the first write of an entry: of the grant's, or of the access token's."""

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        when, which = os.environ["GRANT_KILL"].split("-")
        is_it = key.startswith("grant:") == (which == "grant")
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = super().replace(key, expected, token)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def storage() -> TokenStorage:
    place = os.environ["GRANT_STORAGE"]
    if place.startswith("redis:"):
        from tokenkit.storage import RedisTokenStorage  # it takes half of a start, and most starts do without

        return RedisTokenStorage(place)
    return (Killed if "GRANT_KILL" in os.environ else FileTokenStorage)(place)


def run_all(forms: str) -> None:
    """Go on as if started anew with the token in each form, one after the other."""
    for number, form in enumerate(forms.split(",")):
        run(form, again=number > 0)


def run(form: str, *, leaves: bool = False, again: bool = False) -> None:
    fetcher = RefreshTokenFetcher(
        token_url=os.environ["GRANT_URL"],
        client_id="client",
        client_secret="secret",
        refresh_token=FORMS[form],
        extra_params=told if leaves else None,
    )
    manager = TokenManager(fetcher, storage())
    manager.force_refresh(timeout=20) if again else manager.get_token(timeout=20)
    if leaves:  # with a renewal under way behind it
        asking.clear()
        manager.request_renewal()
        assert asking.wait(20)
    else:
        manager.close()


if __name__ == "__main__":
    way, forms = sys.argv[1:]
    if way in ("spawn", "forkserver"):
        child = multiprocessing.get_context(way).Process(target=run_all, args=(forms,))
        child.start()
        child.join()
        sys.exit(child.exitcode)
    run(forms, leaves=True) if way == "leaves" else run_all(forms)
