"""A token from a program: what ``gcloud``, ``az`` and kubectl's credential plugins print is understood as it is."""

import sys

import requests

from tokenkit import BearerAuth, TokenManager
from tokenkit.fetchers import CommandTokenFetcher
from tokenkit.testing import LocalIdP

# Stands in for CommandTokenFetcher(["az", "account", "get-access-token", "--resource", "https://backend.example"]),
# and for CommandTokenFetcher(["gcloud", "auth", "print-access-token"], ttl=timedelta(minutes=30)): this one prints
# only a token, which does not say when it expires, so ttl does.
PLUGIN = """
import json, os, urllib.request
form = b"grant_type=client_credentials&client_id=client&client_secret=" + os.environ["CLIENT_SECRET"].encode()
token = json.load(urllib.request.urlopen(os.environ["TOKEN_URL"], form, timeout=10))["access_token"]
status = {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}
print(json.dumps({"kind": "ExecCredential", "status": status}))
"""


def main():
    with LocalIdP() as idp:
        # Secrets go by the environment: everybody on the machine can read a program's arguments.
        environment = {"TOKEN_URL": idp.token_url, "CLIENT_SECRET": "secret"}
        fetcher = CommandTokenFetcher([sys.executable, "-c", PLUGIN], env=environment, timeout=20)
        with TokenManager(fetcher) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)
            for path in ("orders", "customers"):
                print(f"{path}: {session.get(idp.api(path), timeout=10).status_code}")
            print(f"the program ran {idp.count('token')} time; {manager.current}")
            idp.revoke_current()
            print(f"after the token was revoked: {session.get(idp.api('orders'), timeout=10).status_code}")
            print(f"the program ran {idp.count('token')} times")


if __name__ == "__main__":
    main()
