from tokenkit import auth as auth
from tokenkit import clock as clock
from tokenkit import config as config
from tokenkit import contracts as contracts
from tokenkit import errors as errors
from tokenkit import events as events
from tokenkit import fetchers as fetchers
from tokenkit import manager as manager
from tokenkit import options as options
from tokenkit import pipeline as pipeline
from tokenkit import policy as policy
from tokenkit import storage as storage
from tokenkit import tokens as tokens
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

__version__: str
