from tokenkit.fetchers.command import CommandTokenFetcher
from tokenkit.fetchers.http import BodyTokenFetcher, HeaderTokenFetcher, HttpTokenFetcher
from tokenkit.fetchers.local import CallableTokenFetcher, EnvTokenFetcher, FileTokenFetcher, StaticTokenFetcher
from tokenkit.fetchers.oauth2 import (
    ClientCredentialsFetcher,
    JwtBearerFetcher,
    OAuth2Fetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
    introspect,
    revoke,
)
from tokenkit.fetchers.stored import StoredTokenFetcher

__all__ = [
    "BodyTokenFetcher",
    "CallableTokenFetcher",
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
    "StaticTokenFetcher",
    "StoredTokenFetcher",
    "TokenExchangeFetcher",
    "introspect",
    "revoke",
]
