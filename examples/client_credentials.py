"""A program's own token: found by the issuer's metadata, renewed, and revoked."""

import time

import requests

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
from tokenkit.testing import LocalIdP


def main():
    with LocalIdP(
        lifetime=3
    ) as idp:  # in your program: your identity provider, and nothing else changes
        fetcher = ClientCredentialsFetcher(
            issuer=idp.issuer,  # or token_url=..., where there are no metadata
            client_id="client",
            client_secret=lambda: (
                "secret"
            ),  # a function: from the environment, a file, a vault
            scope=["orders:read", "stock:read"],
        )
        manager = TokenManager(fetcher)
        with requests.Session() as session:
            session.auth = BearerAuth(manager)
            statuses = []
            end = time.monotonic() + 5
            while time.monotonic() < end:
                statuses.append(session.get(idp.api("orders"), timeout=10).status_code)
                time.sleep(0.1)
        token = manager.current
        print(
            f"{len(statuses)} requests in 5 s, tokens of 3 s: {sorted(set(statuses))}"
        )
        print(f"token calls: {idp.count('token')}; scope: {token.scope}")
        print(f"the server says that the token is active: {idp.is_active(token)}")
        manager.close(revoke=True)
        print(f"and after close(revoke=True): {idp.is_active(token)}")


if __name__ == "__main__":
    main()
