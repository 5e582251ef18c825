from tokenkit.fetchers.oauth2.assertions import JwtBearerFetcher, TokenExchangeFetcher
from tokenkit.fetchers.oauth2.browser import BrowserSignIn
from tokenkit.fetchers.oauth2.device import DeviceSignIn
from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher
from tokenkit.fetchers.oauth2.grants import ClientCredentialsFetcher, PasswordFetcher
from tokenkit.fetchers.oauth2.refresh_token import RefreshTokenFetcher
from tokenkit.fetchers.oauth2.server import AuthorizationServer, OAuth2Client
from tokenkit.fetchers.oauth2.sign_in import SignedInFetcher, SignInFlow, SignInPrompt
from tokenkit.fetchers.oauth2.signed import SignedJwtFetcher

__all__ = [
    "AuthorizationServer",
    "BrowserSignIn",
    "ClientCredentialsFetcher",
    "DeviceSignIn",
    "JwtBearerFetcher",
    "OAuth2Client",
    "OAuth2Fetcher",
    "PasswordFetcher",
    "RefreshTokenFetcher",
    "SignInFlow",
    "SignInPrompt",
    "SignedInFetcher",
    "SignedJwtFetcher",
    "TokenExchangeFetcher",
]
