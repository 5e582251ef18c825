"""From msal: acquire_token_for_client() before each request becomes one auth."""

import requests


def before(authority, api_url, http_client):
    import msal

    app = msal.ConfidentialClientApplication(
        "client",
        authority=authority,
        client_credential="secret",
        instance_discovery=False,
        http_client=http_client,
    )
    answer = app.acquire_token_for_client(scopes=["api://orders/.default"])
    if "access_token" not in answer:
        raise RuntimeError(answer.get("error_description"))
    header = {"Authorization": f"Bearer {answer['access_token']}"}
    return requests.get(api_url, headers=header, timeout=10)


def after(token_url, api_url):
    from tokenkit import BearerAuth, ClientCredentialsFetcher

    fetcher = ClientCredentialsFetcher(
        token_url=token_url,  # f"{authority}/oauth2/v2.0/token"
        client_id="client",
        client_secret="secret",
        scope="api://orders/.default",
    )
    with BearerAuth(fetcher) as auth:
        return requests.get(api_url, auth=auth, timeout=10)
