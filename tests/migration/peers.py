"""How each library calls an API with a token of the client-credentials grant, as its documentation says.

Each function returns what sends one request and gives its status; it is called from many threads.
"""

import os
from collections.abc import Callable
from typing import Any

import requests

from tokenkit.testing import LocalIdP

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
Get = Callable[[], int]
PEM = ""  # made by the test: a service account's key


def by_auth(auth: Any, url: str) -> Get:
    return lambda: requests.get(url, auth=auth, timeout=10).status_code


def tokenkit(idp: LocalIdP, transport: requests.Session) -> Get:
    from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager

    fetcher = ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret="secret")
    return by_auth(BearerAuth(TokenManager(fetcher)), idp.api("x"))


def requests_oauthlib(idp: LocalIdP, transport: requests.Session) -> Get:
    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    session = OAuth2Session(client=BackendApplicationClient(client_id="client"))
    session.fetch_token(idp.token_url, client_id="client", client_secret="secret")
    return lambda: session.get(idp.api("x"), timeout=10).status_code


def requests_oauth2client(idp: LocalIdP, transport: requests.Session) -> Get:
    from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth

    client = OAuth2Client(token_endpoint=idp.token_url, client_id="client", client_secret="secret", testing=True)
    return by_auth(OAuth2ClientCredentialsAuth(client=client), idp.api("x"))


def requests_auth(idp: LocalIdP, transport: requests.Session) -> Get:
    from requests_auth import OAuth2, OAuth2ClientCredentials

    OAuth2.token_cache.clear()
    return by_auth(OAuth2ClientCredentials(idp.token_url, client_id="client", client_secret="secret"), idp.api("x"))


def authlib(idp: LocalIdP, transport: requests.Session) -> Get:
    from authlib.integrations.requests_client import OAuth2Session

    session = OAuth2Session("client", "secret", token_endpoint=idp.token_url, grant_type="client_credentials")
    session.fetch_token()
    return lambda: session.get(idp.api("x"), timeout=10).status_code


def google_auth(idp: LocalIdP, transport: requests.Session) -> Get:
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2 import service_account

    info = {"client_email": "robot", "private_key": PEM, "private_key_id": "k", "token_uri": idp.token_url}
    session = AuthorizedSession(service_account.Credentials.from_service_account_info(info, scopes=["x"]))
    return lambda: session.get(idp.api("x"), timeout=10).status_code


def msal(idp: LocalIdP, transport: requests.Session) -> Get:
    import msal

    app = msal.ConfidentialClientApplication(
        "client",
        authority="https://login.example.com/tenant",
        client_credential="secret",
        instance_discovery=False,
        http_client=transport,
    )

    def get() -> int:
        token = app.acquire_token_for_client(scopes=["x/.default"])["access_token"]
        return requests.get(idp.api("x"), headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code

    return get


def azure_identity(idp: LocalIdP, transport: requests.Session) -> Get:
    from azure.core.pipeline.transport import RequestsTransport
    from azure.identity import ClientSecretCredential

    credential = ClientSecretCredential(
        "tenant",
        "client",
        "secret",
        authority="https://login.example.com",
        disable_instance_discovery=True,
        transport=RequestsTransport(session=transport, session_owner=False),
    )

    def get() -> int:
        token = credential.get_token("x/.default").token
        return requests.get(idp.api("x"), headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code

    return get


PEERS = [tokenkit, google_auth, requests_oauthlib, requests_oauth2client, requests_auth, authlib, msal, azure_identity]
