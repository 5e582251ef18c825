"""Where tokens are kept between renewals: one module a storage, and the codec for storages of your own.

Each name is imported at its first use, so that a storage costs its users alone: ``import tokenkit.storage`` loads
neither django, redis, keyring, cryptography nor filelock. ``__init__.pyi`` tells type checkers of the names.
"""

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "codec": ["EntryReader", "decode", "encode", "matches", "retention"],
        "django": ["DjangoCacheTokenStorage"],
        "encrypted": ["EncryptedTokenStorage"],
        "file": ["FileTokenStorage"],
        "keyring": ["KeyringTokenStorage"],
        "memory": ["InMemoryTokenStorage"],
        "redis": ["RedisTokenStorage"],
    },
    extras={"django": "django", "encrypted": "crypto", "keyring": "keyring", "redis": "redis"},
)
