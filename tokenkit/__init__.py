"""Bearer tokens for requests: always there, renewed ahead of expiry, shared, retried on 401."""

__version__ = "0.1.0"
