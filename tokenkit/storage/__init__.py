"""Where tokens are kept between renewals: one module a storage.

Each name is imported at its first use, so that a storage costs its users alone: ``import tokenkit.storage`` loads
neither django, redis, keyring, cryptography nor filelock. ``__init__.pyi`` tells type checkers of the names.
"""

from __future__ import annotations

from importlib import import_module

__all__ = [
    "DjangoCacheTokenStorage",
    "EncryptedTokenStorage",
    "FileTokenStorage",
    "InMemoryTokenStorage",
    "KeyringTokenStorage",
    "RedisTokenStorage",
]

_HOMES = {
    "DjangoCacheTokenStorage": "django",
    "EncryptedTokenStorage": "encrypted",
    "FileTokenStorage": "file",
    "InMemoryTokenStorage": "memory",
    "KeyringTokenStorage": "keyring",
    "RedisTokenStorage": "redis",
}
_EXTRAS = {"django": "django", "encrypted": "crypto", "keyring": "keyring", "redis": "redis"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    try:
        value: object = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if home not in _EXTRAS:
            raise
        wanted = f"{name} needs the module {error.name}: pip install 'requests-tokenkit[{_EXTRAS[home]}]'"
        raise ImportError(wanted, name=error.name) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
