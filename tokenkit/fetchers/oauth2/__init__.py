"""OAuth 2.0: a fetcher for each grant, and what an authorization server tells of a token (RFC 6749, 7662, 7009)."""

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "assertions": ["JwtBearerFetcher", "TokenExchangeFetcher"],
        "browser": ["BrowserSignIn"],
        "device": ["DeviceSignIn"],
        "fetcher": ["OAuth2Fetcher"],
        "grants": ["ClientCredentialsFetcher", "PasswordFetcher"],
        "refresh_token": ["RefreshTokenFetcher"],
        "server": ["AuthorizationServer", "OAuth2Client"],
        "sign_in": ["SignInFlow", "SignInPrompt", "SignedInFetcher"],
        "signed": ["SignedJwtFetcher"],
    },
)
