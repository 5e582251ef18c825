"""The servers, each started once for all tests of a worker, and what most tests do with them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from support import needs, oauth_servers
from support.fault_proxy import FaultProxy, fault_proxy
from support.oauth_servers import OAuthServer

from tokenkit import BearerAuth, TokenManager
from tokenkit.fetchers import ClientCredentialsFetcher, PasswordFetcher

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True)
class KeyPair:
    """A private key, PEM, and its public half as a JWK."""

    private: str
    jwk: dict[str, Any]


def key_pair(kind: str) -> KeyPair:
    jwt = needs.module("jwt")
    needs.module("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if kind == "EC":
        key, algorithm = ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm
    else:
        key, algorithm = rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm
    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(key.private_bytes(*how).decode(), json.loads(algorithm.to_jwk(key.public_key())) | {"kid": "key-1"})


@pytest.fixture(scope="session")
def ec_key() -> KeyPair:
    return key_pair("EC")


@pytest.fixture(scope="session")
def rsa_key() -> KeyPair:
    return key_pair("RSA")


@pytest.fixture(scope="session")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory, ec_key: KeyPair) -> Iterator[OAuthServer]:
    common = {"grant_types": [CLIENT_CREDENTIALS], "scope": "api:read", "lifetime": oauth_servers.SHORT}
    secrets = {name: {"client_secret": oauth_servers.secret_of(name) * 2} for name in ("posts", "signs")}
    clients = [
        {"client_id": "posts", "token_endpoint_auth_method": "client_secret_post", **secrets["posts"], **common},
        {"client_id": "signs", "token_endpoint_auth_method": "client_secret_jwt", **secrets["signs"], **common},
        {
            "client_id": "has-key",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks": {"keys": [ec_key.jwk]},
            **common,
        },
        {
            "client_id": "public",
            "token_endpoint_auth_method": "none",
            **common,
            "grant_types": ["password", "refresh_token"],
            "scope": "openid offline_access",
        },
        {
            "client_id": "native",
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "redirect_uris": ["http://127.0.0.1/"],
            "response_types": ["code"],
            **common,
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "scope": "openid offline_access",
        },
    ]
    with oauth_servers.oidc_provider(tmp_path_factory.mktemp("oidc-provider"), clients) as server:
        yield server


@pytest.fixture(scope="session")
def django_oauth_toolkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OAuthServer]:
    with oauth_servers.django_oauth_toolkit(tmp_path_factory.mktemp("django")) as server:
        yield server


@pytest.fixture(scope="session")
def authlib(tmp_path_factory: pytest.TempPathFactory, rsa_key: KeyPair) -> Iterator[OAuthServer]:
    client = {
        "client_id": "has-key",
        "jwk": rsa_key.jwk,
        "methods": ["private_key_jwt", "none"],
        "grants": [CLIENT_CREDENTIALS, JWT_BEARER],
        "lifetime": oauth_servers.SHORT,
    }
    with oauth_servers.authlib(tmp_path_factory.mktemp("authlib"), [client]) as server:
        yield server


@pytest.fixture(scope="session")
def glewlwyd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OAuthServer]:
    with oauth_servers.glewlwyd(tmp_path_factory.mktemp("glewlwyd")) as server:
        yield server


@pytest.fixture(params=["oidc_provider", "django_oauth_toolkit", "authlib", "glewlwyd"])
def server(request: pytest.FixtureRequest) -> OAuthServer:
    """Each of the servers in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxy(server: OAuthServer) -> Iterator[FaultProxy]:
    """Stands before *server*, faultless until a test says otherwise."""
    with fault_proxy(server.port) as one:
        yield one


@dataclass(frozen=True)
class User:
    """A manager, and a session that it authorises."""

    manager: TokenManager
    session: requests.Session

    def get(self, url: str) -> requests.Response:
        return self.session.get(url, timeout=10)


MakeUser = Callable[..., User]


@pytest.fixture
def user_of() -> Iterator[MakeUser]:
    """Make a user of a fetcher; further options are those of ``BearerAuth``."""
    with ExitStack() as stack:

        def make(source: ClientCredentialsFetcher | PasswordFetcher, **options: Any) -> User:
            manager = stack.enter_context(TokenManager(source))
            session = stack.enter_context(requests.Session())
            session.auth = BearerAuth(manager, **options)
            return User(manager, session)

        yield make


@pytest.fixture(scope="session")
def sharing_program() -> Path:
    return Path(__file__).with_name("sharing.py")
