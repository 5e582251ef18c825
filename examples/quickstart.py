"""A token that takes three steps to get, kept fresh for 16 threads while it comes due, and when it is revoked."""

import time
from concurrent.futures import ThreadPoolExecutor

import requests
from three_step_pipeline import steps  # the file beside this one

from tokenkit import BearerAuth, PipelineTokenProvider, RefreshPolicy, TokenFetchPipeline, TokenListener, TokenManager
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP

THREADS, SECONDS = 16, 5


class Waits(list, TokenListener):
    def cache_miss(self, event):  # a request found no usable token, so it waits for one
        self.append(event.result)


def work(auth, url, until):
    answers = []
    with requests.Session() as session:  # one for each thread; the token is shared
        session.auth = auth
        while time.monotonic() < until:
            answers.append(session.get(url, timeout=10).status_code)
            time.sleep(0.02)
    return answers


def main():
    began, waits = time.monotonic(), Waits()
    with LocalIdP() as idp:
        idp.lifetimes["user"] = 6  # seconds, of the first token
        pipeline = TokenFetchPipeline(steps(idp.url), InMemoryTokenStorage())
        provider = PipelineTokenProvider(pipeline, "shop", refresh_from_step="user")
        with TokenManager(provider, policy=RefreshPolicy(lifetime_safe_fraction=0.4), listeners=[waits]) as manager:
            auth, url = BearerAuth(manager), idp.api("orders")
            with ThreadPoolExecutor(THREADS) as pool:
                jobs = [pool.submit(work, auth, url, began + SECONDS) for _ in range(THREADS)]
                idp.wait_for_requests("api", timeout=SECONDS)  # whoever comes here has the first token
                idp.lifetimes["user"] = 3600
            answers = [answer for job in jobs for answer in job.result()]
            calls, first, late = idp.count("user"), waits.count("absent"), waits.count("expired")
            idp.revoke_current()
            last = requests.get(url, auth=auth, timeout=10)
            print(f"{len(answers) + 1} requests of {THREADS} threads in {time.monotonic() - began:.1f} seconds")
            print("token calls: " + ", ".join(f"{name} {idp.count(name)}" for name in ("device", "app", "user")))
            print(f"waited for a token: {first} requests for the first one, {late} for a later one")
            print(f"renewals: ahead of expiry {0 if late else calls - 1}, after revocation {idp.count('user') - calls}")
            print(f"revoked: answered {' then '.join(str(one.status_code) for one in (*last.history, last))}")
    failures = sum(answer != 200 for answer in [*answers, last.status_code])
    print(f"failures: {failures}")
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
