"""OAuth 2.0: a fetcher for each grant, and what an authorization server tells of a token (RFC 6749, 7662, 7009)."""

from tokenkit.fetchers.oauth2.browser import BrowserSignIn
from tokenkit.fetchers.oauth2.device import DeviceSignIn
from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher
from tokenkit.fetchers.oauth2.grants import (
    ClientCredentialsFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.fetchers.oauth2.introspection import introspect, revoke
from tokenkit.fetchers.oauth2.sign_in import SignedInFetcher, SignInFlow, SignInPrompt

__all__ = [
    "BrowserSignIn",
    "ClientCredentialsFetcher",
    "DeviceSignIn",
    "JwtBearerFetcher",
    "OAuth2Fetcher",
    "PasswordFetcher",
    "RefreshTokenFetcher",
    "SignInFlow",
    "SignInPrompt",
    "SignedInFetcher",
    "TokenExchangeFetcher",
    "introspect",
    "revoke",
]
