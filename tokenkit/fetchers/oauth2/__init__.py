"""OAuth 2.0: a fetcher for each grant, and what an authorization server tells of a token (RFC 6749, 7662, 7009)."""

from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher
from tokenkit.fetchers.oauth2.grants import (
    ClientCredentialsFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.fetchers.oauth2.introspection import introspect, revoke

__all__ = [
    "ClientCredentialsFetcher",
    "JwtBearerFetcher",
    "OAuth2Fetcher",
    "PasswordFetcher",
    "RefreshTokenFetcher",
    "TokenExchangeFetcher",
    "introspect",
    "revoke",
]
