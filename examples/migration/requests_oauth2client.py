"""From requests_oauth2client: client into fetcher, leeway into policy."""

import requests


def before(token_url, api_url):
    from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth

    client = OAuth2Client(
        token_endpoint=token_url,
        client_id="client",
        client_secret="secret",
        testing=True,
    )
    auth = OAuth2ClientCredentialsAuth(client=client, scope="orders", leeway=20)
    return requests.get(api_url, auth=auth, timeout=10)


def after(token_url, api_url):
    from tokenkit import (
        BearerAuth,
        ClientCredentialsFetcher,
        RefreshPolicy,
        TokenManager,
    )

    fetcher = ClientCredentialsFetcher(
        token_url=token_url, client_id="client", client_secret="secret", scope="orders"
    )
    with TokenManager(fetcher, policy=RefreshPolicy(expiry_margin=20)) as manager:
        return requests.get(api_url, auth=BearerAuth(manager), timeout=10)
