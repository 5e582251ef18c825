"""Eight jobs in a pool of two processes: an auth for each, one fetch for all."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor

import requests

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
from tokenkit.storage import FileTokenStorage
from tokenkit.testing import LocalIdP

worker = {}  # what each process of the pool has for itself


def set_up(token_url, directory):  # once in each worker, before its first job
    fetcher = ClientCredentialsFetcher(
        token_url=token_url, client_id="client", client_secret="secret"
    )
    worker["auth"] = BearerAuth(TokenManager(fetcher, FileTokenStorage(directory)))


def job(url):
    return requests.get(url, auth=worker["auth"], timeout=10).status_code


def main():
    with LocalIdP() as idp, tempfile.TemporaryDirectory() as directory:
        urls = [idp.api(f"orders/{number}") for number in range(8)]
        with ProcessPoolExecutor(
            2,
            multiprocessing.get_context("spawn"),
            initializer=set_up,
            initargs=(idp.token_url, directory),
        ) as pool:
            print("statuses:", sorted(pool.map(job, urls)))
        print("token calls of 8 jobs in 2 processes:", idp.count("token"))


if __name__ == "__main__":
    main()
