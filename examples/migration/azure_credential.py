"""From azure-identity: a credential becomes a fetcher; get_token() becomes an auth."""

import requests


def before(authority, api_url, transport):
    from azure.identity import ClientSecretCredential

    credential = ClientSecretCredential(
        "tenant",
        "client",
        "secret",
        authority=authority,
        disable_instance_discovery=True,
        transport=transport,
    )
    token = credential.get_token("api://orders/.default")
    header = {"Authorization": f"Bearer {token.token}"}
    return requests.get(api_url, headers=header, timeout=10)


def after(token_url, api_url):
    from tokenkit import BearerAuth, ClientCredentialsFetcher

    fetcher = ClientCredentialsFetcher(
        token_url=token_url,  # f"{authority}/tenant/oauth2/v2.0/token"
        client_id="client",
        client_secret="secret",
        scope="api://orders/.default",
    )
    with BearerAuth(fetcher) as auth:
        return requests.get(api_url, auth=auth, timeout=10)
