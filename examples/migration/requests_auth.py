"""From requests_auth: its one token cache becomes a manager for each source."""

import requests


def before(token_url, api_url):
    from requests_auth import OAuth2ClientCredentials

    auth = OAuth2ClientCredentials(
        token_url, client_id="client", client_secret="secret", scope="orders"
    )
    return requests.get(api_url, auth=auth, timeout=10)


def after(token_url, api_url):
    from tokenkit import BearerAuth, ClientCredentialsFetcher

    fetcher = ClientCredentialsFetcher(
        token_url=token_url, client_id="client", client_secret="secret", scope="orders"
    )
    with BearerAuth(fetcher) as auth:
        return requests.get(api_url, auth=auth, timeout=10)
