"""Bearer tokens for requests: always there, renewed ahead of expiry, shared, retried on 401.

The names that most programs need are here; the others are in the modules that the reference lists.
"""

import logging

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "auth": ["AuthorizedSession", "BearerAuth"],
        "clock": [],
        "config": ["from_config", "from_env"],
        "contracts": ["FetchContext", "TokenFetcher", "TokenProvider", "TokenStorage"],
        "errors": [
            "AuthenticationError",
            "ConfigurationError",
            "MalformedResponseError",
            "RenewalError",
            "RenewalStoppedError",
            "RenewalTimeoutError",
            "StorageError",
            "TokenEndpointError",
            "TokenKitError",
            "TransportError",
        ],
        "events": ["TokenListener"],
        "fetchers": ["BodyTokenFetcher", "CallableTokenFetcher", "ClientCredentialsFetcher", "HeaderTokenFetcher"],
        "manager": ["TokenManager"],
        "options": ["FetchOptions"],
        "pipeline": ["PipelineTokenProvider", "TokenFetchPipeline"],
        "policy": ["RefreshPolicy"],
        "storage": [],
        "tokens": ["Token"],
    },
)

logger: logging.Logger = logging.getLogger("tokenkit")
logger.addHandler(logging.NullHandler())  # a program that sets up no logging hears nothing, as of requests

__version__ = "0.2.0"
