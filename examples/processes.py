"""Four processes share one token, by files that only this user can read: one fetch."""

import subprocess
import sys
import tempfile

import requests

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
from tokenkit.storage import FileTokenStorage
from tokenkit.testing import LocalIdP

PROCESSES = 4


def worker(token_url, api_url, directory):
    fetcher = ClientCredentialsFetcher(
        token_url=token_url, client_id="client", client_secret="secret"
    )
    with TokenManager(fetcher, FileTokenStorage(directory)) as manager:
        print(requests.get(api_url, auth=BearerAuth(manager), timeout=10).status_code)


def main():
    with LocalIdP() as idp, tempfile.TemporaryDirectory() as directory:
        # In your program: FileTokenStorage(), which lies in the user's cache directory.
        command = [
            sys.executable,
            __file__,
            idp.token_url,
            idp.api("orders"),
            directory,
        ]
        workers = []
        for _ in range(PROCESSES):
            workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        print("statuses:", [worker.communicate()[0].strip() for worker in workers])
        print("token calls of 4 processes:", idp.count("token"))


if __name__ == "__main__":
    worker(*sys.argv[1:]) if sys.argv[1:] else main()
