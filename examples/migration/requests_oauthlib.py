"""From requests-oauthlib: tokens are fetched for you, one auth serves all threads."""

import requests


def before(token_url, api_url):
    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    client = BackendApplicationClient(client_id="client")
    session = OAuth2Session(client=client)
    session.fetch_token(token_url, client_id="client", client_secret="secret")
    # Expired an hour later: TokenExpiredError, and fetch_token() again.
    return session.get(api_url, timeout=10)


def after(token_url, api_url):
    from tokenkit import BearerAuth, ClientCredentialsFetcher

    fetcher = ClientCredentialsFetcher(
        token_url=token_url, client_id="client", client_secret="secret"
    )
    with BearerAuth(fetcher) as auth, requests.Session() as session:
        session.auth = auth
        return session.get(api_url, timeout=10)
