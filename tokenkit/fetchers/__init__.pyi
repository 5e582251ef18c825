from tokenkit.fetchers.body import BodyTokenFetcher
from tokenkit.fetchers.chained import ChainedTokenFetcher
from tokenkit.fetchers.command import CommandTokenFetcher
from tokenkit.fetchers.http import HeaderTokenFetcher, HttpTokenFetcher
from tokenkit.fetchers.local import CallableTokenFetcher, EnvTokenFetcher, FileTokenFetcher, StaticTokenFetcher
from tokenkit.fetchers.oauth2 import (
    AuthorizationServer,
    ClientCredentialsFetcher,
    JwtBearerFetcher,
    OAuth2Fetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    SignedJwtFetcher,
    TokenExchangeFetcher,
)
from tokenkit.fetchers.options import TransportOptions
from tokenkit.fetchers.stored import StoredTokenFetcher

__all__ = [
    "AuthorizationServer",
    "BodyTokenFetcher",
    "CallableTokenFetcher",
    "ChainedTokenFetcher",
    "ClientCredentialsFetcher",
    "CommandTokenFetcher",
    "EnvTokenFetcher",
    "FileTokenFetcher",
    "HeaderTokenFetcher",
    "HttpTokenFetcher",
    "JwtBearerFetcher",
    "OAuth2Fetcher",
    "PasswordFetcher",
    "RefreshTokenFetcher",
    "SignedJwtFetcher",
    "StaticTokenFetcher",
    "StoredTokenFetcher",
    "TokenExchangeFetcher",
    "TransportOptions",
]
