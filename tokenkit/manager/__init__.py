"""The token manager: it holds a token, renews it ahead of expiry, and lets callers wait for it."""

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "manager": ["TokenManager", "TokenReceiver"],
        "pool": ["ManagerPool"],
        "status": ["ManagerStatus"],
    },
)
