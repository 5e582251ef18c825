"""A token that a program prints, as ``gcloud``, ``az`` and kubectl's plugins do."""

import sys

import requests

from tokenkit import BearerAuth, TokenManager
from tokenkit.fetchers import CommandTokenFetcher
from tokenkit.testing import LocalIdP

# Stands in for CommandTokenFetcher(["az", "account", "get-access-token"]), and for
# CommandTokenFetcher(["gcloud", "auth", "print-access-token"], ttl=1800): this, too,
# prints only a token, which does not say when it expires, so ttl does.
PLUGIN = """
import json, os, urllib.request
form = "grant_type=client_credentials&client_id=client&client_secret="
form = (form + os.environ["CLIENT_SECRET"]).encode()
answer = urllib.request.urlopen(os.environ["TOKEN_URL"], form, timeout=10)
token = json.load(answer)["access_token"]
status = {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}
print(json.dumps({"kind": "ExecCredential", "status": status}))
"""


def main():
    with LocalIdP() as idp:
        # Secrets go by the environment: all users can read a program's arguments.
        environment = {"TOKEN_URL": idp.token_url, "CLIENT_SECRET": "secret"}
        fetcher = CommandTokenFetcher(
            [sys.executable, "-c", PLUGIN], env=environment, timeout=20
        )
        with TokenManager(fetcher) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)
            for path in ("orders", "customers"):
                print(f"{path}: {session.get(idp.api(path), timeout=10).status_code}")
            print(f"the program ran {idp.count('token')} time; {manager.current}")
            idp.revoke_current()
            status = session.get(idp.api("orders"), timeout=10).status_code
            print(f"after the token was revoked: {status}")
            print(f"the program ran {idp.count('token')} times")


if __name__ == "__main__":
    main()
