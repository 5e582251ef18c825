"""Bearer tokens for requests: always there, renewed ahead of expiry, shared, retried on 401.

The names that most programs need are here; the others are in the modules that the reference lists.
"""

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.config import from_config, from_env
from tokenkit.contracts import FetchContext, TokenFetcher, TokenProvider, TokenStorage
from tokenkit.errors import (
    AuthenticationError,
    ConfigurationError,
    MalformedResponseError,
    RenewalError,
    RenewalStoppedError,
    RenewalTimeoutError,
    StorageError,
    TokenEndpointError,
    TokenKitError,
    TransportError,
)
from tokenkit.events import TokenListener
from tokenkit.fetchers import BodyTokenFetcher, CallableTokenFetcher, ClientCredentialsFetcher, HeaderTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.options import FetchOptions
from tokenkit.pipeline import PipelineTokenProvider, TokenFetchPipeline
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = [
    "AuthenticationError",
    "AuthorizedSession",
    "BearerAuth",
    "BodyTokenFetcher",
    "CallableTokenFetcher",
    "ClientCredentialsFetcher",
    "ConfigurationError",
    "FetchContext",
    "FetchOptions",
    "HeaderTokenFetcher",
    "MalformedResponseError",
    "PipelineTokenProvider",
    "RefreshPolicy",
    "RenewalError",
    "RenewalStoppedError",
    "RenewalTimeoutError",
    "StorageError",
    "Token",
    "TokenEndpointError",
    "TokenFetchPipeline",
    "TokenFetcher",
    "TokenKitError",
    "TokenListener",
    "TokenManager",
    "TokenProvider",
    "TokenStorage",
    "TransportError",
    "from_config",
    "from_env",
]

__version__ = "0.1.0"
