"""From Authlib: OAuth2Session becomes an auth, which any session can use."""

import requests


def before(token_url, api_url):
    from authlib.integrations.requests_client import OAuth2Session

    session = OAuth2Session(
        "client", "secret", token_endpoint=token_url, grant_type="client_credentials"
    )
    session.fetch_token()
    return session.get(api_url, timeout=10)


def after(token_url, api_url):
    from tokenkit import BearerAuth, ClientCredentialsFetcher

    fetcher = ClientCredentialsFetcher(
        token_url=token_url, client_id="client", client_secret="secret"
    )
    with BearerAuth(fetcher) as auth, requests.Session() as session:
        session.auth = auth
        return session.get(api_url, timeout=10)
