"""A script that calls an API: a token is fetched at the first request, used for all."""

import requests

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
from tokenkit.testing import LocalIdP


def main():
    with LocalIdP() as idp:  # in your program: your identity provider
        fetcher = ClientCredentialsFetcher(
            token_url=idp.token_url, client_id="client", client_secret="secret"
        )
        with TokenManager(fetcher) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)
            for path in ("orders", "customers", "stock"):
                response = session.get(idp.api(path), timeout=10)
                print(path, response.status_code)
            print("token calls:", idp.count("token"))


if __name__ == "__main__":
    main()
