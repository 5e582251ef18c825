"""Sources of tokens: HTTP endpoints, the OAuth 2.0 grants, and what is on this machine."""

from tokenkit.fetchers.http import BodyTokenFetcher, HeaderTokenFetcher, HttpTokenFetcher
from tokenkit.fetchers.local import (
    CallableTokenFetcher,
    EnvTokenFetcher,
    StaticTokenFetcher,
    StoredTokenFetcher,
)

__all__ = [
    "BodyTokenFetcher",
    "CallableTokenFetcher",
    "EnvTokenFetcher",
    "HeaderTokenFetcher",
    "HttpTokenFetcher",
    "StaticTokenFetcher",
    "StoredTokenFetcher",
]
