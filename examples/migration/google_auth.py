"""From google-auth: a service account's key is the assertion of a JwtBearerFetcher."""


def before(account, api_url):
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2 import service_account

    credentials = service_account.Credentials.from_service_account_info(
        account, scopes=["orders"]
    )
    return AuthorizedSession(credentials).get(api_url, timeout=10)


def after(account, api_url):
    from tokenkit import AuthorizedSession
    from tokenkit.fetchers.oauth2 import JwtBearerFetcher

    fetcher = JwtBearerFetcher(
        token_url=account["token_uri"],
        issuer=account["client_email"],
        subject=account["client_email"],
        key=account["private_key"],
        key_id=account["private_key_id"],
        scope="orders",
    )
    with AuthorizedSession(fetcher) as session:
        return session.get(api_url, timeout=10)
