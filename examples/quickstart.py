"""A token that takes three steps to get, kept fresh for 16 threads while it comes due and while it is revoked."""

import threading
import time

import requests
from three_step_pipeline import steps

from tokenkit import BearerAuth, PipelineTokenProvider, TokenFetchPipeline, TokenListener, TokenManager
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP

THREADS, SECONDS = 16, 6


class Renewals(TokenListener):
    """Counts what the manager tells; renewals come one at a time."""

    background = 0

    def token_refresh(self, event):
        self.background += event.background


def work(auth, url, until, statuses):
    with requests.Session() as session:  # one for each thread; the token is shared
        session.auth = auth
        while time.monotonic() < until:
            statuses.append(session.get(url, timeout=10).status_code)
            time.sleep(0.02)


def main():
    statuses, renewals = [], Renewals()
    with LocalIdP(lifetime=3600) as idp:
        idp.lifetimes["user"] = 4  # seconds: due after about 3.4 of them
        pipeline = TokenFetchPipeline(steps(idp.url), InMemoryTokenStorage())
        provider = PipelineTokenProvider(pipeline, "shop", refresh_from_step="user")
        with TokenManager(provider, listeners=[renewals]) as manager:
            task = (BearerAuth(manager), idp.api("orders"), time.monotonic() + SECONDS, statuses)
            threads = [threading.Thread(target=work, args=task) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(f"{THREADS} threads, a token of {idp.lifetimes['user']} seconds, {SECONDS} seconds of work")
            idp.revoke_current()
            response = requests.get(idp.api("orders"), auth=BearerAuth(manager), timeout=10)
            statuses.append(response.status_code)
            answers = [one.status_code for one in (*response.history, response)]
            print(f"revoked: the next request was answered {' then '.join(map(str, answers))}")
            print(f"requests made   {len(statuses)}")
            print("token calls     " + ", ".join(f"{name} {idp.count(name)}" for name in ("device", "app", "user")))
            print(f"renewals        {renewals.background}, all of them behind the requests' backs")
            print(f"failures        {sum(status != 200 for status in statuses)}")


if __name__ == "__main__":
    main()
