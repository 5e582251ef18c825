"""The shortest use: one fetcher, one manager, one session."""

import requests

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
from tokenkit.testing import LocalIdP


def main():
    with LocalIdP() as idp:
        fetcher = ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret="secret")
        with TokenManager(fetcher) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)
            for path in ("orders", "customers", "stock"):
                response = session.get(idp.api(path), timeout=10)
                print(f"{path}: {response.status_code}")
            print(f"token calls: {idp.count('token')}, and the token does not show itself: {manager.current}")


if __name__ == "__main__":
    main()
