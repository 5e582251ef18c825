"""The token manager: it holds a token, renews it ahead of expiry, and lets callers wait for it."""

from tokenkit.manager.manager import TokenManager, TokenReceiver

__all__ = ["TokenManager", "TokenReceiver"]
