"""Each library, used as its documentation recommends: a few lines each, and nothing that it does not do itself.

A function makes a client of the client-credentials grant (of Google's assertion, where it has no other), for all
threads of a program. ``tests/migration`` uses the same adapters.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any, Protocol

import requests
import urllib3
from requests.adapters import HTTPAdapter

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
AUTHORITY = "https://login.example.com"
CLIENT = {"client_id": "client", "client_secret": "secret"}
POOL = 64  # connections that a session keeps: one for each thread
TIMEOUT = 30
Prepared = requests.PreparedRequest


class Server(Protocol):
    """Where things are: a LocalIdP, or a realm of the benchmarks' own server."""

    @property
    def token_url(self) -> str: ...

    def api(self, path: str) -> str: ...


@dataclass(frozen=True)
class Client:
    """What a program has of a library."""

    authorise: Callable[[Prepared], object]  # puts a token into the request's headers
    get: Callable[[str], int]  # sends a GET as the library's users do, and gives its status
    close: Callable[[], object] = lambda: None
    attempts: Callable[[], int] | None = None  # how often it has tried to renew, each with what it repeats of itself


def new_session() -> requests.Session:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=POOL))
    return session


def by_auth(auth: Any, close: Callable[[], object] = lambda: None) -> Client:
    """Return the client of a library that is an ``auth`` of requests."""
    session = new_session()
    return Client(auth, lambda url: session.get(url, auth=auth, timeout=TIMEOUT).status_code, close)


def by_token(give: Callable[[], str]) -> Client:
    """Return the client of a library that gives a token and leaves the request to its user."""
    session = new_session()

    def authorise(request: Prepared) -> None:
        request.headers["Authorization"] = f"Bearer {give()}"

    def get(url: str) -> int:
        return session.get(url, headers={"Authorization": f"Bearer {give()}"}, timeout=TIMEOUT).status_code

    return Client(authorise, get)


def bare() -> Client:
    """Return the least that an auth of requests can do."""

    def constant(request: Prepared) -> Prepared:
        request.headers["Authorization"] = "Bearer constant"
        return request

    return by_auth(constant)


class Entra(HTTPAdapter):
    """Answers for Entra's metadata by itself, and sends all else to *token_url*: some libraries know no other paths."""

    def __init__(self, token_url: str) -> None:
        super().__init__()
        self._token_url = token_url

    def send(self, request: Prepared, *args: Any, **options: Any) -> requests.Response:
        if "openid-configuration" in str(request.url):
            tenant = f"{AUTHORITY}/tenant"
            metadata = {"issuer": f"{tenant}/v2.0", "authorization_endpoint": f"{tenant}/authorize"}
            body = json.dumps({**metadata, "token_endpoint": f"{tenant}/token"}).encode()
            answer = urllib3.HTTPResponse(BytesIO(body), status=200, preload_content=False)
            return self.build_response(request, answer)
        request.url = self._token_url
        return super().send(request, *args, **options)


def entra(server: Server) -> requests.Session:
    session = requests.Session()
    session.mount(AUTHORITY, Entra(server.token_url))
    return session


def tokenkit(server: Server, **options: Any) -> Client:
    from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager

    manager = TokenManager(ClientCredentialsFetcher(token_url=server.token_url, **CLIENT), **options)
    client = by_auth(BearerAuth(manager), manager.close)
    return dataclasses.replace(client, attempts=lambda: manager.status().attempts)


def tokenkit_idle(server: Server) -> Client:
    """As in a program that was suspended: no thread has renewed the token meanwhile."""
    return tokenkit(server, background=False)


def tokenkit_refreshing(server: Server, refresh_token: str) -> Client:
    from tokenkit import BearerAuth, TokenManager
    from tokenkit.fetchers import RefreshTokenFetcher

    manager = TokenManager(RefreshTokenFetcher(token_url=server.token_url, refresh_token=refresh_token, **CLIENT))
    return by_auth(BearerAuth(manager), manager.close)


def tokenkit_shared(server: Server, place: str) -> Client:
    from tokenkit.storage import FileTokenStorage, RedisTokenStorage

    storage = RedisTokenStorage(place) if place.startswith("redis:") else FileTokenStorage(place)
    return tokenkit(server, storage=storage)


def requests_oauthlib(server: Server) -> Client:
    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    grant = BackendApplicationClient(client_id="client")
    session = OAuth2Session(client=grant)
    session.mount("http://", HTTPAdapter(pool_maxsize=POOL))
    session.fetch_token(server.token_url, **CLIENT)

    def authorise(request: Prepared) -> None:
        request.url, request.headers, _ = grant.add_token(request.url, headers=request.headers)

    return Client(authorise, lambda url: session.get(url, timeout=TIMEOUT).status_code)


def requests_oauthlib_refreshing(server: Server, refresh_token: str) -> Client:
    from requests_oauthlib import OAuth2Session

    token = {"access_token": "old", "token_type": "Bearer", "refresh_token": refresh_token, "expires_in": -1}
    session = OAuth2Session(
        "client",
        token=token,
        auto_refresh_url=server.token_url,
        auto_refresh_kwargs=CLIENT,
        token_updater=lambda token: setattr(session, "token", token),
    )
    get = functools.partial(session.get, timeout=TIMEOUT)
    return Client(lambda _: get(server.api("")), lambda url: get(url).status_code)  # it renews within a request only


def requests_oauth2client(server: Server) -> Client:
    from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth

    client = OAuth2Client(token_endpoint=server.token_url, testing=True, **CLIENT)
    return by_auth(OAuth2ClientCredentialsAuth(client=client))


def requests_oauth2client_refreshing(server: Server, refresh_token: str) -> Client:
    from requests_oauth2client import BearerToken, OAuth2AccessTokenAuth, OAuth2Client

    client = OAuth2Client(token_endpoint=server.token_url, testing=True, **CLIENT)
    past = datetime.now(timezone.utc) - timedelta(seconds=1)
    return by_auth(OAuth2AccessTokenAuth(client, BearerToken("old", expires_at=past, refresh_token=refresh_token)))


def requests_auth(server: Server) -> Client:
    from requests_auth import OAuth2, OAuth2ClientCredentials

    OAuth2.token_cache.clear()
    return by_auth(OAuth2ClientCredentials(server.token_url, **CLIENT))


def requests_auth_shared(server: Server, place: str) -> Client:
    from requests_auth import JsonTokenFileCache, OAuth2, OAuth2ClientCredentials

    OAuth2.token_cache = JsonTokenFileCache(f"{place}/tokens.json")
    return by_auth(OAuth2ClientCredentials(server.token_url, **CLIENT))


def authlib(server: Server) -> Client:
    from authlib.integrations.requests_client import OAuth2Session

    grant = {"token_endpoint": server.token_url, "grant_type": "client_credentials"}
    session = OAuth2Session("client", "secret", **grant)
    session.mount("http://", HTTPAdapter(pool_maxsize=POOL))
    session.fetch_token()
    return _of_authlib(session)


def authlib_refreshing(server: Server, refresh_token: str) -> Client:
    from authlib.integrations.requests_client import OAuth2Session

    token = {"access_token": "old", "token_type": "Bearer", "refresh_token": refresh_token, "expires_at": 1}
    session = OAuth2Session("client", "secret", token_endpoint=server.token_url, token=token)
    return _of_authlib(session)


def _of_authlib(session: Any) -> Client:
    def authorise(request: Prepared) -> None:
        session.ensure_active_token(session.token)  # as its request() does
        session.token_auth(request)

    return Client(authorise, lambda url: session.get(url, timeout=TIMEOUT).status_code)


@functools.cache
def pem() -> str:
    """Return the key of a service account."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def google_auth(server: Server) -> Client:
    from google.oauth2 import service_account

    info = {"client_email": "robot", "private_key": pem(), "private_key_id": "k", "token_uri": server.token_url}
    return _of_google(service_account.Credentials.from_service_account_info(info, scopes=["x"]))


def google_auth_refreshing(server: Server, refresh_token: str) -> Client:
    from google.oauth2.credentials import Credentials

    return _of_google(Credentials(None, refresh_token=refresh_token, token_uri=server.token_url, **CLIENT))


def _of_google(credentials: Any) -> Client:
    from google.auth.transport.requests import AuthorizedSession, Request

    session, request = AuthorizedSession(credentials), Request()
    session.mount("http://", HTTPAdapter(pool_maxsize=POOL))

    def authorise(prepared: Prepared) -> None:
        credentials.before_request(request, prepared.method, prepared.url, prepared.headers)

    return Client(authorise, lambda url: session.get(url, timeout=TIMEOUT).status_code)


def msal(server: Server, cache: Any = None) -> Client:
    import msal

    app = msal.ConfidentialClientApplication(
        "client",
        authority=f"{AUTHORITY}/tenant",
        client_credential="secret",
        instance_discovery=False,
        http_client=entra(server),
        token_cache=cache,
    )
    return by_token(lambda: app.acquire_token_for_client(scopes=["x/.default"])["access_token"])


def msal_shared(server: Server, place: str) -> Client:
    from msal_extensions import FilePersistence, PersistedTokenCache

    return msal(server, PersistedTokenCache(FilePersistence(f"{place}/cache.json")))


def azure_identity(server: Server, **options: Any) -> Client:
    from azure.core.pipeline.transport import RequestsTransport
    from azure.identity import ClientSecretCredential

    credential = ClientSecretCredential(
        "tenant",
        "client",
        "secret",
        authority=AUTHORITY,
        disable_instance_discovery=True,
        transport=RequestsTransport(session=entra(server), session_owner=False),
        **options,
    )
    return by_token(lambda: credential.get_token("x/.default").token)


def azure_identity_shared(server: Server, place: str) -> Client:
    from azure.identity import TokenCachePersistenceOptions

    os.environ["HOME"] = place  # where its cache lies
    kept = TokenCachePersistenceOptions(allow_unencrypted_storage=True)
    return azure_identity(server, cache_persistence_options=kept)


def botocore(server: Server) -> Client:
    from botocore.auth import BearerAuth
    from botocore.tokens import DeferredRefreshableToken, FrozenAuthToken

    session = new_session()

    def fetch() -> FrozenAuthToken:
        answer = session.post(server.token_url, {"grant_type": "client_credentials", **CLIENT}, timeout=TIMEOUT)
        answer.raise_for_status()
        lifetime = timedelta(seconds=answer.json()["expires_in"])
        return FrozenAuthToken(answer.json()["access_token"], datetime.now(timezone.utc) + lifetime)

    token = DeferredRefreshableToken("bench", fetch)
    token._attempt_timeout = 1  # it is a minute, which no round lasts

    def sign(request: Prepared) -> Prepared:
        BearerAuth(token.get_frozen_token()).add_auth(request)  # as its request signer does, one for each request
        return request

    # it signs for https alone
    return Client(sign, by_token(lambda: token.get_frozen_token().token).get)


def databricks(server: Server) -> Client:
    from databricks.sdk.oauth import ClientCredentials

    source = ClientCredentials(token_url=server.token_url, use_params=True, disable_async=False, **CLIENT)
    _renew_a_minute_ahead(source)
    return by_token(lambda: source.token().access_token)


def _renew_a_minute_ahead(source: Any) -> None:
    """It renews after half of a lifetime, at least 40 s before expiry: longer than a round, so that is set here."""
    source._use_legacy_stale_duration, source._stale_duration = True, timedelta(minutes=1)


def databricks_refreshing(server: Server, refresh_token: str) -> Client:
    from databricks.sdk.oauth import SessionCredentials, Token

    old = Token("old", "Bearer", refresh_token, datetime.now())  # noqa: DTZ005  # as it dates them itself
    source = SessionCredentials(old, server.token_url, **CLIENT, disable_async=False)
    _renew_a_minute_ahead(source)
    return by_token(lambda: source.token().access_token)


def requestforge(server: Server, kept: dict[str, Any] | None = None) -> Client:
    import requestforge as forge

    provider = forge.ClientCredentialsTokenProvider(server.token_url, **CLIENT, service_name="api")
    storage = forge.InMemoryTokenStorage()
    if kept is not None:
        storage.set("auth_token:api", forge.TokenData(**kept))
    manager = forge.TokenManager(provider=provider, storage=storage)
    builder = forge.HttpClientConfigBuilder().with_pool_maxsize(POOL).with_timeout(TIMEOUT)
    client = forge.HttpClient(builder.with_token_auth(token_manager=manager).build())

    def authorise(request: Prepared) -> None:
        request.headers["Authorization"] = manager.get_token().authorization_header

    return Client(authorise, lambda url: client.get(url).status_code)


def requestforge_refreshing(server: Server, refresh_token: str) -> Client:
    past = datetime.now() - timedelta(hours=1)  # noqa: DTZ005  # as it dates them itself
    return requestforge(server, {"access_token": "old", "refresh_token": refresh_token, "expires_at": past})


@dataclass(frozen=True)
class Peer:
    """A library, and what one has to know of it to treat it fairly.

    Attributes:
        label: Its name.
        make: Makes a client.
        margin: Seconds before expiry at which it renews; None: that grows with the lifetime.
        share: The share of a lifetime after which it renews, where the margin is None.
        package: What is imported of it.
        program: What a typical program imports of it.
        make_idle: Makes a client that renews nothing while it is not asked; None: as ``make``.
        refreshing: Makes a client that spends the refresh token given; None: it offers none for such a server.
        shared: Makes a client that keeps its token where other processes find it; None: it cannot.
        by_hand: Whether the first token is fetched by its user, before any request.
    """

    label: str
    make: Callable[[Server], Client]
    margin: float | None
    package: str
    program: str
    share: float = 1.0
    make_idle: Callable[[Server], Client] | None = None
    refreshing: Callable[[Server, str], Client] | None = None
    shared: Callable[[Server, str], Client] | None = None
    by_hand: bool = False

    @property
    def name(self) -> str:
        return self.make.__name__

    def lifetime(self, fresh: float) -> int:
        """Return the lifetime of tokens that it takes for fresh for *fresh* seconds."""
        return round(fresh + self.margin if self.margin is not None else fresh / self.share)


PEERS = [
    Peer(
        "tokenkit",
        tokenkit,
        None,
        "tokenkit",
        "from tokenkit import BearerAuth, TokenManager\nfrom tokenkit.fetchers.oauth2 import ClientCredentialsFetcher",
        share=0.75,  # from 0.7 to 0.8
        make_idle=tokenkit_idle,
        refreshing=tokenkit_refreshing,
        shared=tokenkit_shared,
    ),
    Peer(
        "google-auth",
        google_auth,
        225,
        "google.auth",
        "from google.auth.transport.requests import AuthorizedSession\nfrom google.oauth2 import service_account",
        refreshing=google_auth_refreshing,
    ),
    Peer(
        "requests-oauthlib",
        requests_oauthlib,
        0,
        "requests_oauthlib",
        "from oauthlib.oauth2 import BackendApplicationClient\nfrom requests_oauthlib import OAuth2Session",
        refreshing=requests_oauthlib_refreshing,
        by_hand=True,
    ),
    Peer(
        "requests_oauth2client",
        requests_oauth2client,
        20,
        "requests_oauth2client",
        "from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth",
        refreshing=requests_oauth2client_refreshing,
    ),
    Peer(
        "requests_auth",
        requests_auth,
        30,
        "requests_auth",
        "from requests_auth import OAuth2ClientCredentials",
        shared=requests_auth_shared,
    ),
    Peer(
        "Authlib",
        authlib,
        60,
        "authlib",
        "from authlib.integrations.requests_client import OAuth2Session",
        refreshing=authlib_refreshing,
        by_hand=True,
    ),
    Peer("msal", msal, 300, "msal", "from msal import ConfidentialClientApplication", shared=msal_shared),
    Peer(
        "azure-identity",
        azure_identity,
        300,
        "azure.identity",
        "from azure.identity import ClientSecretCredential",
        shared=azure_identity_shared,
    ),
    Peer("botocore", botocore, 900, "botocore", "from botocore.tokens import DeferredRefreshableToken"),
    Peer(
        "databricks-sdk",
        databricks,
        60,
        "databricks.sdk",
        "from databricks.sdk import WorkspaceClient",
        refreshing=databricks_refreshing,
    ),
    Peer(
        "requestforge",
        requestforge,
        30,
        "requestforge",
        "from requestforge import ClientCredentialsTokenProvider, HttpClient, TokenManager",
        refreshing=requestforge_refreshing,
    ),
]
BY_NAME = {peer.name: peer for peer in PEERS}
OTHERS = [peer.name for peer in PEERS[1:]]
