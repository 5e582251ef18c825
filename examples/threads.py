"""Eight threads share one token: fetched once, and replaced once when it is revoked."""

import time
from concurrent.futures import ThreadPoolExecutor

import requests

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
from tokenkit.testing import LocalIdP

THREADS, SECONDS = 8, 3


def work(auth, url):
    statuses, until = set(), time.monotonic() + SECONDS
    with requests.Session() as session:  # one for each thread
        session.auth = auth  # one for all of them
        while time.monotonic() < until:
            statuses.add(session.get(url, timeout=10).status_code)
            time.sleep(0.05)
    return statuses


def main():
    with LocalIdP(lifetime=10) as idp:
        fetcher = ClientCredentialsFetcher(
            token_url=idp.token_url, client_id="client", client_secret="secret"
        )
        with TokenManager(fetcher) as manager, ThreadPoolExecutor(THREADS) as pool:
            auth = BearerAuth(manager)
            jobs = [pool.submit(work, auth, idp.api("orders")) for _ in range(THREADS)]
            idp.wait_for_requests("api", 20)
            print("token calls of 8 threads:", idp.count("token"))
            idp.revoke_current()
            statuses = set().union(*(job.result() for job in jobs))
            print("statuses, although the token was revoked:", statuses)
            print("token calls:", idp.count("token"))


if __name__ == "__main__":
    main()
