"""Sources of tokens: HTTP endpoints, the OAuth 2.0 grants, and what is on this machine."""

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "chained": ["ChainedTokenFetcher"],
        "command": ["CommandTokenFetcher"],
        "body": ["BodyTokenFetcher"],
        "http": ["HeaderTokenFetcher", "HttpTokenFetcher"],
        "local": ["CallableTokenFetcher", "EnvTokenFetcher", "FileTokenFetcher", "StaticTokenFetcher"],
        "oauth2": [
            "AuthorizationServer",
            "ClientCredentialsFetcher",
            "JwtBearerFetcher",
            "OAuth2Fetcher",
            "PasswordFetcher",
            "RefreshTokenFetcher",
            "SignedJwtFetcher",
            "TokenExchangeFetcher",
        ],
        "options": ["TransportOptions"],
        "stored": ["StoredTokenFetcher"],
    },
)
